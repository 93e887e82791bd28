"""The JSON codec as others use it: one place to import from. The work is done in json_read and json_write."""

from __future__ import annotations

from agent.codec.json_read import decode_config, decode_input, parse
from agent.codec.json_write import encode, encode_entry, encode_errors, encode_wrapped

__all__ = ["decode_config", "decode_input", "encode", "encode_entry", "encode_errors", "encode_wrapped", "parse"]
