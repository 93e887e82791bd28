"""ietf-netconf-monitoring: the texts of the models, sessions, the lock, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
import re
import subprocess
from typing import Any

from lxml import etree
import oopt_gnpy_libyang as libyang
import pytest

from agent.codec import xml as xml_codec
from agent.core.requests import Datastore, Get, Invoke, Lock, Unlock
from agent.core.schema import Module, Schema
from agent.core.tree import Tree
from agent.core.xpath_nodes import NodeChoice
from agent.core.xpath_parse import Scope, parse
from agent.core.yin import Yin, YinError
from agent.northbound.settings import CONFIG
from agent.northbound.system import MONITORING, Monitoring
from tests.licensing.kit import T0
from tests.northbound.kit import ADMIN, READER, SECONDS, Rig, error_of, leaves_below, paths_of, tree_of
from tests.northbound.test_state import at, valid

YIN = "urn:ietf:params:xml:ns:yang:yin:1"


def get_schema(rig: Rig, **given: str) -> Tree:
    node = rig.schema.rpcs["ietf-netconf-monitoring", "get-schema"]
    answer = rig.dispatch.submit(Invoke(node, given), rig.session(READER)).result(SECONDS)
    assert answer is not None
    return answer


def texts(schema: Schema) -> Iterator[tuple[str, str, Path]]:
    """Every module and submodule that is served."""
    for module in schema.modules.values():
        yield module.name, module.revision, module.file
        yield from module.submodules


def netconf_state(rig: Rig) -> Tree:
    tree: Tree = rig.json(rig.select(MONITORING))["ietf-netconf-monitoring:netconf-state"]
    return tree


def test_every_text_is_the_file(rig: Rig) -> None:
    """Checklist 118: get-schema gives each listed schema, byte for byte, with and without version and format."""
    listed = {
        (one["identifier"], one["version"], one["format"].partition(":")[2])
        for one in netconf_state(rig)["schemas"]["schema"]
    }
    served = list(texts(rig.schema))
    assert listed == {(name, revision, form) for name, revision, _ in served for form in ("yang", "yin")}
    output = rig.schema.rpcs["ietf-netconf-monitoring", "get-schema"].named("output")[0]
    for name, revision, file in served:
        answer = get_schema(rig, identifier=name, version=revision, format="ietf-netconf-monitoring:yang")
        assert answer["data"].encode() == file.read_bytes()
        assert get_schema(rig, identifier=name) == answer
        element = etree.fromstring(b"".join(xml_codec.encode(answer, output)))
        assert (element.text or "").encode() == file.read_bytes()


def test_every_text_as_yin(rig: Rig) -> None:
    """Checklist 118: the format yin is an element of the namespace of RFC 7950 section 13, whole and of that module."""
    output = rig.schema.rpcs["ietf-netconf-monitoring", "get-schema"].named("output")[0]
    submodules = {name for module in rig.schema.modules.values() for name, _, _ in module.submodules}
    for name, revision, file in texts(rig.schema):
        given = {"identifier": name, "version": revision, "format": "ietf-netconf-monitoring:yin"}
        (data,) = etree.fromstring(b"<out>" + b"".join(xml_codec.encode(get_schema(rig, **given), output)) + b"</out>")
        (root,) = data
        assert etree.QName(root).namespace == YIN
        assert etree.QName(root).localname == ("submodule" if name in submodules else "module")
        assert root.get("name") == name
        assert revision in {one.get("date") for one in root.iterfind(f"{{{YIN}}}revision")}
        statements = sum(1 for one in root.iter(f"{{{YIN}}}leaf"))
        assert statements == len(re.findall(r"(?m)^\s*leaf\s+\S+\s*\{", file.read_text()))


def test_yin_is_made_once_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyang runs anew only when the text is another; what it says of a bad text is told."""
    made: list[object] = []
    run = subprocess.run

    def counted(*arguments: Any, **named: Any) -> Any:
        made.append(arguments)
        return run(*arguments, **named)

    monkeypatch.setattr(subprocess, "run", counted)
    file = tmp_path / "small.yang"
    text = 'module small { namespace "urn:small"; prefix s; description "%s"; }'
    file.write_text(text % "a ]]> b")
    yin = Yin()
    assert yin.of(file) is yin.of(file)
    assert len(made) == 1
    file.write_text(text % "other")
    assert "other" in yin.of(file)
    assert len(made) == 2
    file.write_text("module small {")
    with pytest.raises(YinError, match=r"small\.yang"):
        yin.of(file)


