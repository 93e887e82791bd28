"""Closed reports as list entries that are encoded once: made when a report closes, completed with its state when read.

report-state is the last leaf of both lists, so what is stored is everything before it and never changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.codec import json as json_codec
from agent.codec import xml as xml_codec
from agent.core.schema import Node
from agent.core.tree import Form, Kept, Row, Tree
from agent.formats.udi import Udi
from agent.licensing.events import ReportClosed
from agent.licensing.ports import EncodedRow, Part, ReportReads, ReportRow, ReportState
from agent.northbound.bound import Bindings
from agent.northbound.commit import storage_refusals
from agent.northbound.times import date_and_time

STATE_INFO = "/cisco-smart-license:licensing/state/state-info"
SUMMARIES = f"{STATE_INFO}/rum-reports-closed-keys"
DETAILS = f"{STATE_INFO}/slp-agent:rum-reports-closed"
PAGE = 256
"""Rows that are read from the store at a time: a list of any length costs this much memory."""

_STATES: dict[ReportState, str] = {
    "closed": "rum-report-state-closed",
    "pending": "rum-report-state-pending",
    "unacknowledged": "rum-report-state-unacknowledged",
    "acknowledged": "rum-report-state-acknowledged",
}


class RowEncoder:
    """Turns a closed report into the two list entries, through their binding classes."""

    def __init__(self, bindings: Bindings, udi: Udi) -> None:
        self._bindings = bindings
        self._summary = bindings.node(SUMMARIES)
        self._detail = bindings.node(DETAILS)
        members = udi_tree(udi)
        self._udis = [Kept(bindings.checked(bindings.node(f"{path}/udi"), members)) for path in (SUMMARIES, DETAILS)]

    def __call__(self, event: ReportClosed) -> EncodedRow:
        common: Tree = {
            "rum-report-key": event.key,
            "report-id": str(event.report_id),
            "report-start-time": date_and_time(event.start),
            "report-end-time": date_and_time(event.end),
        }
        summary_udi, detail_udi = self._udis
        summary = {**common, "udi": summary_udi, "slp-agent:license-name": event.license_name}
        detail = {
            **common,
            "udi": detail_udi,
            "entitlement-tag": event.entitlement_tag,
            "license-name": event.license_name,
            "close-reason": event.reason,
            "payload-version": event.version,
            "digest": event.digest,
            "document": event.document.decode(),
        }
        return EncodedRow(*self._beginnings(self._summary, summary), *self._beginnings(self._detail, detail))

    def _beginnings(self, node: Node, entry: Tree) -> tuple[bytes, bytes]:
        """Both encodings of a list entry, without its last leaf and end."""
        entry = self._bindings.checked(node, entry)
        xml = xml_codec.encode_entry(entry, node)
        return xml.removesuffix(f"</{node.name}>".encode()), json_codec.encode_entry(entry, node)[:-1]


class ReportList:
    """One of the two lists over the store (agent.core.tree.Rows)."""

    def __init__(self, bindings: Bindings, reads: ReportReads, part: Part) -> None:
        node = bindings.node(SUMMARIES if part == "summary" else DETAILS)
        self._reads = reads
        self._part = part
        self.marked = "document" if part == "detail" else None
        self._endings = {state: _ending(bindings, node, word) for state, word in _STATES.items()}

    def find(self, keys: tuple[str, ...]) -> Row | None:
        """The report with this key. Raises RequestError where the store fails."""
        with storage_refusals():
            found = self._reads.find_row(keys[0], self._part)
        return None if found is None else self._row(found)

    def pages(self) -> Iterator[Sequence[Row]]:
        """All reports of now, by rising id. Raises RequestError where the store fails."""
        with storage_refusals():
            last, upto = 0, self._reads.max_id()
        while last < upto:
            with storage_refusals():
                page = self._reads.pages(last, upto, PAGE, self._part)
            if not page:
                return
            yield [self._row(each) for each in page]
            last = page[-1].report_id

    def _row(self, row: ReportRow) -> Row:
        xml, json = self._endings[row.state]
        mark = row.report_id if self.marked else None
        return Row((row.key,), row.xml + xml, row.json + json, mark)


class SummaryList(ReportList):
    """The list without documents: delivering it has no consequence, so its rows need not be told apart."""

    def __init__(self, bindings: Bindings, reads: ReportReads) -> None:
        super().__init__(bindings, reads, "summary")

    def joined(self, form: Form) -> Iterator[bytes]:
        """As `pages`; see agent.core.tree.JoinedRows."""
        endings = {state: xml if form == "xml" else json for state, (xml, json) in self._endings.items()}
        with storage_refusals():
            last, upto = 0, self._reads.max_id()
        while last < upto:
            with storage_refusals():
                page = self._reads.joined(last, upto, PAGE, form, endings)
            if page is None:
                return
            last, data = page
            yield data


def udi_tree(udi: Udi) -> Tree:
    """The udi-grouping's members; those that are not known are left out."""
    members = {
        "pid": udi.pid,
        "sn": udi.sn,
        "vid": udi.vid,
        "uuid": udi.uuid,
        "suvi": udi.suvi,
        "host-identifier": udi.host_identifier,
        "mac-address": udi.mac_address,
    }
    return {name: value for name, value in members.items() if value is not None}


def _ending(bindings: Bindings, node: Node, word: str) -> tuple[bytes, bytes]:
    """What stands after the beginnings: the last leaf and the entry's end, in both encodings."""
    entry = bindings.checked(node, {"report-state": word})
    xml, json = xml_codec.encode_entry(entry, node), json_codec.encode_entry(entry, node)
    return xml[xml.index(b">") + 1 :], b"," + json[1:]
