"""Which representation a client wants and which one it sends: Accept and Content-Type. Pure; no HTTP library.

Source: RFC 8040 section 5.2, RFC 9110 sections 8.3 and 12.5.1; checklist 132, 133.
"""

from __future__ import annotations

from functools import lru_cache
import re
from typing import Literal

from agent.errors import Error
from agent.restconf.errors import HttpError

Format = Literal["json", "xml"]

JSON = "application/yang-data+json"
XML = "application/yang-data+xml"
XRD = "application/xrd+xml"

DATA_TYPES: dict[str, Format] = {JSON: "json", XML: "xml", "application/json": "json", "application/xml": "xml"}
"""Media types of data, in the server's order of preference; the plain names are taken for clients that send them."""

_QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_RANGE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)/([!#$%&'*+.^_`|~0-9A-Za-z-]+)")


@lru_cache(maxsize=256)
def accepted(header: str | None, offers: tuple[str, ...] = tuple(DATA_TYPES)) -> str:
    """The media type of the reply: the best of `offers` for an Accept header, the first where there is none.

    By quality, then how exactly it is named, then the client's order, then ours. Raises HttpError 406.
    """
    if header is None or not header.strip():
        return offers[0]
    ranges = _ranges(header)
    best: tuple[tuple[float, int, int, int], str] | None = None
    for place, offer in enumerate(offers):
        fitting = [(exact, -order, quality) for kind, exact, order, quality in ranges if _fits(kind, offer)]
        if not fitting:
            continue
        exact, order, quality = max(fitting)
        rank = (quality, exact, order, -place)
        if quality > 0 and (best is None or rank > best[0]):
            best = rank, offer
    if best is None:
        message = f"none of the media types in Accept can be served: ask for {' or '.join(offers[:2])}"
        raise HttpError(406, Error("protocol", "invalid-value", message))
    return best[1]


def sent(header: str | None) -> Format:
    """The format of a request body by its Content-Type. Raises HttpError 415 where it is missing or unknown."""
    wanted = f"say Content-Type: {JSON} or {XML}"
    if header is None or not header.strip():
        raise HttpError(415, Error("protocol", "invalid-value", f"the body has no Content-Type: {wanted}"))
    kind, *parameters = (part.strip().lower() for part in header.split(";"))
    found = DATA_TYPES.get(kind)
    if found is None:
        raise HttpError(415, Error("protocol", "invalid-value", f"bodies of type {kind[:60]} are not taken: {wanted}"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise HttpError(415, Error("protocol", "invalid-value", "bodies are taken in UTF-8 only"))
    return found


def error_type(accept: str | None, content_type: str | None) -> str:
    """The media type of an error document: that of Accept, else the body's own, else JSON (RFC 8040 section 7.1)."""
    if accept is not None and accept.strip():
        try:
            return accepted(accept)
        except HttpError:
            pass
    kind = (content_type or "").split(";")[0].strip().lower()
    return kind if kind in DATA_TYPES else JSON


def _ranges(header: str) -> list[tuple[tuple[str, str], int, int, float]]:
    """(type, subtype), how exact it is, its place, its quality; what is not a media range is passed over."""
    found = []
    for order, item in enumerate(header.split(",")):
        kind, *parameters = (part.strip() for part in item.split(";"))
        match = _RANGE.fullmatch(kind)
        if match is None:
            continue
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "q":
                number = value.strip()
                quality = float(number) if _QUALITY.fullmatch(number) else 0.0
        main, sub = match.group(1).lower(), match.group(2).lower()
        if main == "*" and sub != "*":
            continue
        found.append(((main, sub), (main != "*") + (sub != "*"), order, quality))
    return found


def _fits(kind: tuple[str, str], offer: str) -> bool:
    main, sub = offer.split("/")
    return kind[0] in ("*", main) and kind[1] in ("*", sub)
