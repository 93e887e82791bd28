"""The operator's commands: `usage set|list` and `show license …`, locally and over the network; help and README."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
import json
from pathlib import Path
import re
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from agent.main import cli
from tests.system.kit import (
    BIN,
    CSL,
    NC,
    PASSWORD,
    ROOT,
    STATE_URI,
    Authority,
    Device,
    agent,
    documents,
    script,
    tool,
)

POLICY = {
    "name": "SLE Policy",
    "ack_required": True,
    "perpetual": {"first": 30, "ongoing": 60, "change": 60},
    "subscription": {"first": 120, "ongoing": 111},
}
DAY = 86_400


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Device, Authority]]:
    """A device that trusts an authority, both running as labs on one clock."""
    folder = tmp_path_factory.mktemp("p")
    authority = Authority.make(folder / "a", "--lab")
    authority.set_policy(POLICY)
    device = Device.make(folder / "d", "--trust-anchor", authority.anchor, "--lab")
    with authority.running(), device.running():
        yield device, authority


def told(moment: str) -> str:
    """A date as the layouts print it (slp-facts 1.2)."""
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%b %d %H:%M:%S %Y UTC")


def leaf(device: Device, path: str) -> Any:
    with device.http("reader") as caller:
        return caller.get(f"{STATE_URI}/{path}")


FRESH = """\
Utility:
  Status: DISABLED

Smart Licensing Using Policy:
  Status: ENABLED

Account Information:
  Smart Account: <none>
  Virtual Account: <none>

Data Privacy:
  Sending Hostname: yes
    Callhome hostname privacy: DISABLED
    Smart Licensing hostname privacy: DISABLED
  Version privacy: DISABLED

Transport:
  Type: cslu
  Cslu address: <empty>
  Proxy:
    Not Configured
  VRF:
    Not Configured

Policy:
  Policy in use: Merged from multiple sources.
  Reporting ACK required: yes (CISCO default)
  Unenforced/Non-Export Perpetual Attributes:
    First report requirement (days): 365 (CISCO default)
    Reporting frequency (days): 0 (CISCO default)
    Report on change (days): 90 (CISCO default)
  Unenforced/Non-Export Subscription Attributes:
    First report requirement (days): 90 (CISCO default)
    Reporting frequency (days): 90 (CISCO default)
    Report on change (days): 90 (CISCO default)
  Enforced (Perpetual/Subscription) License Attributes:
    First report requirement (days): 0 (CISCO default)
    Reporting frequency (days): 0 (CISCO default)
    Report on change (days): 0 (CISCO default)
  Export (Perpetual/Subscription) License Attributes:
    First report requirement (days): 0 (CISCO default)
    Reporting frequency (days): 0 (CISCO default)
    Report on change (days): 0 (CISCO default)

Miscellaneous:
  Custom Id: <empty>

Usage Reporting:
  Last ACK received: <none>
  Next ACK deadline: <none>
  Reporting push interval: 30  days
  Next ACK push check: <none>
  Next report push: <none>
  Last report push: <none>
  Last report file write: <none>

Trust Code Installed: <none>
"""

IN_POLICY = """\
Policy:
  Policy in use: Installed On {installed}
  Policy name: SLE Policy
  Reporting ACK required: yes (Customer Policy)
  Unenforced/Non-Export Perpetual Attributes:
    First report requirement (days): 30 (Customer Policy)
    Reporting frequency (days): 60 (Customer Policy)
    Report on change (days): 60 (Customer Policy)
  Unenforced/Non-Export Subscription Attributes:
    First report requirement (days): 120 (Customer Policy)
    Reporting frequency (days): 111 (Customer Policy)
    Report on change (days): 90 (CISCO default)
  Enforced (Perpetual/Subscription) License Attributes:
    First report requirement (days): 0 (CISCO default)
    Reporting frequency (days): 0 (CISCO default)
    Report on change (days): 0 (CISCO default)
  Export (Perpetual/Subscription) License Attributes:
    First report requirement (days): 0 (CISCO default)
    Reporting frequency (days): 0 (CISCO default)
    Report on change (days): 0 (CISCO default)

