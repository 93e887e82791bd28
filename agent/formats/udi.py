"""The identity of a product instance (UDI) and its one printed form; nothing about licences or reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import re
from typing import Any

_IDENTIFIER = re.compile(r"[!-+\--~]{1,255}")  # visible ASCII without the comma, which separates the two in `key`
_KEY = re.compile(r"PID:([!-+\--~]{1,255}),SN:([!-+\--~]{1,255})")


@dataclass(frozen=True, slots=True)
class Udi:
    """A unique device identifier; `pid` and `sn` identify, the rest only describes.

    Raises ValueError when `pid` or `sn` is not 1..255 visible ASCII characters without a comma.
    """

    pid: str
    sn: str
    vid: str | None = None
    uuid: str | None = None
    suvi: str | None = None
    host_identifier: str | None = None
    mac_address: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("pid", self.pid), ("sn", self.sn)):
            if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
                raise ValueError(f"{name} must be 1 to 255 visible ASCII characters without a comma, not {value!r:.80}")

    @property
    def key(self) -> str:
        """`PID:…,SN:…`, as the CLI prints it and as list keys carry it."""
        return f"PID:{self.pid},SN:{self.sn}"

    def same(self, other: Udi) -> bool:
        """Whether both name the same product instance, however they describe it."""
        return self.pid == other.pid and self.sn == other.sn

    def sudi(self) -> dict[str, str]:
        """The two identifying members as documents carry them (slp-facts 4.3)."""
        return {"udi_pid": self.pid, "udi_serial_number": self.sn}

    @classmethod
    def from_key(cls, key: str) -> Udi:
        """Read `PID:…,SN:…`; raises ValueError otherwise."""
        match = _KEY.fullmatch(key)
        if match is None:
            raise ValueError(f"expected PID:…,SN:…, not {key!r:.80}")
        return cls(match[1], match[2])

    @classmethod
    def from_sudi(cls, sudi: Mapping[str, Any]) -> Udi:
        """Read what `sudi()` wrote; raises ValueError when a member is missing or not allowed."""
        try:
            return cls(sudi["udi_pid"], sudi["udi_serial_number"])
        except KeyError as error:
            raise ValueError(f"member {error.args[0]} is missing") from None
