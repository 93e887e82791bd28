"""The TLS listener that carries NETCONF (RFC 7589): client certificates, and which user each one is."""
