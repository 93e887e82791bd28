"""The access rules that an agent begins with, and those that an operator puts in their place (checklist 122)."""

from __future__ import annotations

from functools import partial
import json
from pathlib import Path
import re

from lxml import etree
import pytest

from agent import setup
from agent.clock import SystemClock
from agent.codec import xml as xml_codec
from agent.core.datastore import StoredConfigurationError
from agent.core.nacm import NACM
from agent.core.requests import Content, Datastore, Edit, Get
from agent.core.sessions import User
from agent.core.tree import Tree
from agent.errors import RequestError
from agent.northbound.access import COLLECTING, GROUPS, RECORDING, initial, with_rules
from agent.store.keystore import JOURNAL, Keystore, open_key_file
from agent.store.memory import MemoryStore
from agent.store.sqlite import SqliteStore
from tests.northbound.kit import (
    ADMIN,
    COLLECTOR,
    LICENSING,
    NOBODY,
    READER,
    RECORDER,
    SECONDS,
    Rig,
    error_of,
)

ACM = 'xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-acm"'
SERVER = '<netconf-server xmlns="urn:slp-agent:yang:slp-agent"><limits><sessions>7</sessions></limits></netconf-server>'
NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
ROOT = User("root", frozenset({"admin"}), recovery=True)


def edit(rig: Rig, content: str, user: User = ADMIN) -> None:
    config = etree.fromstring(f'<config xmlns:c="{NC}">{content}</config>')
    rig.dispatch.submit(Edit(xml_codec.decode_config(config, rig.schema)), rig.session(user)).result(SECONDS)


def reading(rules: str) -> str:
    """Changes of the rule-list by which collectors, readers and recorders read."""
    return f"<nacm {ACM}><rule-list><name>reading</name>{rules}</rule-list></nacm>"


def prefixes(rig: Rig) -> str:
    """l and s for our two modules."""
    modules = rig.schema.modules
    return f'xmlns:l="{modules["cisco-smart-license"].namespace}" xmlns:s="{modules["slp-agent"].namespace}"'


def read(rig: Rig, user: User, content: Content = Content.ALL) -> Tree:
    return rig.dispatch.read(Get(content=content), rig.session(user)).tree


def test_the_table_that_a_new_agent_has(rig: Rig) -> None:
    """Checklist 122, exec: each group may call what the design gives it, and nothing else; others nothing at all."""
    reading = {
        "ietf-netconf:get",
        "ietf-netconf:get-config",
        "ietf-netconf-nmda:get-data",
        "ietf-netconf:close-session",
        "ietf-netconf-monitoring:get-schema",
        "notifications:create-subscription",
    }
    everything = {f"{module}:{name}" for module, name in rig.schema.rpcs}
    expected = {
        ADMIN: everything,
        COLLECTOR: reading | {f"{module}:{name}" for module, name in COLLECTING},
        RECORDER: reading | {f"{module}:{name}" for module, name in RECORDING},
        READER: reading,
        NOBODY: {"ietf-netconf:close-session"},
        ROOT: everything,
    }
    permits = rig.dispatch.access.permits_exec
    for user, allowed in expected.items():
        assert {f"{module}:{name}" for module, name in rig.schema.rpcs if permits(user, module, name)} == allowed
    assert [rig.dispatch.access.collects(user) for user in expected] == [False, True, False, False, False, False]
    for notification in rig.schema.notifications.values():
        if notification.module == "nc-notifications":  # how one's own subscription goes on is told to everyone
            continue
        told = [user for user in expected if rig.dispatch.access.permits_notification(user, notification)]
        everywhere = notification.name == "netconf-config-change"  # names nodes that others may not read
        assert told == ([ADMIN, ROOT] if everywhere else [ADMIN, COLLECTOR, RECORDER, READER, ROOT])


def test_who_reads_the_rules(rig: Rig) -> None:
    """Checklist 122, default-deny-all: the rules themselves are shown to administrators only; all else to readers."""
    for user in (COLLECTOR, READER, RECORDER):
        tree = read(rig, user)
        assert NACM not in tree
        assert {LICENSING, "ietf-netconf-monitoring:netconf-state"} <= set(tree)
    for user in (ADMIN, ROOT):
        nacm = read(rig, user)[NACM]
        assert [group["name"] for group in nacm["groups"]["group"]] == list(GROUPS)
        assert nacm["denied-operations"] == 0
    assert read(rig, ADMIN, Content.CONFIG)[NACM] == initial()[NACM]


def test_what_a_reader_gets_is_not_copied(rig: Rig) -> None:
    """What no rule cuts into passes as the same object, with the encodings that are kept with it."""
    rig.use("advantage", 1)
    whole, cut = read(rig, ROOT)[LICENSING], read(rig, READER)[LICENSING]
    assert cut["state"]["state-info"] is whole["state"]["state-info"]


