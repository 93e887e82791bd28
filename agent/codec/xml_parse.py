"""Bytes to an lxml element, hardened: no DTD, entities or network, bounded depth. What it means is read elsewhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
import re
import threading

from lxml import etree

from agent.errors import RequestError, refuse

DEPTH = 128
"""Elements within one another; the models need less than 20, and libxml2 itself stops at 256."""

WORDS = 20_000
"""Distinct names (of elements, attributes and prefixes) that this process gets used to."""

LONGEST_WORD = 128

PART = 256 * 1024
"""Octets that are searched for names in one go; parts end where a tag begins."""

_ELEMENTS = re.compile(rb"<([^\s>/]+)")
_ATTRIBUTES = re.compile(rb"""\s([^\s="'<>]+)\s*=""")
_TOO_DEEP = etree.XPath("boolean(" + "/*" * (DEPTH + 1) + ")")
_SPACE = b" \t\r\n"


class _PerThread(threading.local):
    """A parser keeps nothing of what it has read, and making one costs as much as reading a small message does."""

    def __init__(self) -> None:
        self.parser = etree.XMLParser(
            encoding="utf-8",  # over any declaration: a declared UTF-7 or EBCDIC would hide a DOCTYPE
            resolve_entities=False,
            load_dtd=False,
            dtd_validation=False,
            no_network=True,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
            strip_cdata=True,
        )


_here = _PerThread()
_words: set[bytes] = set()


def parse(data: bytes) -> etree._Element:
    """The document's root; comments and processing instructions are dropped, CDATA is text.

    UTF-8 only (RFC 6241 section 3), white space before an XML declaration is let pass. Raises RequestError
    malformed-message (type rpc).
    """
    if b"\0" in data:
        raise _malformed("it contains a NUL character")
    if _has_doctype(data):
        raise _malformed("a DOCTYPE is not allowed")
    try:
        root = _read(data.lstrip(_SPACE))
    except etree.XMLSyntaxError as error:
        raise _malformed(f"it is not well-formed XML: {error.msg}") from None
    except ValueError as error:
        raise _malformed(str(error)) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise _malformed("a DOCTYPE is not allowed")
    # each level but the innermost takes two tags
    if data.count(b"<") > 2 * DEPTH and _TOO_DEEP(root):
        raise _malformed(f"elements are nested more than {DEPTH} deep")
    return root


def _read(data: bytes) -> etree._Element:
    """Parse here, or on a thread of its own where the message has names that are too many or too long to get used to.

    libxml2 keeps every distinct name that a thread has read for as long as the thread lives: a client that invents
    names would make the agent grow without end.
    """
    if strange := _names(data) - _words:
        if len(_words) + len(strange) > WORDS or any(len(word) > LONGEST_WORD for word in strange):
            with ThreadPoolExecutor(1) as once:
                return once.submit(lambda: etree.fromstring(data, _here.parser)).result()
        _words.update(strange)
    return etree.fromstring(data, _here.parser)


def _names(data: bytes) -> set[bytes]:
    """The distinct names; in parts, since a search holds the interpreter until it ends."""
    names: set[bytes] = set()
    start = 0
    while start < len(data):
        end = data.find(b"<", start + PART)
        end = len(data) if end < 0 else end
        names.update(_ELEMENTS.findall(data, start, end), _ATTRIBUTES.findall(data, start, end))
        start = end
    return names


def _malformed(why: str) -> RequestError:
    return refuse("malformed-message", f"the message cannot be read: {why}", type="rpc")


def _has_doctype(data: bytes) -> bool:
    """Whether a DOCTYPE stands in the prolog, the only place where XML lets it be."""
    position = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    while True:
        while position < len(data) and data[position] in _SPACE:
            position += 1
        if data.startswith(b"<?", position):
            end, size = data.find(b"?>", position), 2
        elif data.startswith(b"<!--", position):
            end, size = data.find(b"-->", position + 4), 3
        else:
            return data.startswith(b"<!", position)
        if end < 0:
            return False
        position = end + size
