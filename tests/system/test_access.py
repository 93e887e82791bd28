"""`slp-agent access explain`, and what the log says of denials, on a running agent (checklist 122)."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
import time

from ncclient.operations import RPCError
import pytest
from typer.testing import CliRunner

from agent.main import cli
from tests.system.kit import CSL, PASSWORD, Device, Done, agent

CONFIG = "/cisco-smart-license:licensing/config"


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    device = Device.make(tmp_path_factory.mktemp("a") / "d")
    with device.running():
        yield device


def explain(device: Device, *words: str) -> Done:
    command = ["access", "explain", *words, "--state-dir", str(device.folder)]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(cli, command)
    return Done(done.exit_code, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("words", "told", "groups"),
    [
        (("admin", CONFIG, "create"), "permitted by rule everything of rule-list admin", "admin"),
        (("collector", CONFIG, "update"), "denied by write-default", "collector"),
        (("collector", f"{CONFIG}/custom-id", "read"), "permitted by rule all of rule-list reading", "collector"),
        (("reader", "/ietf-netconf-acm:nacm/groups", "read"), "denied by rule rules of rule-list reading", "reader"),
        (("collector", "slp-agent:close-reports", "exec"), "permitted by rule close-reports of", "collector"),
        (("reader", "slp-agent:close-reports", "exec"), "denied by exec-default", "reader"),
        (
            ("reader", "ietf-netconf:close-session", "exec"),
            "permitted by the standard, which lets everyone call close-session",
            "reader",
        ),
        (("reader", "ietf-netconf:kill-session", "exec"), "denied by the default of kill-session, which", "reader"),
        (("nobody", "slp-agent:report-closed", "read"), "denied by read-default", "none"),
        (("nobody", "slp-agent:report-closed", "read", "--group", "reader"), "permitted by rule events", "reader"),
    ],
)
def test_explain(device: Device, words: tuple[str, ...], told: str, groups: str) -> None:
    """The deciding rule, or the default; the groups are those of the account unless others are named."""
    done = explain(device, *words)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(told), done.out
    assert done.out.endswith(f"groups: {groups}\n")


def test_explain_says_where_there_is_no_such_user(device: Device) -> None:
    """With its configured groups, or with those that are asked about; of users that there are it says nothing."""
    for words in ((), ("--group", "reader")):
        done = explain(device, "nobody", "slp-agent:sync", "exec", *words)
        assert "user:   there is no account nobody" in done.out.splitlines()[1], done.out
    assert "user:" not in explain(device, "reader", "slp-agent:sync", "exec").out
    told = json.loads(explain(device, "nobody", "slp-agent:sync", "exec", "--json").out)
    assert told["message"].startswith("there is no account nobody")


def test_explain_in_json(device: Device) -> None:
    done = explain(device, "reader", "/ietf-netconf-acm:nacm/groups", "read", "--json")
    assert json.loads(done.out) == {
        "permitted": False,
        "rule-list": "reading",
        "rule": "rules",
        "reason": "rule rules of rule-list reading",
        "at": "/ietf-netconf-acm:nacm",
        "group": ["reader"],
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("admin", "/nowhere:x", "read"), "refused: BadInputParams: /nowhere:x: the models have no nowhere:x"),
        (("admin", "/", "read"), "name a data node or an action"),
        (("admin", "sync", "exec"), "sync is neither a path"),
        (("admin", "slp-agent:sync", "read"), "slp-agent:sync is neither a path"),
        (("admin", f"{CONFIG}[x='1']", "read"), "x is no key of config"),
        (("admin", CONFIG, "exec"), f"{CONFIG} is neither an RPC nor an action"),
        (("nobody", f"{CONFIG}/custom-id", "exec"), "/custom-id is neither an RPC nor an action"),
    ],
)
def test_what_cannot_be_explained(device: Device, words: tuple[str, ...], message: str) -> None:
    done = explain(device, *words)
    assert (done.code, done.out, message in done.err) == (1, "", True), done


def test_only_administrators_ask(device: Device) -> None:
    ready = device.up.ready["restconf"]
    remote = ("--url", ready, "--user", "collector", "--ca", device.folder / "ca.crt")
    done = agent("access", "explain", "admin", CONFIG, "read", *remote, env={"SLP_PASSWORD": PASSWORD})
    assert (done.code, "access-denied" in done.err) == (1, True), done


def logged(log: Path, wanted: str) -> bool:
    """Whether the log says so, now or soon."""
    for _ in range(100):
        if wanted in log.read_text():
            return True
        time.sleep(0.05)
    return False


def test_a_denial_is_logged_with_its_rule(device: Device) -> None:
    """Checklist 122: over NETCONF, with the path of the operation or node, and the rule in the log."""
    with device.ncclient("collector") as session:
        with pytest.raises(RPCError) as refused:
            session.kill_session("4000000000")
        assert (refused.value.tag, refused.value.type) == ("access-denied", "protocol")
        assert refused.value.path is not None
        assert "rpc" in refused.value.path
        assert "kill-session" in refused.value.path
        config = f'<config><licensing xmlns="{CSL}"><config><custom-id>x</custom-id></config></licensing></config>'
        with pytest.raises(RPCError) as refused:
            session.edit_config(config, target="running")
        assert refused.value.tag == "access-denied"
    denied = "access denied: exec ietf-netconf:edit-config, user collector, session"
    assert logged(device.log, denied)
    assert "by exec-default" in device.log.read_text()
