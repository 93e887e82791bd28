"""Where a peer is: its address in one form, and what counts as one source. No socket in here."""

from __future__ import annotations

import ipaddress


def plain(address: str) -> str:
    """The address as it is meant: where both families are heard, IPv4 peers show as ::ffff:a.b.c.d (RFC 4291)."""
    if not address.lower().startswith("::ffff:"):
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return address if parsed.ipv4_mapped is None else str(parsed.ipv4_mapped)


def network(source: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 of an IPv6 address; other text is itself."""
    try:
        address = ipaddress.ip_address(plain(source).partition("%")[0])
    except ValueError:
        return source
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
