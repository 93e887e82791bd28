"""The core over the toy modules."""
