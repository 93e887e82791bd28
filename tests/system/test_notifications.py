"""Event notifications of a running agent as ncclient takes them over SSH (RFC 5277, RFC 6470; checklist 112-115)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
import time
from typing import Any

from lxml import etree
from ncclient import NCClientError
from ncclient.operations import RPCError
from paramiko import SSHException
import pytest

from tests.system.kit import CSL, NC, SLPA, STATE, Device, TransportError, invoke

BASE = "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"
MANAGE = "urn:ietf:params:xml:ns:netmod:notification"
MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
ACM = "urn:ietf:params:xml:ns:yang:ietf-netconf-acm"
TAKEN = 20
"""Seconds that a notification may take before the test fails."""

CHANGED = ("subtree", f'<netconf-config-change xmlns="{BASE}"/>')
GONE = (OSError, EOFError, NCClientError, SSHException)
USAGE = ("subtree", f'<usage-changed xmlns="{SLPA}"/>')


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    device = Device.make(tmp_path_factory.mktemp("n") / "d")
    with device.running():
        yield device


def moment(seconds: float = 0) -> str:
    """Now, or that many seconds later, as ncclient hands it on."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def take(session: Any) -> etree._Element:
    """The content of the next notification."""
    taken = session.take_notification(timeout=TAKEN)
    assert taken is not None, "no notification came"
    _, content = etree.fromstring(taken.notification_xml.encode())
    return content


def names(session: Any, last: str) -> list[str]:
    """Names of the notifications that come, up to the one that is called `last`."""
    found: list[str] = []
    while not found or found[-1] != last:
        found.append(etree.QName(take(session)).localname)
    return found


def nothing_comes(session: Any) -> bool:
    """Whether no notification is there after a request has been answered."""
    assert session.get(("subtree", STATE % "<udi/>")).ok
    return session.take_notification(block=False) is None


def name_it(session: Any, text: str) -> None:
    """Configure the custom-id."""
    config = f'<licensing xmlns="{CSL}"><config><custom-id>{text}</custom-id></config></licensing>'
    assert session.edit_config(target="running", config=f'<config xmlns="{NC}">{config}</config>').ok


def use(session: Any, count: int) -> None:
    rpc = f'<record-usage xmlns="{SLPA}"><license>voice-session</license><count>{count}</count></record-usage>'
    assert invoke(session, rpc).findtext(f"{{{SLPA}}}return-code") == "success"


def counts(session: Any, number: int) -> list[str | None]:
    """The counts that so many notifications of usage tell of."""
    return [take(session).findtext(f"{{{SLPA}}}count") for _ in range(number)]


def test_ncclient_takes_notifications_between_replies(device: Device) -> None:
    """Checklist 112, 115, :interleave: a subscriber reads and writes on, and hears of its own changes too."""
    with device.ncclient() as session, device.ncclient() as listener:
        for one in (session, listener):
            assert one.create_subscription(filter=CHANGED).ok
        for number in range(20):
            name_it(session, f"n{number}")
            for one in (session, listener):
                change = take(one)
                assert change.findtext(f"{{{BASE}}}changed-by/{{{BASE}}}username") == "admin"
                assert change.findtext(f"{{{BASE}}}changed-by/{{{BASE}}}session-id") == session.session_id
                target = change.findtext(f"{{{BASE}}}edit/{{{BASE}}}target") or ""
                assert target.endswith(":custom-id")
            assert session.get(("subtree", STATE % "<udi/>")).ok
        with pytest.raises(RPCError) as refused:
            session.create_subscription()
        assert refused.value.tag == "operation-failed"
        assert nothing_comes(session)
        assert nothing_comes(listener)


