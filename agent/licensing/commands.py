"""What the kernel can be asked to do: frozen values only, no behaviour. `who` is the caller's name, for the audit."""

from __future__ import annotations

from dataclasses import dataclass

from agent.licensing.settings import Settings


@dataclass(frozen=True, slots=True)
class Start:
    """The agent begins to run. The first command after loading; `epoch` is taken at the first start only."""

    epoch: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The agent stops in good order."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: do what is due (see deadlines.next_deadline)."""


@dataclass(frozen=True, slots=True)
class InstallAnchors:
    """Trust these root certificates (DER) from now on, in place of the present ones."""

    anchors: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ApplySettings:
    """The running configuration's licensing part changed to this."""

    settings: Settings


@dataclass(frozen=True, slots=True)
class RecordUsage:
    """An application uses `count` of the licence with this name, feature name or entitlement tag; 0: no longer."""

    licence: str
    count: int
    who: str = ""


@dataclass(frozen=True, slots=True)
class CloseReports:
    """Close every open report that has measured something."""

    who: str = ""


@dataclass(frozen=True, slots=True)
class MarkDelivered:
    """The documents of these reports have reached a collector."""

    report_ids: tuple[int, ...]
    who: str = ""


@dataclass(frozen=True, slots=True)
class ImportContent:
    """Install the documents of a file of the authority, as they came."""

    content: bytes
    who: str = ""


Command = (
    Start | Stop | Tick | InstallAnchors | ApplySettings | RecordUsage | CloseReports | MarkDelivered | ImportContent
)
