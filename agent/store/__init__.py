"""Durable keeping: one SQLite transaction a decision, sealed keys, the state folder. Knows ports and events only."""