def test_ncclient_replays(device: Device) -> None:
    """Checklist 113: from startTime, to stopTime or on with what happens now; then the session may subscribe again."""
    with device.ncclient() as session:
        use(session, 1)
        time.sleep(0.05)
        start = moment()
        for count in (2, 3):
            use(session, count)
        stop = moment()
        time.sleep(0.05)
        use(session, 4)
        assert session.create_subscription(filter=USAGE, start_time=start, stop_time=stop).ok
        assert counts(session, 2) == ["2", "3"]
        assert names(session, "notificationComplete") == ["replayComplete", "notificationComplete"]
        assert session.create_subscription(filter=USAGE, start_time=start).ok
        assert counts(session, 3) == ["2", "3", "4"]
        assert names(session, "replayComplete") == ["replayComplete"]
        use(session, 5)
        assert counts(session, 1) == ["5"]
        assert nothing_comes(session)


@pytest.mark.parametrize(
    ("start", "stop", "tag", "element"),
    [(60, None, "bad-element", "startTime"), (-60, -90, "bad-element", "stopTime")],
)
def test_times_that_are_refused(device: Device, start: float, stop: float | None, tag: str, element: str) -> None:
    """Checklist 112."""
    with device.ncclient() as session, pytest.raises(RPCError) as refused:
        session.create_subscription(start_time=moment(start), stop_time=None if stop is None else moment(stop))
    assert refused.value.tag == tag
    assert element in (refused.value.info or "")


def test_filters(device: Device) -> None:
    """Checklist 114: by XPath with the client's own prefixes, and by subtree with a value; event by event."""
    with device.ncclient() as by_path, device.ncclient() as by_tree:
        assert by_path.create_subscription(filter=("xpath", ({"any": SLPA}, "/any:usage-changed[any:count > 7]"))).ok
        wanted = f'<usage-changed xmlns="{SLPA}"><count>9</count></usage-changed>'
        assert by_tree.create_subscription(filter=("subtree", wanted)).ok
        for count in (6, 8, 7, 9):
            use(by_path, count)
        assert counts(by_path, 2) == ["8", "9"]
        assert counts(by_tree, 1) == ["9"]
        assert nothing_comes(by_path)
        assert nothing_comes(by_tree)


def test_the_licensing_stream(device: Device) -> None:
    """Checklist 112-114: it carries the events of both licensing models, old and new, and nothing of sessions."""
    with device.ncclient("collector") as collector:
        streams = collector.get(("subtree", f'<netconf xmlns="{MANAGE}"><streams/></netconf>')).data_ele
        offered = {
            one.findtext(f"{{{MANAGE}}}name"): one.findtext(f"{{{MANAGE}}}replaySupport")
            for one in streams.iter(f"{{{MANAGE}}}stream")
        }
        assert offered == {"NETCONF": "true", "licensing": "true"}
        start = moment()
        device.closed(voice_session=3)
        assert collector.create_subscription(stream_name="licensing", start_time=start).ok
        old = names(collector, "replayComplete")
        assert {"usage-changed", "report-closed"} < set(old)
        with device.ncclient() as session:
            name_it(session, "another")
        device.closed(voice_session=2)
        later = names(collector, "report-closed")
        assert later[0] == "usage-changed"
        assert not [name for name in old + later if name.startswith("netconf-")]


def test_access_rules_hold_per_event(device: Device) -> None:
    """Checklist 114: what a rule denies is left out for that user, old or new, and counted; others get it."""
    rule = "<name>no-usage</name><module-name>slp-agent</module-name>"
    rule += "<notification-name>usage-changed</notification-name><action>deny</action>"
    listed = f'<rule-list><name>quiet</name><group>reader</group><rule xmlns:c="{NC}">{rule}</rule></rule-list>'
    first = listed.replace("<rule-list>", f'<rule-list xmlns:y="urn:ietf:params:xml:ns:yang:1" y:insert="first" '
                           f'xmlns:c="{NC}" c:operation="create">')  # fmt: skip
    gone = f'<rule-list xmlns:c="{NC}" c:operation="delete"><name>quiet</name></rule-list>'

    def rules(session: Any, content: str) -> None:
        config = f'<config xmlns="{NC}"><nacm xmlns="{ACM}">{content}</nacm></config>'
        assert session.edit_config(target="running", config=config).ok

    def denied(session: Any) -> int:
        state = session.get(("subtree", f'<nacm xmlns="{ACM}"><denied-notifications/></nacm>')).data_ele
        return int(state.findtext(f".//{{{ACM}}}denied-notifications"))

    with device.ncclient() as admin, device.ncclient("reader") as reader:
        start = moment()
        rules(admin, first)
        before = denied(admin)
        use(admin, 11)
        for one in (admin, reader):
            assert one.create_subscription(stream_name="licensing", start_time=start).ok
        assert names(admin, "replayComplete")[0] == "usage-changed"
        assert "usage-changed" not in names(reader, "replayComplete")
        assert denied(admin) > before
        use(admin, 12)
        device.closed(voice_session=12)
        assert names(admin, "report-closed")[0] == "usage-changed"
        assert "usage-changed" not in names(reader, "report-closed")
        # a rule that is taken back holds from the next event on, for a subscription that is open too
        rules(admin, gone)
        use(admin, 13)
        assert names(reader, "usage-changed")[-1] == "usage-changed"