Miscellaneous:
  Custom Id: edge-7

Usage Reporting:
  Last ACK received: {installed}
  Next ACK deadline: {deadline}
  Reporting push interval: 30  days
  Next ACK push check: <none>
  Next report push: {push}
  Last report push: <none>
  Last report file write: <none>

Trust Code Installed: {installed}
"""

SETTINGS = f"""<config xmlns="{NC}"><licensing xmlns="{CSL}"><config>
  <custom-id>edge-7</custom-id>
  <privacy><hostname>true</hostname><version>true</version></privacy>
  <transport><transport-type>transport-type-{{kind}}</transport-type>{{more}}</transport>
</config></licensing></config>"""


def test_status_and_usage_over_the_loop(pair: tuple[Device, Authority], tmp_path: Path) -> None:
    """The layouts of slp-facts 1.2 to 1.5, line by line: before anything happened, and with all that an ACK brings."""
    device, authority = pair
    assert device.tool("show", "license", "status") == (0, FRESH, "")
    key = device.show("udi")["udi"]
    assert device.tool("show", "license", "udi") == (0, f"UDI: PID:{key['pid']},SN:{key['sn']}\n", "")

    device.closed(network_advantage=1)
    with device.ncclient("collector") as session:
        reports = documents(session)
    assert authority.submit(list(reports.values()))[0] == 202
    authority.approve(f"PID:{key['pid']},SN:{key['sn']}")
    status, answer = authority.submit(list(reports.values()))
    assert status == 200
    file = tmp_path / "ACK.xml"
    file.write_bytes(answer)
    done = script("install_code.py", device.netconf, file, "--user", "collector")
    assert (done.code, done.err) == (0, "")
    assert [line.partition(" ")[0] for line in done.out.splitlines()] == ["trust-code:", "policy:", "acknowledgement:"]
    with device.ncclient() as session:
        cslu = SETTINGS.format(
            kind="cslu", more="<transport-cslu><url-cslu>http://c:8182/cslu/v1/pi</url-cslu></transport-cslu>"
        )
        session.edit_config(target="running", config=cslu)

    text = device.tool("show", "license", "status").out
    installed = leaf(device, "policy/install-time")
    values = {
        "installed": told(installed),
        "deadline": told(leaf(device, "rum-ack/next-report-deadline")),
        "push": told(leaf(device, "slp-agent:report-times/next-report-push")),
    }
    head, _, rest = text.partition("Policy:\n  Policy in")
    assert f"Policy:\n  Policy in{rest}" == IN_POLICY.format(**values)
    age = datetime.fromisoformat(leaf(device, "rum-ack/next-report-deadline")) - datetime.fromisoformat(installed)
    assert age.total_seconds() == 60 * DAY
    lines = head.splitlines()
    assert lines[7] == f"  Smart Account: Example Networks As of {values['installed']}"
    assert lines[8] == "  Virtual Account: Lab"
    assert lines[11:15] == [
        "  Sending Hostname: no",
        "    Callhome hostname privacy: DISABLED",
        "    Smart Licensing hostname privacy: ENABLED",
        "  Version privacy: ENABLED",
    ]
    assert lines[16:19] == ["Transport:", "  Type: cslu", "  Cslu address: http://c:8182/cslu/v1/pi"]


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("off", ["  Type: Transport Off", ""]),
        ("callhome", ["  Type: Callhome", ""]),
        ("smart", ["  Type: Smart", "  URL: ", "  Proxy:", "    Not Configured", "  VRF:", "    Not Configured", ""]),
    ],
)
def test_transports(pair: tuple[Device, Authority], kind: str, lines: list[str]) -> None:
    device, _ = pair
    more = "<transport-smart><url-default>true</url-default></transport-smart>" if kind == "smart" else ""
    config = SETTINGS.format(kind=kind, more=more)
    with device.ncclient() as session:
        session.edit_config(target="running", config=config)
    shown = device.tool("show", "license", "status").out.splitlines()
    start = shown.index("Transport:") + 1
    expected = lines if kind != "smart" else [each + (SMART if each.endswith("URL: ") else "") for each in lines]
    assert shown[start : start + len(lines)] == expected


SMART = "https://smartreceiver.cisco.com/licservice/license"


def test_usage(device: Device) -> None:
    """A block a licence (slp-facts 1.4), in use and not; what is set is listed; JSON is RFC 7951."""
    assert device.tool("usage", "set", "network-advantage", "2") == (0, "network-advantage: 2 recorded\n", "")
    done = device.tool("show", "license", "usage")
    assert (done.code, done.err) == (0, "")
    head, *blocks = done.out.rstrip("\n").split("\n\n")
    assert head == "License Authorization:\n  Status: Not Applicable"
    names = ("Description", "Count", "Version", "Status", "Export status", "Feature Name", "Feature Description",
             "Enforcement type", "License type")  # fmt: skip
    found = {}
    for block in blocks:
        title, *lines = block.splitlines()
        name = re.fullmatch(r"(\S+) \((.+)\):", title)
        assert name, title
        assert [line.partition(":")[0] for line in lines] == [f"  {each}" for each in names]
        found[name[1]] = [line.partition(": ")[2] for line in lines]
    used = found["network-advantage"]
    assert used[1:4] == ["2", "1.0", "IN USE"]
    assert used[4:6] == ["NOT RESTRICTED", "network-advantage"]
    assert used[7:] == ["NOT ENFORCED", "Perpetual"]
    assert found["voice-session"][1:4] == ["0", "1.0", "NOT IN USE"]
    assert "Subscription" in {each[8] for each in found.values()}

    shown = device.show("usage")
    by_name = {each["short-name"]: each for each in shown["usage"]}
    assert list(by_name) == list(found)
    assert by_name["network-advantage"]["count"] == 2
    done = device.tool("usage", "list")
    (line,) = [line for line in done.out.splitlines() if line.split()[0] == "network-advantage"]
    assert line.split() == ["network-advantage", "2", by_name["network-advantage"]["entitlement-tag"]]
    listed = json.loads(device.tool("usage", "list", "--json").out)["usage"]
    assert {each["name"]: each["count"] for each in listed} == {name: each["count"] for name, each in by_name.items()}
    # by entitlement tag, and to an end
    tag = by_name["network-advantage"]["entitlement-tag"]
    assert device.tool("usage", "set", tag, "0") == (0, f"{tag}: 0 recorded\n", "")
    assert {each["count"] for each in device.show("usage")["usage"]} == {0}


def test_json_equals_restconf(device: Device) -> None:
    """--json is what the interface says, member by member."""
    with device.http("reader") as caller:
        shown = device.show("status")
        for member, value in shown.items():
            assert caller.get(f"{STATE_URI}/{member}") == value
        assert device.show("udi") == {"udi": caller.get(f"{STATE_URI}/udi")}
    assert {"policy", "transport", "slp-agent:report-counts", "slp-agent:report-times"} <= shown.keys()


def test_refused_usage(device: Device) -> None:
    """The return-code and the reason; exit codes tell refusals (1) from misuse (2)."""
    done = device.tool("usage", "set", "nothing-like-it", "1")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("slp-agent: refused: taginvalid: ")
    enforced = next(each["short-name"] for each in device.show("usage")["usage"]
                    if each["slp-agent:license-enforcement-type"].rpartition("-")[2] == "enforced")  # fmt: skip
    done = device.tool("usage", "set", enforced, "1")
    assert (done.code, "refused: noauthorizationinstalled" in done.err) == (1, True)
    for words in (("usage", "set", "voice-session", "4294967296"), ("usage", "set", "voice-session"), ("show",)):
        done = device.tool(*words) if words != ("show",) else agent("show", "nothing")
        assert (done.code, done.out) == (2, "")


def test_remote(device: Device, tmp_path: Path) -> None:
    """--url needs a user, SLP_PASSWORD and the CA; the reader may look and not set."""
    remote = ("--url", device.restconf, "--ca", device.ca, "--user")
    local = device.tool("show", "license", "usage")
    assert agent("show", "license", "usage", *remote, "reader") == local
    assert agent("usage", "set", "voice-session", "3", *remote, "admin") == (0, "voice-session: 3 recorded\n", "")
    done = agent("usage", "set", "voice-session", "4", *remote, "reader")
    assert (done.code, "refused: access-denied" in done.err) == (1, True)
    for words, env, message in (
        (("--url", device.restconf, "--user", "reader"), {}, "its CA file with --ca"),
        (("--state-dir", tmp_path / "none"), {}, "there is no state folder"),
        ((*remote, "reader"), {"SLP_PASSWORD": "wrong"}, "access-denied"),
        (("--url", device.restconf, "--ca", tmp_path / "none", "--user", "reader"), {}, "cannot be used"),
        (("--url", "http://127.0.0.1:1/restconf", "--user", "reader"), {}, "expected https://HOST:PORT/restconf"),
        (("--url", "https://127.0.0.1:x/restconf", "--user", "reader"), {}, "expected https://HOST:PORT/restconf"),
        (("--url", "https://127.0.0.1:1/restconf", "--user", "reader"), {}, "is the agent running?"),
        (("--url", device.restconf), {}, "--url needs --user"),
        ((), {}, "name the agent: "),
        (("--state-dir", tmp_path), {}, "is the agent running?"),
    ):
        done = agent("show", "license", "udi", *words, env=env)
        assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1), done
        assert done.err.startswith("slp-agent: ")
        assert message in done.err
        assert PASSWORD not in done.err
    assert {each["short-name"]: each["count"] for each in device.show("usage")["usage"]}["voice-session"] == 3


def test_state_dir_from_the_environment(device: Device) -> None:
    """As the README's first session does it."""
    done = tool("env", f"SLP_AGENT_STATE_DIR={device.folder}", BIN / "slp-agent", "show", "license", "udi")
    assert (done.code, done.out.startswith("UDI: PID:")) == (0, True), done


