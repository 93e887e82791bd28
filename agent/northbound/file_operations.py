"""The RPCs that save usage reports and install documents by file, and their inline forms. Decides nothing.

Saving closes what is open, then writes, then marks what a collector was given: in this order a crash loses nothing. The
writing runs beside the core thread and holds a page of reports in memory (docs/decisions/0039).
A file that cannot be used is a normal reply whose return-code says why (docs/models.md, Files).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
import contextlib
from dataclasses import dataclass
import hashlib
import json
import logging
from typing import Any

from agent.clock import Clock
from agent.core.aside import Part, Steps
from agent.core.providers import Operation
from agent.core.sessions import Session, User
from agent.core.tree import Tree
from agent.formats.jsontext import MAX_BYTES
from agent.formats.smartlicense import MAX_REPORTS, MAX_USAGE_FILE, SystemInfo, usage_pieces, write_usage
from agent.licensing.commands import CloseReports, MarkDelivered, NoteSaved
from agent.licensing.ports import ReportReads
from agent.licensing.profile import Profile
from agent.licensing.refusals import SUCCESS
from agent.licensing.usage import DAY
from agent.northbound.bound import Bindings
from agent.northbound.calls import Call, Refused, through
from agent.northbound.commit import Committer, storage_refusals
from agent.northbound.operations import importing
from agent.northbound.rows import PAGE
from agent.northbound.times import date_and_time
from agent.transport.files import FileError, Folders, Reason

log = logging.getLogger(__name__)

FILE_CODES: dict[Reason, str] = {
    "bad-name": "platformpathinvalid",
    "no-file": "platformpathinvalid",
    "not-a-file": "platformpathinvalid",
    "exists": "platformpathinvalid",
    "unreadable": "storagefailtoretrieve",
    "too-long": "messageeventexceedspeer",
    "no-space": "storagefailtostore",
    "not-written": "storagefailtostore",
}
"""What became of a file to the name in error-enum; docs/models.md shows the same table."""

DEFAULT_DAYS = 90
"""How far back rum-save-usage-days goes where it is not told (slp-facts section 10.4)."""
MARKED = 250
"""Reports that are marked as delivered in one transaction."""

_CSL = "/cisco-smart-license:"
_OWN = "/slp-agent:"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which reports: one by its key, else those that end after `since` (epoch seconds), only unreported ones or all."""

    key: str | None = None
    since: int = 0
    unreported: bool = False


@dataclass(frozen=True, slots=True)
class Selected:
    """What one usage file is to hold: the wanted ones of the reports up to an id, under this heading."""

    wanted: Wanted
    upto: int
    info: SystemInfo