@pytest.mark.parametrize(
    "given",
    [
        {"identifier": "no-such-module"},
        {"identifier": ""},
        {"identifier": "slp-agent", "version": "1999-01-01"},
        {"identifier": "slp-agent", "version": ""},
        {"identifier": "slp-agent", "format": "ietf-netconf-monitoring:xsd"},
        {"identifier": "slp-agent", "version": "1999-01-01", "format": "ietf-netconf-monitoring:yin"},
        {"identifier": "../../etc/passwd"},
    ],
)
def test_what_there_is_no_text_for(rig: Rig, given: dict[str, str]) -> None:
    """Checklist 118: invalid-value (RFC 6022 section 3.1)."""
    assert error_of(lambda: get_schema(rig, **given)).tag == "invalid-value"


def test_several_versions_need_one_named(tmp_path: Path) -> None:
    """Checklist 118: operation-failed with data-not-unique; with the version it is found."""
    older, newer = tmp_path / "older.yang", tmp_path / "newer.yang"
    older.write_bytes(b"// older\r\n")
    newer.write_bytes("// newer, ünicode\r\n".encode())
    module = next(iter(Rig.memory().schema.modules.values()))
    fields = {name: getattr(module, name) for name in Module.__dataclass_fields__}
    submodules = (("parts", "2020-01-01", older), ("parts", "2021-01-01", newer))
    schema = type("Modules", (), {"modules": {module.name: Module(**fields | {"submodules": submodules})}})
    monitoring = Monitoring(schema, [])  # type: ignore[arg-type]
    session = Rig.memory().session()
    error = error_of(lambda: monitoring.get_schema({"identifier": "parts"}, session))
    assert (error.tag, error.app_tag) == ("operation-failed", "data-not-unique")
    given = {"identifier": "parts", "version": "2021-01-01"}
    assert monitoring.get_schema(given, session) == {"data": newer.read_bytes().decode()}


def test_sessions(rig: Rig) -> None:
    """Checklist 119: NETCONF sessions with all that is known; those of other front ends have no word there."""
    session = rig.session(ADMIN)
    session.in_rpcs, session.in_bad_rpcs, session.out_rpc_errors, session.out_notifications = 4, 3, 2, 1
    rig.session(ADMIN, "restconf")
    rig.session(ADMIN, "local")
    entries = {entry["session-id"]: entry for entry in netconf_state(rig)["sessions"]["session"]}
    assert entries[session.id] == {
        "session-id": session.id,
        "transport": "ietf-netconf-monitoring:netconf-ssh",
        "username": "ada",
        "source-host": "192.0.2.7",
        "login-time": at(T0),
        "in-rpcs": 4,
        "in-bad-rpcs": 3,
        "out-rpc-errors": 2,
        "out-notifications": 1,
    }
    assert {entry["transport"] for entry in entries.values()} == {"ietf-netconf-monitoring:netconf-ssh"}
    rig.dispatch.closed(session, "closed").result(SECONDS)
    assert session.id not in {entry["session-id"] for entry in netconf_state(rig)["sessions"]["session"]}


