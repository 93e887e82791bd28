"""Trees and errors to bytes and back, XML and JSON, driven by the schema. No sockets, no protocol states here."""
