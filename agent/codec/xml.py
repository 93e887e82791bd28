"""The XML codec as others use it: one place to import from. The work is done in the xml_* modules beside it."""

from __future__ import annotations

from agent.codec.xml_action import decode_action
from agent.codec.xml_errors import encode_error, encode_errors
from agent.codec.xml_filter import decode_filter
from agent.codec.xml_parse import parse
from agent.codec.xml_read import NC, YANG, decode_config, decode_input
from agent.codec.xml_write import encode, encode_entry, encode_wrapped, escape, escape_attribute

__all__ = [
    "NC",
    "YANG",
    "decode_action",
    "decode_config",
    "decode_filter",
    "decode_input",
    "encode",
    "encode_entry",
    "encode_error",
    "encode_errors",
    "encode_wrapped",
    "escape",
    "escape_attribute",
    "parse",
]
