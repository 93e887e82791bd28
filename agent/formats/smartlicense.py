"""The smartLicense XML container: the authority's documents, usage files and request files; nothing is verified here.

Source: slp-facts 4.4 (saved usage file), 4.5 (ACK file), 3 (policy file with its own root), 5 (request file).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from lxml import etree

from agent.formats import jsontext, requests
from agent.formats.documents import Kind
from agent.formats.errors import Malformed, NoDocument, TooLarge
from agent.formats.jsontext import Members
from agent.formats.requests import AuthorizationRequest, Key, Request, TrustRequest
from agent.formats.udi import Udi

ELEMENTS: dict[str, Kind] = {
    "smartLicenseTrustCode": "trust-code",
    "smartLicensePolicy": "policy",
    "smartLicenseAuthorization": "authorization",
    "smartLicenseRumAck": "acknowledgement",
    "smartLicenseTrustAnchors": "trust-anchors",
}
"""Which element carries which kind of document, in the order of writing."""
MAX_USAGE_FILE = 64 * 1024 * 1024
MAX_REPORTS = 20_000
MAX_REQUESTS = 1_000
MAX_TAGS = 10_000
"""Tags (`<`, wherever it stands) of a file with documents or requests: what it costs is known before it is parsed."""
MAX_USAGE_TAGS = 200_000
"""Tags of a usage file: a start, an end and a CDATA section for each report, and room for as much again inside."""


def read_documents(data: bytes) -> list[tuple[Kind, str]]:
    """The document texts of a file, each with the kind that its element promises.

    Accepts `smartLicense` with any number of known elements, each with a `data` child, and the bare root
    `smartLicensePolicy`. Elements of other names are passed over: they belong to other releases. Raises Malformed,
    TooLarge or NoDocument.
    """
    root = _parse(data, jsontext.MAX_BYTES, MAX_TAGS)
    if root.tag == "smartLicensePolicy":
        elements: Iterable[etree._Element] = [root]
    elif root.tag == "smartLicense":
        elements = root
    else:
        raise Malformed(f"the root element must be smartLicense, not {root.tag!s:.80}")
    found = [
        (ELEMENTS[element.tag], _data(element))
        for element in elements
        if isinstance(element.tag, str) and element.tag in ELEMENTS
    ]
    if not found:
        raise NoDocument(f"the file holds none of {', '.join(ELEMENTS)}; is it an authority's answer?")
    return found


def write_documents(documents: Iterable[tuple[Kind, bytes]]) -> bytes:
    """A smartLicense file with these signed documents, in the order of effect."""
    names = {kind: name for name, kind in ELEMENTS.items()}
    order = list(names)
    parts = [
        f"<{names[kind]}><data>{_text(document)}</data></{names[kind]}>"
        for kind, document in sorted(documents, key=lambda entry: order.index(entry[0]))
    ]
    return f"<smartLicense>{''.join(parts)}</smartLicense>\n".encode()


@dataclass(frozen=True, slots=True)
class SystemInfo:
    """Who saved a usage file; unsigned, for people and collectors only. `timestamp` is in epoch milliseconds."""

    udi: Udi
    timestamp: int
    nonce: str
    software_tag: str
    hostname: str | None = None


@dataclass(frozen=True, slots=True)
class UsageFile:
    """A saved usage file: exact report documents, still unverified bytes."""

    system_info: SystemInfo | None
    reports: tuple[bytes, ...]


def write_usage(info: SystemInfo, reports: Iterable[bytes]) -> bytes:
    """A usage file as `license smart save usage` writes it; every report stays byte for byte in a CDATA section."""
    return b"".join(usage_pieces(info, reports))


def usage_pieces(info: SystemInfo, reports: Iterable[bytes]) -> Iterator[bytes]:
    """`write_usage` piece by piece, for reports that are not to be in memory at once."""
    yield b"<smartLicense>" + _write_info(info)
    for report in reports:
        yield b"<RUMReport><![CDATA[" + _cdata(report) + b"]]></RUMReport>"
    yield b"</smartLicense>\n"


def _write_info(info: SystemInfo) -> bytes:
    device: dict[str, object] = {"sudi": info.udi.sudi(), "software_tag_identifier": info.software_tag}
    if info.hostname is not None:
        device["hostname"] = info.hostname
    data = jsontext.dump(
        {**device, "timestamp": info.timestamp, "nonce": info.nonce, "device_list": [device]},
    )
    return f"<smartLicenseSystemInfo><data>{escape(data)}</data></smartLicenseSystemInfo>".encode()


def write_requests(info: SystemInfo, entries: Sequence[tuple[Request, bytes]]) -> bytes:
    """A request file: authorization requests and returns in one element, trust requests in another.

    Each entry is a request and the signed document that it was sealed to. The public members beside the document are
    for tools that read the file; the authority believes the document only.
    """
    trust, authorization = [], []
    for request, document in entries:
        members: dict[str, object] = {"sudi": request.heading.udi.sudi()}
        if isinstance(request, TrustRequest):
            trust.append({**members, "request": document.decode("ascii")})
            continue
        asks = isinstance(request, AuthorizationRequest)
        keys: Sequence[Key] = request.keys if isinstance(request, AuthorizationRequest) else ()
        members["keys"] = [{"entitlement": key.tag, "count": key.count} for key in keys]
        members["confirm_code"] = request.confirmation or ""
        members["remove_code"] = "" if asks else requests.return_string(document)
        authorization.append({**members, "request": document.decode("ascii")} if asks else members)
    parts = [_write_info(info)]
    for element, members_list in (("smartLicenseAuthRequest", authorization), ("smartLicenseTrustRequest", trust)):
        if members_list:
            parts.append(f"<{element}><data>{escape(jsontext.dump(members_list))}</data></{element}>".encode())
    return b"<smartLicense>" + b"".join(parts) + b"</smartLicense>\n"


def read_requests(data: bytes) -> tuple[bytes, ...]:
    """The request documents of a file, still unverified bytes. Raises Malformed, TooLarge or NoDocument."""
    root = _parse(data, jsontext.MAX_BYTES, MAX_TAGS)
    if root.tag != "smartLicense":
        raise Malformed(f"the root element must be smartLicense, not {root.tag!s:.80}")
    found: list[bytes] = []
    for element in root:
        if element.tag in ("smartLicenseAuthRequest", "smartLicenseTrustRequest"):
            entries = jsontext.load(_data(element), str(element.tag))
            members = Members({"requests": entries}, str(element.tag))
            found.extend(_read_request(entry) for entry in members.objects("requests", MAX_REQUESTS))
    if not found:
        raise NoDocument("the file holds no smartLicenseAuthRequest or smartLicenseTrustRequest; nothing is asked for")
    if len(found) > MAX_REQUESTS:
        raise TooLarge(f"the file holds {len(found)} requests; at most {MAX_REQUESTS} are accepted")
    return tuple(found)


def _read_request(entry: Members) -> bytes:
    document = entry.optional_text("request", requests.MAX_REQUEST)
    if document is not None:
        return document.encode("utf-8")
    return requests.from_return_string(entry.text("remove_code", 2 * requests.MAX_REQUEST))


def read_usage(data: bytes) -> UsageFile:
    """The reports of a usage file. Raises Malformed, TooLarge or NoDocument."""
    root = _parse(data, MAX_USAGE_FILE, MAX_USAGE_TAGS)
    if root.tag != "smartLicense":
        raise Malformed(f"the root element must be smartLicense, not {root.tag!s:.80}")
    elements = list(root.iterchildren("RUMReport"))
    if any(len(element) for element in elements):
        raise Malformed("a RUMReport element must hold text only, without elements or comments")
    reports = tuple((element.text or "").encode("utf-8") for element in elements)
    if not reports:
        raise NoDocument("the usage file holds no RUMReport; nothing was reported")
    if len(reports) > MAX_REPORTS:
        raise TooLarge(f"the usage file holds {len(reports)} reports; at most {MAX_REPORTS} are accepted")
    info = root.find("smartLicenseSystemInfo")
    return UsageFile(None if info is None else _system_info(_data(info)), reports)


def _system_info(text: str) -> SystemInfo:
    members = Members(jsontext.load(text, "the system info"), "system info")
    try:
        udi = Udi.from_sudi(members.object("sudi").raw())
    except ValueError as error:
        raise Malformed(f"system info.sudi: {error}") from None
    return SystemInfo(
        udi,
        members.integer("timestamp"),
        members.text("nonce"),
        members.text("software_tag_identifier"),
        members.optional_text("hostname"),
    )


def _parse(data: bytes, max_bytes: int, max_tags: int) -> etree._Element:
    if len(data) > max_bytes:
        raise TooLarge(f"the file has {len(data)} bytes; at most {max_bytes} are accepted")
    tags = data.count(b"<")
    if tags > max_tags:
        raise TooLarge(f"the file has {tags} tags; at most {max_tags} are accepted")
    if b"\x00" in data or b"<!DOCTYPE" in data:
        raise Malformed("the file holds a NUL byte or a DOCTYPE, which no licence file needs")
    try:
        # One parser a call: parsers are not to be shared between threads.
        parser: etree.XMLParser[etree._Element] = etree.XMLParser(
            # whatever it declares: in another encoding the count of tags would be of something else
            encoding="utf-8",
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            collect_ids=False,
        )
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Malformed(f"the file is not well-formed XML, or was cut off: {error!s:.200}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise Malformed("the file holds a DOCTYPE, which no licence file needs")
    return root


def _data(element: etree._Element) -> str:
    found = element.findall("data")
    if len(found) != 1 or len(found[0]):
        raise Malformed(f"{element.tag!s:.80} must hold exactly one data element with text")
    return found[0].text or ""


def _text(document: bytes) -> str:
    return escape(document.decode("utf-8"))


def _cdata(document: bytes) -> bytes:
    return document.replace(b"]]>", b"]]]]><![CDATA[>")
