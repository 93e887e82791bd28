"""Clients as they are in the field do the whole pull against the running agent, and get the same bytes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from hashlib import sha256
import json
import os
from pathlib import Path
import sys
from typing import Any
import warnings

import pytest

with warnings.catch_warnings():
    # the library's own imports are none of our warnings
    warnings.simplefilter("ignore")
    import netconf_client.connect
    import netconf_client.ncclient

from tests.system.kit import (
    CSL,
    PASSWORD,
    SCRIPTS,
    SLPA,
    STATE,
    STATE_URI,
    Device,
    body_filter,
    collect,
    documents,
    invoke,
    payload,
    script,
    tool,
)

KEYS = "<rum-reports-closed-keys><rum-report-key/></rum-reports-closed-keys>"


@pytest.fixture(scope="module")
def reports(device: Device) -> dict[str, str]:
    """Three closed reports, as the store holds them: read by an administrator, which marks nothing."""
    keys = device.closed(network_advantage=1, voice_session=250, dna_advantage=3)
    assert len(keys) == 3
    with device.ncclient("admin") as session:
        found = documents(session)
    assert sorted(found) == sorted(keys)
    with device.ncclient("admin") as session:
        digests = session.get(("subtree", STATE % f'<rum-reports-closed xmlns="{SLPA}"/>')).data_ele
    for body in digests.iter(f"{{{SLPA}}}rum-reports-closed"):
        signed = json.loads(found[body.findtext(f"{{{SLPA}}}rum-report-key")])["payload"]
        assert body.findtext(f"{{{SLPA}}}digest") == sha256(signed.encode()).hexdigest()
    return found


def test_verified_by_an_outsider(reports: dict[str, str], tmp_path: Path) -> None:
    """Each signature holds by a program of 40 lines that knows cryptography and docs/formats.md only; one wrong
    character breaks it."""
    source = (SCRIPTS / "verify_report.py").read_text()
    assert len(source.splitlines()) <= 40
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names | {"cryptography"}
    files = {}
    for number, document in enumerate(reports.values()):
        files[number] = tmp_path / f"{number}.json"
        files[number].write_text(document, newline="")
    done = script("verify_report.py", *files.values())
    assert (done.code, done.out.count("OK PID:")) == (0, 3), done
    counts = r"{\"type\":\"COUNT\",\"value\":\"%d\"}"
    (voice,) = [number for number, document in enumerate(reports.values()) if counts % 250 in document]
    files[voice].write_text(files[voice].read_text().replace(counts % 250, counts % 249), newline="")
    done = script("verify_report.py", *files.values())
    assert (done.code, done.out.count("OK PID:"), done.out.splitlines()[voice][:6]) == (1, 2, "FAILED")


def test_verify_report_has_help() -> None:
    done = script("verify_report.py", "--help")
    assert (done.code, "--anchor PEM" in done.out, done.err) == (0, True, "")


@pytest.mark.parametrize("name", ["pull_rum.py", "install_code.py"])
def test_scripts_to_copy_are_short(name: str) -> None:
    assert len((SCRIPTS / name).read_text().splitlines()) <= 60


@pytest.mark.parametrize("kind", ["default", "iosxe"])
def test_ncclient(device: Device, reports: dict[str, str], kind: str) -> None:
    with device.ncclient("collector", kind) as session:
        assert documents(session) == reports


def test_netconf_client(device: Device, reports: dict[str, str]) -> None:
    host, port = device.address
    session = netconf_client.connect.connect_ssh(host=host, port=port, username="collector", password=PASSWORD)
    with netconf_client.ncclient.Manager(session, timeout=20) as client:
        data = client.get(filter=f"<filter>{STATE % KEYS}</filter>").data_ele
        keys = [entry.text for entry in data.iter(f"{{{CSL}}}rum-report-key")]
        assert sorted(keys) == sorted(reports)
        bodies = "".join(body_filter(key) for key in keys)
        assert collect(client.get(filter=f"<filter>{STATE % bodies}</filter>").data_ele) == reports
        client.close_session()


@pytest.fixture(scope="module")
def interop_python() -> str:
    """The interpreter with PyPI netconf, which needs an older paramiko than ncclient here; scripts/test makes it."""
    python = os.environ.get("SLP_INTEROP_PYTHON")
    if python is None:
        assert "CI" not in os.environ, "CI runs scripts/test, which sets SLP_INTEROP_PYTHON"
        pytest.skip(
            "SLP_INTEROP_PYTHON is not set: run scripts/test, or give it an interpreter that has netconf==2.1.0"
        )
    return python


def test_pypi_netconf(device: Device, reports: dict[str, str], interop_python: str) -> None:
    """Checklist 24, 47: it sends nc:message-id and nc:type, and reads each reply with its own framing."""
    host, port = device.address
    done = tool(interop_python, Path(__file__).with_name("pypi_pull.py"), host, str(port), "collector", PASSWORD)
    assert (done.code, done.err) == (0, "")
    answer = json.loads(done.out)
    assert answer["documents"] == reports
    assert sorted(answer["keys"]) == sorted(reports)
    assert "urn:ietf:params:netconf:base:1.1" in answer["capabilities"]
    assert "Traceback" not in device.log.read_text()


def test_pull_script_over_both_protocols(device: Device, reports: dict[str, str], tmp_path: Path) -> None:
    """scripts/pull_rum.py writes the exact bytes, the same over NETCONF and RESTCONF; each is verified.

    At the end it says how many are still open."""
    expected = {
        f"{payload(each)['asset_identification']['report_id']}.json": each.encode() for each in reports.values()
    }
    for name, words in (("nc", (device.netconf,)), ("rc", (device.restconf, "--ca", device.ca))):
        folder = tmp_path / name
        done = script("pull_rum.py", words[0], folder, "--user", "collector", *words[1:])
        assert (done.code, len(done.err.splitlines())) == (0, 1)
        # one for each licence that is in use
        assert done.err.startswith("reports being collected on the device now: 3 ")
        assert done.out.split() == [str(folder / each) for each in sorted(expected)]
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == expected
        checked = script("verify_report.py", *folder.iterdir())
        assert (checked.code, checked.out.count("OK ")) == (0, 3)


def test_pull_script_without_reports(tmp_path: Path) -> None:
    """Nothing to pull is no error; a wrong password is one, and says so."""
    device = Device.make(tmp_path / "d")
    with device.running():
        for words in ((device.netconf,), (device.restconf, "--ca", device.ca)):
            done = script("pull_rum.py", words[0], tmp_path / "out", "--user", "reader", *words[1:])
            assert (done.code, done.out) == (0, "")
            assert done.err.startswith("reports being collected on the device now: 0 ")
            assert "close-reports" in done.err
        wrong = {"SLP_PASSWORD": "wrong"}
        done = script("pull_rum.py", device.netconf, tmp_path / "out", "--user", "reader", env=wrong)
        assert (done.code, "AuthenticationError" in done.err) == (1, True)
        done = script(
            "pull_rum.py", device.restconf, tmp_path / "out", "--user", "reader", "--ca", device.ca, env=wrong
        )
        assert (done.code, "401" in done.err, "access-denied" in done.err) == (1, True, True)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["pull_rum.py", "install_code.py"])
def test_what_goes_wrong_is_one_line(device: Device, tmp_path: Path, name: str) -> None:
    """No password, a wrong one, a closed port, a certificate that nobody vouches for."""
    (tmp_path / "file").write_text("<smartLicense/>")
    last = tmp_path / ("out" if name == "pull_rum.py" else "file")
    for words, env in (
        ((device.netconf,), {"SLP_PASSWORD": "wrong"}),
        (("127.0.0.1:1",), {}),
        (("https://127.0.0.1:1/restconf", "--ca", device.ca), {}),
        ((device.restconf,), {}),
        ((device.restconf, "--ca", device.ca), {"SLP_PASSWORD": "wrong"}),
    ):
        done = script(name, words[0], last, "--user", "collector", *words[1:], env=env)
        assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1), done
    done = tool("env", "-u", "SLP_PASSWORD", sys.executable, SCRIPTS / name, device.netconf, last, "--user", "x")
    assert (done.code, "SLP_PASSWORD" in done.err, len(done.err.splitlines())) == (1, True, 1), done


# Habits of scripts in the field (slp-facts 11)


@pytest.fixture
def iosxe(device: Device) -> Iterator[Any]:
    with device.ncclient("admin", "iosxe") as session:
        yield session


def test_edit_config_of_the_cslu_address(device: Device, iosxe: Any) -> None:
    """url-cslu by edit-config on running, as scripts for IOS XE do it, with an indented document of their own."""
    config = f"""
    <config>
      <licensing xmlns="{CSL}">
        <config>
          <transport>
            <transport-type>transport-type-cslu</transport-type>
            <transport-cslu>
              <url-cslu>http://192.0.2.7:8182/cslu/v1/pi</url-cslu>
            </transport-cslu>
          </transport>
        </config>
      </licensing>
    </config>"""
    assert iosxe.edit_config(target="running", config=config).ok
    chosen = f'<licensing xmlns="{CSL}"><config><transport/></config></licensing>'
    data = iosxe.get_config("running", filter=("subtree", chosen)).data_ele
    assert [each.text for each in data.iter(f"{{{CSL}}}url-cslu")] == ["http://192.0.2.7:8182/cslu/v1/pi"]
    with device.http("reader") as caller:
        assert caller.get(f"{STATE_URI}/transport/slp-agent:url-cslu") == "http://192.0.2.7:8182/cslu/v1/pi"


def test_saving_what_was_configured(device: Device, iosxe: Any) -> None:
    """The two calls that follow an edit in scripts for IOS XE, and the first over RESTCONF."""
    for name, result in (("save-config", "Save running-config successful"), ("is-syncing", "No sync in progress")):
        reply = invoke(iosxe, f'<{name} xmlns="http://cisco.com/yang/cisco-ia"/>')
        assert reply.findtext("{http://cisco.com/yang/cisco-ia}result") == result
    with device.http() as caller:
        said = {"cisco-ia:output": {"result": "Save running-config successful"}}
        assert caller.post("/operations/cisco-ia:save-config") == (200, said)


def test_padded_selectors_and_parameters(device: Device, iosxe: Any) -> None:
    """White space in a leaf selector selects; padded RPC parameters are read without it."""
    wanted = (
        f'<licensing xmlns="{CSL}"><state><state-info><udi>\n<pid>\n  </pid>\n</udi></state-info></state></licensing>'
    )
    data = iosxe.get(("subtree", wanted)).data_ele
    pid = device.show("udi")["udi"]["pid"]
    assert [each.text for each in data.iter(f"{{{CSL}}}pid")] == [pid]
    assert list(data.iter(f"{{{CSL}}}sn")) == []
    padded = "<license>\n  voice-session\n </license>\n <count>\n  6 </count>\n"
    rpc = f'<record-usage xmlns="{SLPA}">\n {padded}</record-usage>'
    assert invoke(iosxe, rpc).findtext(f"{{{SLPA}}}return-code") == "success"
    with device.http("reader") as caller:
        counts = {each["short-name"]: each["count"] for each in caller.get(f"{STATE_URI}/usage")}
    assert counts["voice-session"] == 6


def test_rpcs_posted_below_data(device: Device) -> None:
    """Old scripts post RPCs under /restconf/data; both places do the same. It is answered, done or refused, by name."""
    body = {"input": {"license": "voice-session", "count": 7}}
    with device.http("admin") as caller:
        for place in ("/data/slp-agent:record-usage", "/operations/slp-agent:record-usage"):
            status, answer = caller.post(place, {"slp-agent:input": body["input"]})
            assert status == 200, answer
            assert answer["slp-agent:output"]["return-code"] == "success"


def test_single_leaves_and_times(device: Device, reports: dict[str, str]) -> None:
    """Single leaves by RESTCONF GET; times end in +00:00, never Z; usage is a list also of one entry."""
    with device.http("reader") as caller:
        assert caller.get(f"{STATE_URI}/udi/pid") == device.show("udi")["udi"]["pid"]
        assert caller.get(f"{STATE_URI}/transport/transport-type") == "transport-type-cslu"
        entries = caller.get(f"{STATE_URI}/rum-reports-closed-keys")
        tag = caller.get(f"{STATE_URI}/usage")[0]["entitlement-tag"].replace(",", "%2C")
        assert len(caller.get(f"{STATE_URI}/usage={tag}")) == 1
    times = [entry[name] for entry in entries for name in ("report-start-time", "report-end-time")]
    assert len(times) == 2 * len(reports)
    assert all(time.endswith("+00:00") for time in times)


def test_what_a_collector_reads_is_marked(device: Device, reports: dict[str, str]) -> None:
    """After collectors have read them the reports are unacknowledged; reading again gives the same bytes."""
    with device.ncclient("collector") as session:
        assert documents(session) == reports
        chosen = STATE % f'<rum-reports-closed xmlns="{SLPA}"><report-state/></rum-reports-closed>'
        data = session.get(("subtree", chosen)).data_ele
    states = [each.text for each in data.iter(f"{{{SLPA}}}report-state")]
    assert len(states) == len(reports)
    assert {state.rpartition("-")[2] for state in states} == {"unacknowledged"}
