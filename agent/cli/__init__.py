"""The operator's commands: a plain client of the RESTCONF interface."""
