"""The RESTCONF front end (RFC 8040): HTTP requests to the closed vocabulary and back. Knows no licensing."""
