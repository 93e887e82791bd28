"""NETCONF without its transport: framing, messages, sessions, and the endpoint that runs one. No sockets here."""