class FileOperations:
    """All run on the core thread, but for what `_documents` gives."""

    def __init__(
        self,
        bindings: Bindings,
        committer: Committer,
        *,
        profile: Profile,
        reads: ReportReads,
        clock: Clock,
        files: Folders,
        collects: Callable[[User], bool],
    ) -> None:
        """`collects` tells whether what a user gets counts as delivered."""
        self._bindings = bindings
        self._committer = committer
        self._profile = profile
        self._reads = reads
        self._clock = clock
        self._files = files
        self._collects = collects

    def table(self) -> Mapping[str, Operation]:
        """By schema path, for `agent.core.dispatch.Providers`."""
        calls = {
            f"{_CSL}rum-save-usage-all": self._saving(lambda _: Wanted()),
            f"{_CSL}rum-save-usage-unreported": self._saving(lambda _: Wanted(unreported=True)),
            f"{_CSL}rum-save-usage-days": self._saving(lambda given: self._days(given.get("days", DEFAULT_DAYS))),
            f"{_CSL}import-file": self._import_file,
            f"{_OWN}rum-save-usage-report": self._saving(lambda given: Wanted(key=given["rum-report-key"])),
            f"{_OWN}export-usage": self._export,
        }
        return {path: through(self._bindings, path, call) for path, call in calls.items()}

    def check(self, argument: str, *, new: bool = False) -> None:
        """Whether there is a place for a file, and, where it must be `new`, none of that name. Raises Refused."""
        with file_refusals():
            self._files.check(argument, new=new)

    def save_all(self, argument: str, session: Session) -> Generator[Part, Any, int]:
        """Save every closed report, and count it as delivered; how many. Nothing is closed for it. Raises Refused."""
        return (yield from self._to_file(argument, self._select(Wanted()), session, delivered=True))

    def _saving(self, choose: Callable[[Tree], Wanted]) -> Call:
        def save(given: Tree, session: Session) -> Steps:
            argument = given["file-path"]
            wanted = choose(given)
            # first: a file that has no place leaves the open reports open
            self.check(argument)
            selected = self._close_and_select(wanted, session)
            delivered = self._collects(session.user)
            number = yield from self._to_file(argument, selected, session, delivered=delivered)
            message = f"{told(number)} saved to {argument}{self._undelivered(number, session)}"
            return {"return-code": SUCCESS, "message": message, "report-count": number}

        return save

    def _to_file(
        self, argument: str, selected: Selected, session: Session, *, delivered: bool
    ) -> Generator[Part, Any, int]:
        def write() -> list[int]:
            ids: list[int] = []
            with file_refusals():
                self._files.write(argument, usage_pieces(selected.info, self._documents(selected, ids)))
            return ids

        ids = yield write
        yield from self._note(ids, session, delivered)
        log.info("user %s saved %s to %s", session.user.name, told(len(ids)), argument)
        return len(ids)

    def _export(self, given: Tree, session: Session) -> Steps:
        if "all" in given:
            wanted = Wanted()
        elif "days" in given:
            wanted = self._days(given["days"])
        elif "rum-report-key" in given:
            wanted = Wanted(key=given["rum-report-key"])
        else:
            wanted = Wanted(unreported=True)
        selected = self._close_and_select(wanted, session)

        def write() -> tuple[list[int], str]:
            ids: list[int] = []
            return ids, write_usage(selected.info, self._documents(selected, ids)).decode()

        ids, content = yield write
        yield from self._note(ids, session, self._collects(session.user))
        message = f"{told(len(ids))} saved{self._undelivered(len(ids), session)}"
        return {"return-code": SUCCESS, "message": message, "report-count": len(ids), "content": content}

    def _undelivered(self, number: int, session: Session) -> str:
        """What is to be known of a save that is no delivery (design: Reads with a consequence)."""
        if not number or self._collects(session.user):
            return ""
        return f"; not counted as delivered: {session.user.name} is not of the group collector"

    def _import_file(self, given: Tree, session: Session) -> Steps:
        with file_refusals():
            content = self._files.read(given["file-path"], MAX_BYTES)
        return importing(self._committer, content, session)

    def _days(self, days: int) -> Wanted:
        if days == 0:
            raise Refused("BadInputParams", "days is expected to be 1 or more")
        return Wanted(since=max(0, int(self._clock.now()) - days * DAY))

    def _close_and_select(self, wanted: Wanted, session: Session) -> Selected:
        """Close what is open, unless one report is named; then `_select`."""
        if wanted.key is None:
            self._committer.serve(CloseReports(session.user.name))
        return self._select(wanted)

    def _select(self, wanted: Wanted) -> Selected:
        """What a file that is made now holds. Raises RequestError where the store fails."""
        with storage_refusals():
            upto = self._reads.max_id()
        return Selected(wanted, upto, self._system_info(wanted, upto))

    def _documents(self, selected: Selected, ids: list[int]) -> Iterator[bytes]:
        """The chosen reports, and each one's id into `ids`: any thread. Raises Refused when they are too many, and
        RequestError where the store fails."""
        size = 0
        for report_id, document in self._chosen(selected.wanted, selected.upto):
            size += len(document)
            if len(ids) == MAX_REPORTS or size > MAX_USAGE_FILE // 2:
                raise Refused(
                    "messageeventexceedspeer",
                    f"one file takes at most {MAX_REPORTS} reports and {MAX_USAGE_FILE // 2} bytes of them: save those "
                    "of the last days, have them acknowledged, then save the next",
                )
            ids.append(report_id)
            yield document

    def _chosen(self, wanted: Wanted, upto: int) -> Iterator[tuple[int, bytes]]:
        if wanted.key is not None:
            with storage_refusals():
                found = self._reads.find(wanted.key)
            if found is None:
                raise Refused("requesteditemnotfound", f"no closed report has the key {wanted.key!r:.160}")
            yield found.report_id, found.document
            return
        since = date_and_time(wanted.since)
        last = 0
        while last < upto:
            with storage_refusals():
                rows = self._reads.pages(last, upto, PAGE, "detail")
            if not rows:
                return
            for row in rows:
                if wanted.unreported and row.state == "acknowledged":
                    continue
                entry = json.loads(row.json + b"}")
                # all moments of this form have one length and one offset: their order is that of their texts
                if entry["report-end-time"] > since:
                    yield row.report_id, entry["document"].encode()
            last = rows[-1].report_id

    def _note(self, ids: list[int], session: Session, delivered: bool) -> Generator[Part, Any, None]:
        """Record that they were saved and, where they were delivered, each as that: some at a time, between which
        others are served. A crash in between leaves the rest to be collected again."""
        if not ids:
            return
        who, marked = session.user.name, ids if delivered else []
        self._committer.serve(NoteSaved(tuple(marked[:MARKED]), delivered, who))
        for at in range(MARKED, len(marked), MARKED):
            yield _nothing
            self._committer.serve(MarkDelivered(tuple(marked[at : at + MARKED]), who))

    def _system_info(self, wanted: Wanted, upto: int) -> SystemInfo:
        """The same reports saved at the same moment give the same bytes, in a file or inline: so does the nonce."""
        profile = self._profile
        timestamp = int(self._clock.now() * 1000)
        nonce = hashlib.sha256(f"{profile.udi.key},{timestamp},{upto},{wanted}".encode())
        hidden = self._committer.state.settings.privacy_hostname
        return SystemInfo(
            profile.udi, timestamp, nonce.hexdigest()[:32], profile.software_tag, None if hidden else profile.hostname
        )


def told(number: int) -> str:
    """How many reports, in words."""
    return f"{number} report{'' if number == 1 else 's'}"


def _nothing() -> None:
    """A part that lets others be served before what follows."""


@contextlib.contextmanager
def file_refusals() -> Iterator[None]:
    """Turn what a file is refused for into the reply that says so."""
    try:
        yield
    except FileError as error:
        raise Refused(FILE_CODES[error.reason], error.message) from error