def test_rules_take_effect_with_their_commit_and_survive_a_restart(rig: Rig) -> None:
    """Checklist 122: a commit replaces the rules for sessions that are open; one that fails does not."""
    session = rig.session(READER)
    path = f"<path {prefixes(rig)}>/l:licensing/l:state/l:state-info/l:udi</path>"
    hide = reading(f"<rule><name>hide</name>{path}<action>deny</action></rule>")

    def sees() -> bool:
        tree = rig.dispatch.read(Get(), session).tree
        return "udi" in tree[LICENSING]["state"]["state-info"]

    assert sees()
    edit(rig, hide)
    # the list is ordered by the user: the new rule stands last, and "all" comes first
    assert sees()
    edit(rig, reading('<rule c:operation="delete"><name>all</name></rule>'))
    assert rig.dispatch.read(Get(), session).tree == {}
    edit(rig, f"<nacm {ACM}><read-default>permit</read-default></nacm>")
    assert not sees()
    bad = '<rule><name>x</name><path xmlns:s="urn:slp-agent:yang:slp-agent">/s:x</path><action>permit</action></rule>'
    with pytest.raises(RequestError, match="invalid-value"):
        edit(rig, reading(bad))
    rig.restart()
    session = rig.session(READER)
    assert not sees()
    rules = read(rig, ADMIN)[NACM]["rule-list"][-1]["rule"]
    path = next(rule["path"] for rule in rules if rule["name"] == "hide")
    assert path == "/cisco-smart-license:licensing/state/state-info/udi"
    told = b"".join(xml_codec.encode(rig.dispatch.read(Get(), rig.session(ADMIN)), rig.schema.root))
    (element,) = etree.fromstring(b"<d>" + told + b"</d>").iterfind(".//{*}rule[{*}name='hide']/{*}path")
    steps = [step.split(":") for step in (element.text or "").split("/")[1:]]
    assert steps == [["cisco-smart-license", name] for name in ("licensing", "state", "state-info", "udi")]
    assert element.nsmap["cisco-smart-license"] == rig.schema.modules["cisco-smart-license"].namespace


def test_only_administrators_change_the_rules(rig: Rig) -> None:
    """Checklist 122, default-deny-all: a rule for all configuration is needed, and admin's is one."""
    change = f"<nacm {ACM}><exec-default>permit</exec-default></nacm>"
    for user in (COLLECTOR, READER, RECORDER, NOBODY):
        assert error_of(partial(edit, rig, change, user)).tag == "access-denied"
    edit(rig, change)
    assert rig.dispatch.access.permits_exec(NOBODY, "slp-agent", "sync")


def test_how_clients_are_let_in_is_for_administrators(rig: Rig) -> None:
    """Checklist 122: addresses that are called, trusted keys and maps to users are nobody else's to read or change."""
    edit(rig, SERVER)
    for user in (COLLECTOR, READER, RECORDER):
        assert "slp-agent:netconf-server" not in read(rig, user)
        assert error_of(partial(edit, rig, SERVER.replace("7", "8"), user)).tag == "access-denied"
    assert read(rig, ADMIN)["slp-agent:netconf-server"] == {"limits": {"sessions": 7}}


def test_default_deny_all_holds_against_defaults(rig: Rig) -> None:
    """Checklist 122, default-deny-all: read-default and write-default permit all but what the model protects."""
    everything = "".join(f"<{name}-default>permit</{name}-default>" for name in ("read", "write", "exec"))
    edit(rig, f"<nacm {ACM}>{everything}</nacm>{SERVER}")
    tree = read(rig, NOBODY)
    assert LICENSING in tree
    assert not {NACM, "slp-agent:netconf-server"} & set(tree)
    assert error_of(partial(edit, rig, SERVER.replace("7", "8"), NOBODY)).tag == "access-denied"
    rig.edit({"custom-id": "x"}, NOBODY)
    error = error_of(lambda: edit(rig, f"<nacm {ACM}><enable-nacm>false</enable-nacm></nacm>", NOBODY))
    assert (error.tag, [step.name for step in error.path]) == ("access-denied", ["nacm", "enable-nacm"])


def test_groups_of_the_configuration_count_everywhere(rig: Rig) -> None:
    """The right to record any licence, and that what is read counts as delivered, follow the configured groups."""
    plain = User("paul", frozenset())
    for group in ("admin", "collector"):
        member = f"<group><name>{group}</name><user-name>paul</user-name></group>"
        edit(rig, f"<nacm {ACM}><groups>{member}</groups></nacm>")
    assert rig.dispatch.access.collects(plain)
    given = {"license": "advantage", "count": 1}
    assert rig.invoke("record-usage", given, plain)["return-code"] == "success"
    rig.close(60)
    rig.collect(user=plain)
    (report,) = read(rig, plain)[LICENSING]["state"]["state-info"]["rum-reports-closed-keys"].pages().__next__()
    assert json.loads(report.json)["report-state"] == "rum-report-state-unacknowledged"