def test_statistics(rig: Rig) -> None:
    """Checklist 119: all NETCONF sessions since the start, each counted once; other front ends are not."""

    def shown() -> Tree:
        tree = netconf_state(rig)["statistics"]
        # the look itself is a session, which `json` leaves open
        return {name: value for name, value in tree.items() if name != "in-sessions"}

    def opened() -> int:
        return int(netconf_state(rig)["statistics"]["in-sessions"])

    nothing = dict.fromkeys(
        ("in-bad-hellos", "dropped-sessions", "in-rpcs", "in-bad-rpcs", "out-rpc-errors", "out-notifications"), 0
    )
    assert shown() == {"netconf-start-time": at(T0)} | nothing
    before = opened()
    rig.session(ADMIN, "restconf").in_rpcs = 50
    assert opened() == before + 1
    reasons = ("closed", "killed by session 9", "dropped", "timeout", "other", "bad-hello")
    for number, reason in enumerate(reasons, 1):
        session = rig.session(ADMIN)
        session.in_rpcs = number
        rig.dispatch.closed(session, reason).result(SECONDS)
        rig.dispatch.closed(session, "dropped").result(SECONDS)
    assert opened() == before + 2 + len(reasons)
    still = rig.session(ADMIN)
    still.in_rpcs, still.in_bad_rpcs, still.out_rpc_errors, still.out_notifications = 2**32 - 20, 3, 2, 1
    counted = {"in-rpcs": 1, "in-bad-rpcs": 3, "out-rpc-errors": 2, "out-notifications": 1}
    assert shown() == {"netconf-start-time": at(T0), "in-bad-hellos": 1, "dropped-sessions": 3} | counted


def test_lock(rig: Rig) -> None:
    """Who holds the locks on running and candidate, and since when."""
    running, candidate = {"name": "running"}, {"name": "candidate"}
    assert netconf_state(rig)["datastores"]["datastore"] == [running, candidate]
    session = rig.session(ADMIN)
    rig.clock.at += 7
    rig.dispatch.submit(Lock(), session).result(SECONDS)
    lock = {"locked-by-session": session.id, "locked-time": at(T0 + 7)}
    held = {"locks": {"global-lock": lock}}
    assert netconf_state(rig)["datastores"]["datastore"] == [{**running, **held}, candidate]
    assert error_of(lambda: rig.edit({"custom-id": "x"})).tag == "in-use"
    rig.dispatch.submit(Unlock(), session).result(SECONDS)
    rig.dispatch.submit(Lock(Datastore.CANDIDATE), session).result(SECONDS)
    assert netconf_state(rig)["datastores"]["datastore"] == [running, {**candidate, **held}]
    rig.dispatch.submit(Unlock(Datastore.CANDIDATE), session).result(SECONDS)
    assert netconf_state(rig)["datastores"]["datastore"] == [running, candidate]


def test_what_is_announced_is_shown(rig: Rig) -> None:
    """The capabilities of the hello are those of the state."""
    assert netconf_state(rig)["capabilities"]["capability"] == list(rig.agent.announced)


def test_whole_state_is_valid_and_every_served_leaf_is_seen(rig: Rig) -> None:
    """libyang takes both encodings and reads one tree; what is never shown is declared absent."""
    session = rig.session(ADMIN)
    rig.edit({"custom-id": "x"})
    scope = Scope({"l": "cisco-smart-license"})
    part = Lock(parts=(NodeChoice(parse("/l:licensing", scope), scope),))
    for lock in (part, Lock(Datastore.CANDIDATE)):
        rig.dispatch.submit(lock, session).result(SECONDS)
    # locked-node requires its instances: they are read with it
    data = rig.dispatch.read(Get((*rig.select(MONITORING), *rig.select(CONFIG))), session)
    xml = b"".join(xml_codec.encode(data, rig.schema.root))
    tree = {"ietf-netconf-monitoring:netconf-state": netconf_state(rig)}
    own = tree_of(etree.fromstring(b"<data>" + xml + b"</data>"), rig.schema.root)
    counted: Tree = {"sessions": {}, "statistics": {}}  # each look opens a session
    member = "ietf-netconf-monitoring:netconf-state"
    assert own[member] | counted == tree[member] | counted
    assert valid(xml.decode(), libyang.DataFormat.XML) == valid(json.dumps(own), libyang.DataFormat.JSON)
    assert set(paths_of(own[member], rig.node(MONITORING))) == set(leaves_below(rig.node(MONITORING)))
