"""What the kernel can be asked to do: frozen values only, no behaviour. `who` is the caller's name, for the audit."""

from __future__ import annotations

from dataclasses import dataclass

from agent.formats.envelope import Checked
from agent.formats.udi import Udi
from agent.licensing.settings import Settings


@dataclass(frozen=True, slots=True)
class Start:
    """The agent begins to run. The first command after loading; `epoch` is taken at the first start only.

    `settings` are those that hold from this start on, where the configuration goes back to an earlier one with it.
    """

    epoch: str
    settings: Settings | None = None


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
class InstallFactory:
    """Install what the factory puts in: a file of the authority, before the first Start. All of it, or nothing."""

    content: bytes


@dataclass(frozen=True, slots=True)
class ApplySettings:
    """The running configuration's licensing part changed to this."""

    settings: Settings


@dataclass(frozen=True, slots=True)
class RecordUsage:
    """An application uses `count` of the licence with this name, feature name or entitlement tag; 0: no longer.

    `added` and `removed` are peripherals, such as access points, that came or went with the change.
    """

    licence: str
    count: int
    who: str = ""
    added: tuple[Udi, ...] = ()
    removed: tuple[Udi, ...] = ()


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
class NoteSaved:
    """The documents of these reports were written to a file; `delivered`: a collector did it, as by MarkDelivered."""

    report_ids: tuple[int, ...]
    delivered: bool
    who: str = ""


@dataclass(frozen=True, slots=True)
class Sync:
    """Close what is measured and let a transport push it, and fetch what waits, at once."""

    who: str = ""


@dataclass(frozen=True, slots=True)
class PrepareReset:
    """Close all reports and measure nothing more, so that they can be saved before a factory reset; without `discard`
    it is refused where the reset would be, for an installed authorization code."""

    discard: bool
    who: str = ""


@dataclass(frozen=True, slots=True)
class FactoryReset:
    """End this life of the instance; `discard` gives up reports that never left, and authorization codes."""

    discard: bool = False
    who: str = ""


@dataclass(frozen=True, slots=True)
class AskPermission:
    """May `count` of this licence be used, forwarding so many megabits a second? Changes nothing."""

    licence: str
    count: int = 1
    throughput_mbps: int | None = None
    who: str = ""


@dataclass(frozen=True, slots=True)
class RequestAuthorization:
    """Ask the authority for a code for `count` of a licence: beside the installed one's (`add`) or in its place.

    `online`: queue it for a transport; otherwise the reply carries the request file.
    """

    licence: str
    count: int = 1
    add: bool = True
    online: bool = False
    who: str = ""


@dataclass(frozen=True, slots=True)
class SaveAuthorizationRequest:
    """Give the request file of the code that was asked for."""

    who: str = ""


@dataclass(frozen=True, slots=True)
class ReturnAuthorization:
    """Remove every authorization code and give the return string."""

    who: str = ""


@dataclass(frozen=True, slots=True)
class RequestTrust:
    """Ask the authority for a trust code, with an ID token if there is one; `force` replaces one issued before.

    `online`: queue it for a transport; otherwise the reply carries the request file.
    """

    token: str | None = None
    force: bool = False
    online: bool = False
    who: str = ""


@dataclass(frozen=True, slots=True)
class ImportContent:
    """Install the documents of a file of the authority, as they came; `checked` is what `engine.check` made of them."""

    content: bytes
    who: str = ""
    checked: Checked | None = None


Command = (
    Start
    | Stop
    | Tick
    | InstallAnchors
    | InstallFactory
    | ApplySettings
    | RecordUsage
    | CloseReports
    | MarkDelivered
    | NoteSaved
    | Sync
    | PrepareReset
    | FactoryReset
    | AskPermission
    | RequestAuthorization
    | SaveAuthorizationRequest
    | ReturnAuthorization
    | RequestTrust
    | ImportContent
)