def test_a_hidden_document_is_not_delivered(rig: Rig) -> None:
    """A collector that may not read the document marks nothing by reading its list."""
    rig.use("advantage", 1)
    rig.close(60)
    hide = (
        f"<rule><name>document</name><path {prefixes(rig)}>"
        "/l:licensing/l:state/l:state-info/s:rum-reports-closed/s:document</path><action>deny</action></rule>"
    )
    # the rule that permits everything goes, so that this one is the first to match
    edit(rig, reading('<rule c:operation="delete"><name>all</name></rule>' + hide))
    edit(rig, f"<nacm {ACM}><read-default>permit</read-default></nacm>")
    reply = rig.collect()
    assert b"digest" in reply
    assert b"<document" not in reply
    assert b"rum-report-state-closed" in rig.collect()


def test_a_folder_from_before_gets_the_rules_once() -> None:
    """A configuration that never had rules gets them at the start; where they were deleted, they stay deleted."""
    store = MemoryStore()
    unit = store.begin()
    unit.put_config(b'{"cisco-smart-license:licensing":{"config":{"custom-id":"old"}}}')
    unit.commit()
    rig = Rig.over(store)
    try:
        tree = read(rig, ADMIN, Content.CONFIG)
        assert tree[NACM] == initial()[NACM]
        assert tree[LICENSING]["config"]["custom-id"] == "old"
        edit(rig, f'<nacm {ACM} c:operation="delete"/>')
        rig.restart()
        assert NACM not in read(rig, ROOT, Content.CONFIG)
        # the defaults of the model are in force: who is in no group may read and call, and change nothing
        assert LICENSING in read(rig, NOBODY)
        assert error_of(lambda: rig.edit({"custom-id": "y"}, ADMIN)).tag == "access-denied"
        rig.edit({"custom-id": "y"}, ROOT)
        rig.restart()
        assert NACM not in read(rig, ROOT, Content.CONFIG)
    finally:
        rig.end()


@pytest.mark.parametrize("stored", [b"{", b"[]", b'{"ietf-netconf-acm:nacm":{}}'])
def test_what_is_left_alone(stored: bytes) -> None:
    assert with_rules(stored) is None


def test_state_of_the_counters(rig: Rig) -> None:
    """Checklist 122: denied-operations, -data-writes and -notifications, in state."""
    error_of(lambda: rig.invoke("sync", {}, READER))
    error_of(lambda: rig.edit({"custom-id": "x"}, READER))
    wanted = rig.select("/ietf-netconf-acm:nacm")
    assert rig.get(wanted, ADMIN).tree == {
        NACM: {"denied-operations": 2, "denied-data-writes": 0, "denied-notifications": 0}
    }


def test_init_writes_the_rules(tmp_path: Path) -> None:
    """They stand in the store before the first start, with the anchors, in one transaction."""
    made = setup.initialise(
        tmp_path / "d",
        clock=SystemClock(),
        user=setup.FirstUser("ada", "secret"),
        profile_file=None,
        serial=None,
        anchors=[],
        lab=False,
        key_file=None,
        tls_names=[],
    )
    keys = Keystore(made.folder.keys, open_key_file(made.folder.info.key_file))
    store = SqliteStore(made.folder.database, keys.get(JOURNAL))
    try:
        assert json.loads(store.load().config or b"{}") == initial()
    finally:
        store.close()


def test_the_example_of_the_documentation_works(rig: Rig) -> None:
    """docs/models.md, Access rules."""
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    (example,) = re.findall(r"```xml\n(<nacm .*?)```", text, re.DOTALL)
    edits = xml_codec.decode_config(xml_codec.parse(f"<config>{example}</config>".encode()), rig.schema)
    kim = User("kim", frozenset())
    assert error_of(lambda: read(rig, kim)).tag == "access-denied"
    rig.dispatch.submit(Edit(edits), rig.session(ADMIN)).result(SECONDS)
    assert set(read(rig, kim)) == {LICENSING}
    for rpc in (("ietf-netconf", "get-config"), ("ietf-netconf-nmda", "get-data")):
        config = Get(content=Content.CONFIG, datastore=Datastore.RUNNING, rpc=rpc)
        assert error_of(lambda config=config: rig.dispatch.read(config, rig.session(kim))).tag == "access-denied"


def test_a_rule_that_no_longer_fits_stops_the_start() -> None:
    """A folder whose rules name what the models have not is told so, whoever validates."""
    store = MemoryStore()
    rule = {"name": "r", "path": "/slp-agent:gone", "action": "deny"}
    unit = store.begin()
    unit.put_config(json.dumps({NACM: {"rule-list": [{"name": "l", "group": ["*"], "rule": [rule]}]}}).encode())
    unit.commit()
    with pytest.raises(StoredConfigurationError, match="slp-agent:gone"):
        Rig.over(store)


def test_rules_of_another_module_set_are_refused_by_the_core(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second validator takes any text as a path: the core does not."""
    monkeypatch.setattr(rig.dispatch.running._validator, "check", lambda tree: ())
    bad = '<rule><name>x</name><path xmlns:s="urn:slp-agent:yang:slp-agent">/s:x</path><action>permit</action></rule>'
    error = error_of(lambda: edit(rig, reading(bad)))
    assert (error.tag, error.path[0].name) == ("invalid-value", "nacm")
