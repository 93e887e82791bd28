"""The other ends of every wire, for labs and tests; the agent never imports them."""
