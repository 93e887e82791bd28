"""Tests of the installed commands as real processes: over sockets, files and signals only, nothing of agent/ inside."""