def test_notifications_are_counted(device: Device) -> None:
    """Checklist 119: out-notifications of the session, and of all of them with those that have ended."""

    def counted(session: Any, inner: str) -> int:
        state = session.get(("subtree", f'<netconf-state xmlns="{MONITORING}">{inner}</netconf-state>')).data_ele
        return int(state.findtext(f".//{{{MONITORING}}}out-notifications"))

    with device.ncclient() as watcher:
        before = counted(watcher, "<statistics/>")
        with device.ncclient() as session:
            assert session.create_subscription(filter=USAGE).ok
            for count in (1, 2, 3):
                use(session, count)
            assert counts(session, 3) == ["1", "2", "3"]
            own = f"<sessions><session><session-id>{session.session_id}</session-id></session></sessions>"
            assert counted(session, own) == 3
        assert counted(watcher, "<statistics/>") == before + 3


def test_what_was_told_outlives_a_kill(tmp_path: Path) -> None:
    """Checklist 113: after SIGKILL and a new start, a replay has all that anybody was told of, each once, in order."""
    device = Device.make(tmp_path / "d")
    device.start()
    start = moment(-5)
    with contextlib.suppress(TransportError), device.ncclient() as session:
        assert session.create_subscription(filter=USAGE).ok
        for count in range(1, 11):
            use(session, count)
        heard = counts(session, 10)
        device.kill()
    with device.running(), device.ncclient() as session:
        assert session.create_subscription(filter=USAGE, start_time=start).ok
        assert counts(session, 10) == heard == [str(count) for count in range(1, 11)]
        assert names(session, "replayComplete") == ["replayComplete"]


def visit(session: Any) -> tuple[str, str | None]:
    """What the next notification of a session tells: begun or ended, and which."""
    while not etree.QName(taken := take(session)).localname.startswith("netconf-session-"):
        pass
    return etree.QName(taken).localname, taken.findtext(f"{{{BASE}}}session-id")


def visit_until_gone(device: Device) -> None:
    """Open and close sessions until the agent is gone."""
    with contextlib.suppress(*GONE):
        while True:
            with device.ncclient():
                pass


def test_what_was_told_of_sessions_outlives_a_kill(tmp_path: Path) -> None:
    """Checklist 113, 115: killed in a flood of sessions, the agent has logged all that it had told, in that order."""
    device = Device.make(tmp_path / "d")
    with device.running(), ThreadPoolExecutor(3) as pool:
        start = moment(-1)
        with contextlib.suppress(*GONE), device.ncclient() as listener:
            assert listener.create_subscription().ok
            for _ in range(3):
                pool.submit(visit_until_gone, device)
            told = [visit(listener) for _ in range(30)]
            device.kill()
    with device.running(), device.ncclient() as listener:
        assert listener.create_subscription(start_time=start).ok
        logged: list[tuple[str, str | None]] = []
        while told[0] not in logged or len(logged) - logged.index(told[0]) < len(told):
            logged.append(visit(listener))
        assert logged[logged.index(told[0]) :] == told