COMMANDS = (
    "init",
    "run",
    "check",
    "host-key",
    "user add",
    "trust-anchor add",
    "user passwd",
    "user group",
    "user remove",
    "user list",
    "user key add",
    "user key list",
    "user key remove",
    "access explain",
    "usage set",
    "usage list",
    "show license status",
    "show license usage",
    "show license udi",
    "show license summary",
    "show license authorization",
    "show license all",
    "show license rum id",
    "license save usage all",
    "license save usage unreported",
    "license save usage days",
    "license save usage rum-id",
    "license save trust-request",
    "license import",
    "license trust idtoken",
    "license authorization request add",
    "license authorization request replace",
    "license authorization request save",
    "license authorization return",
    "license permission",
    "license sync",
    "license factory-reset",
)
README = (ROOT / "README.md").read_text()


def below(command: Any, *words: str) -> dict[str, Any]:
    """Every command below one, by its words."""
    if not hasattr(command, "commands"):
        return {" ".join(words): command}
    return {name: found for word, one in command.commands.items() for name, found in below(one, *words, word).items()}


def test_every_command_has_help_and_stands_in_the_readme() -> None:
    """A new command has to be added to README.md; every option and argument of every command says what it is."""
    found = below(typer.main.get_command(cli))
    assert sorted(found) == sorted(COMMANDS)
    for name, command in found.items():
        assert f"slp-agent {name} " in README or f"slp-agent {name}\n" in README, name
        done = CliRunner(env={"COLUMNS": "400", "NO_COLOR": "1"}).invoke(cli, [*name.split(), "--help"])
        assert done.exit_code == 0
        assert command.help in done.output
        shown = re.sub(r"[│\s]+", " ", done.output)
        for parameter in command.params:
            assert parameter.help, f"{name}: {parameter.name} has no help"
            assert re.sub(r"\s+", " ", parameter.help) in shown, f"{name}: {parameter.name}"
            if parameter.param_type_name == "option":
                assert all(option in shown for option in parameter.opts), f"{name}: {parameter.name}"
    done = agent("show", "license", "status", "--help")
    assert (done.code, done.err, "Policy, usage reporting and trust." in done.out) == (0, "", True)
