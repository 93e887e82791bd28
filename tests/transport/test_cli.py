"""The operator's `license …` and `show license …` on a whole agent, over its local socket, with real files."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
import re
import tempfile
import time

import pytest
from typer.testing import CliRunner

from agent import app
from agent.cli import render_reports
from agent.clock import SystemClock
from agent.config import Address, RunConfig
from agent.formats.documents import PolicyTerms
from agent.formats.requests import AuthorizationRequest, AuthorizationReturn, TrustRequest
from agent.formats.smartlicense import read_usage
from agent.licensing.profile import built_in
from agent.licensing.state import State
from agent.main import cli
from agent.setup import FirstUser, initialise
from tests.licensing.kit import Authority

SERIAL = "CLI1"


class Device:
    """What the kernel tests' authority asks of a device: profile, now and signer."""

    def __init__(self) -> None:
        self.profile = built_in().with_serial(SERIAL)
        self.now = int(time.time())
        self.state = State()


class Operator:
    """A person at the device's shell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flash = folder / "flash"

    def run(self, *words: str, given: str = "") -> tuple[int, str]:
        """Exit code and all that was printed."""
        done = CliRunner().invoke(cli, [*words, "--state-dir", str(self.folder)], input=given)
        return done.exit_code, done.output

    def ok(self, *words: str, given: str = "") -> str:
        code, told = self.run(*words, given=given)
        assert code == 0, told
        return told

    def refused(self, *words: str, given: str = "") -> str:
        code, told = self.run(*words, given=given)
        assert code == 1, told
        assert told.startswith("slp-agent: ") or "\nslp-agent: " in told
        return told


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with the authority's anchor; its path is short, for the local socket."""
    with tempfile.TemporaryDirectory() as short:
        path = Path(short) / "d"
        authority = Authority()
        initialise(
            path,
            clock=SystemClock(),
            user=FirstUser("admin", "a long password"),
            profile_file=None,
            serial=SERIAL,
            anchors=[authority.anchor],
            lab=False,
            key_file=None,
            tls_names=[],
        )
        yield path


@pytest.fixture(scope="module")
def operator(folder: Path) -> Iterator[Operator]:
    agent = app.open_agent(RunConfig(folder, Address("127.0.0.1", 0), Address("127.0.0.1", 0)))
    try:
        yield Operator(folder)
    finally:
        agent.stop()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(serial=int(time.time()))


def test_a_tag_stays_whole_in_a_pipe(operator: Operator) -> None:
    told = operator.ok("usage", "list")
    assert re.search(r"(?m)^ ?voice-session +\d+ +regid\.\S+_e4a19d38-8c27-5f4b-a7d9-0b6e2c5f1a76 *$", told)


def test_setting_says_what_was_set(operator: Operator) -> None:
    assert operator.ok("usage", "set", "voice-session", "5") == "voice-session: 5 recorded\n"
    told = operator.ok("usage", "set", "voice-session", "6", "--json")
    assert json.loads(told) == {"license": "voice-session", "count": 6}


def test_a_list_of_no_reports_says_so() -> None:
    assert render_reports.reports([]).splitlines()[-1].startswith("No reports: ")


def test_saving_says_what_it_did(operator: Operator) -> None:
    """On standard error: scripts expect an empty standard output of a save (slp-facts section 11)."""
    operator.ok("usage", "set", "voice-session", "3")
    for words in (["all"], ["unreported"], ["days", "3"]):
        done = CliRunner().invoke(
            cli, ["license", "save", "usage", *words, "flash:usage.xml", "--state-dir", str(operator.folder)]
        )
        assert (done.exit_code, done.stdout) == (0, "")
        assert re.match(r"\d+ reports? saved to flash:usage.xml", done.stderr)
        assert (operator.flash / "usage.xml").read_bytes().startswith(b"<smartLicense>")


@pytest.fixture(scope="module")
def report(operator: Operator) -> str:
    """The number of a closed report."""
    operator.ok("usage", "set", "voice-session", "4")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        operator.ok("license", "save", "usage", "all", "a.xml")
        told = operator.ok("show", "license", "rum", "id", "all")
        found = re.findall(r"(?m)^(\d+) +CLOSED +N +voice-session$", told)
        if found:
            return str(found[-1])
        time.sleep(0.2)
    raise AssertionError("no report was closed")


def test_one_report(operator: Operator, report: str, tmp_path: Path) -> None:
    assert operator.ok("license", "save", "usage", "rum-id", report, "flash:one.xml").startswith(
        "1 report saved to flash:one.xml; not counted as delivered"
    )
    here = tmp_path / "one.xml"
    assert operator.ok("license", "save", "usage", "rum-id", report, str(here), "--here").startswith("1 report saved")
    assert read_usage(here.read_bytes()).reports == read_usage((operator.flash / "one.xml").read_bytes()).reports
    told = operator.refused("license", "save", "usage", "rum-id", "7", "flash:x.xml")
    assert "requesteditemnotfound" in told


def test_reports_are_shown_and_not_delivered(operator: Operator, report: str) -> None:
    """The layouts of slp-facts 1.5; showing is no delivery."""
    told = operator.ok("show", "license", "rum", "id", "all")
    assert told.splitlines()[:3] == [
        "Smart Licensing Usage Report:",
        "====================================",
        "Report Id,          State,    Flag, Feature Name",
    ]
    detail = operator.ok("show", "license", "rum", "id", report, "detail")
    assert f"Report Id: {report}\n" in detail
    assert f"  UDI: PID:SLPA-VROUTER,SN:{SERIAL}\n" in detail
    assert re.search(r"  State: CLOSED, +Close Reason: REQUESTED", detail)
    assert re.search(r"  Start Time: \w{3} \d\d .* UTC, +End Time: \w{3} \d\d .* UTC", detail)
    assert '"report-state": "rum-report-state-closed"' in operator.ok("show", "license", "rum", "id", report, "--json")
    assert "there is no closed report 7" in operator.refused("show", "license", "rum", "id", "7")
    assert "expected: show license rum id" in operator.refused("show", "license", "rum", "id", "x")


def test_save_to_a_file_here(operator: Operator, tmp_path: Path) -> None:
    for words in (["all"], ["unreported"], ["days", "3"]):
        here = tmp_path / words[0]
        assert operator.ok("license", "save", "usage", *words, str(here), "--here")
        assert here.read_bytes().startswith(b"<smartLicense>")
    assert "cannot write" in operator.refused("license", "save", "usage", "all", str(tmp_path / "no" / "x"), "--here")


def test_refusals_have_code_and_reason(operator: Operator) -> None:
    for words in (["license", "import", "flash:none.xml"], ["license", "save", "usage", "all", "tftp:x"]):
        assert "refused: platformpathinvalid: " in operator.refused(*words)
    (operator.flash / "bad.xml").write_bytes(b"<smartLicense/>")
    told = operator.refused("license", "import", "flash:bad.xml")
    assert re.fullmatch(r"slp-agent: refused: missingentry: the file holds none of .+\n", told)
    assert "cannot read" in operator.refused("license", "import", "/none", "--here")
    assert "add --here" in operator.refused("license", "import", "/none.xml")
    assert "PID:…,SN:…" in operator.refused("usage", "set", "voice-session", "1", "--added", "AP1")


def test_import(operator: Operator, authority: Authority, tmp_path: Path) -> None:
    policy = authority.policy(Device(), PolicyTerms("By CLI"))  # type: ignore[arg-type]
    (operator.flash / "policy.xml").write_bytes(authority.file(policy))
    assert operator.ok("license", "import", "flash:policy.xml").startswith("policy: success: ")
    here = tmp_path / "policy.xml"
    here.write_bytes(authority.file(policy))
    assert operator.ok("license", "import", str(here), "--here").endswith("Import Data Successful\n")
    assert "Policy name: By CLI" in operator.ok("show", "license", "status")


def test_an_import_that_is_partly_refused_names_the_document(operator: Operator, authority: Authority) -> None:
    device = Device()
    other = Authority("another authority")
    content = authority.file(authority.policy(device, PolicyTerms("Good")))  # type: ignore[arg-type]
    bad = other.file(other.policy(device, PolicyTerms("Bad"), serial=2**40))  # type: ignore[arg-type]
    both = content.replace(b"</smartLicense>", bad.partition(b"<smartLicense>")[2])
    (operator.flash / "both.xml").write_bytes(both)
    told = operator.refused("license", "import", "flash:both.xml")
    assert "policy: couldnotvalidatetrustchain: " in told
    assert "Policy name: Good" in operator.ok("show", "license", "status")


def test_trust(operator: Operator, authority: Authority, tmp_path: Path) -> None:
    assert (
        operator.ok("license", "save", "trust-request", "flash:trust.xml") == "trust request saved to flash:trust.xml\n"
    )
    here = tmp_path / "trust.xml"
    operator.ok("license", "save", "trust-request", str(here), "--here")
    for content in ((operator.flash / "trust.xml").read_bytes(), here.read_bytes()):
        assert isinstance(authority.request(Device(), content).request, TrustRequest)  # type: ignore[arg-type]
    assert "no transport can carry" in operator.refused("license", "trust", "idtoken", "TOKEN", "local")
    assert "no transport can carry" in operator.refused(
        "license", "trust", "idtoken", "-", "all", "--force", given="TOKEN\n"
    )


def test_authorization(operator: Operator, authority: Authority) -> None:
    """Asked for, saved, imported, shown, overwritten, returned."""
    device = Device()
    nothing = operator.ok("show", "license", "authorization")
    assert f"  Active: PID:SLPA-VROUTER,SN:{SERIAL}\n      Status: NOT INSTALLED\n" in nothing
    assert "Purchased Licenses:\n  No Purchase Information Available\n" in nothing
    assert "not enforced" in operator.refused("license", "authorization", "request", "add", "voice-session", "local")
    assert "refused: noauthorizationinstalled" in operator.refused("license", "permission", "hseck9")
    assert "250 Mbps" in operator.refused("license", "permission", "network-advantage", "--throughput", "500")
    operator.ok("license", "authorization", "request", "add", "hseck9", "local", "--count", "2")
    waiting = operator.ok("show", "license", "authorization")
    assert re.search(r"Requested on .+, no code came yet:\n +\S+HSECK9\S+, count 2\n", waiting)
    operator.ok("license", "authorization", "request", "save", "flash:request.xml")
    signed = authority.request(device, (operator.flash / "request.xml").read_bytes())  # type: ignore[arg-type]
    assert isinstance(signed.request, AuthorizationRequest)
    assert [each.count for each in signed.request.keys] == [2]
    operator.ok("license", "authorization", "request", "replace", "hseck9", "--file", "flash:again.xml")
    assert (operator.flash / "again.xml").is_file()
    assert "leave --count and --file out" in operator.refused(
        "license", "authorization", "request", "add", "hseck9", "--online", "--count", "2"
    )

    (operator.flash / "code.xml").write_bytes(authority.file(authority.code(device, ("hseck9", 1))))  # type: ignore[arg-type]
    assert operator.ok("license", "import", "flash:code.xml").endswith("Import Data Successful\n")
    (operator.flash / "code.xml").write_bytes(authority.file(authority.code(device, ("hseck9", 3))))  # type: ignore[arg-type]
    told = operator.ok("license", "import", "flash:code.xml")
    assert re.search(r"Import Data Successful\nConfirmation code: [0-9a-f]{8}\n", told)
    shown = operator.ok("show", "license", "authorization")
    assert "      Status: SMART AUTHORIZATION INSTALLED on " in shown
    assert re.search(r"      Last Confirmation code: [0-9a-f]{8}\n", shown)
    assert "    Total available count: 3\n    Enforcement type: EXPORT RESTRICTED\n" in shown
    operator.ok("license", "permission", "hseck9", "--count", "3", "--throughput", "10000")
    assert "refused: taginvalid" in operator.refused("license", "authorization", "request", "add", "x", "--online")
    assert "no transport can carry" in operator.refused(
        "license", "authorization", "request", "add", "throughput-tier-2", "--online"
    )

    returned = operator.ok("license", "authorization", "return", "local", "offline", "flash:return.xml")
    assert re.fullmatch(r"Return code: \S+\n", returned)
    proof = authority.request(device, (operator.flash / "return.xml").read_bytes())  # type: ignore[arg-type]
    assert isinstance(proof.request, AuthorizationReturn)
    assert returned.split()[-1] in operator.ok("show", "license", "authorization")
    assert "noreservationauthcode" in operator.refused("license", "authorization", "return", "local", "online")
    assert "offline only" in operator.refused("license", "authorization", "return", "local", "online", "flash:x")


def test_everything(operator: Operator, report: str) -> None:
    """`show license all` has the sections of slp-facts 1.2 in their order."""
    operator.ok("usage", "set", "voice-session", "4")
    told = operator.ok("show", "license", "all")
    titles = [
        "Smart Licensing Status",
        "License Conversion:",
        "Export Authorization Key:",
        "Utility:",
        "Smart Licensing Using Policy:",
        "Account Information:",
        "Data Privacy:",
        "Transport:",
        "Policy:",
        "Miscellaneous:",
        "Usage Reporting:",
        "Trust Code Installed:",
        "License Usage",
        "Product Information",
        "Agent Version",
        "License Authorizations",
        "Purchased Licenses:",
        "Usage Report Summary:",
    ]
    places = [re.search(rf"(?m)^{title}", told) for title in titles]
    found = [place.start() for place in places if place is not None]
    assert len(found) == len(titles)
    assert "Total: " in told
    assert '"conversion"' in operator.ok("show", "license", "all", "--json")
    summary = operator.ok("show", "license", "summary")
    assert re.search(r"(?m)^  voice-session +\(Voice Trunk Session\) +4 IN USE$", summary)
    assert '"usage"' in operator.ok("show", "license", "summary", "--json")


def test_sync_says_what_became_of_it(operator: Operator, report: str) -> None:
    operator.ok("usage", "set", "voice-session", "2")
    # how many depends on the second: a report that has measured nothing stays open
    told = operator.refused("license", "sync")
    assert re.fullmatch(r"slp-agent: \d+ reports? closed; nothing was sent: no transport can carry .+\n", told)


def test_factory_reset_asks_refuses_and_saves_first(operator: Operator, report: str) -> None:
    """docs/licensing.md, Factory reset: nothing unreported is lost without a word."""
    operator.ok("usage", "set", "voice-session", "3")
    code, told = operator.run("license", "factory-reset", given="n\n")
    assert (code, "nothing was reset" in told) == (1, True)
    assert "refused: msgexecinprogress" in operator.refused("license", "factory-reset", "--yes")
    operator.ok("license", "factory-reset", "--file", "flash:last.xml", given="y\n")
    assert read_usage((operator.flash / "last.xml").read_bytes())
    summary = operator.ok("show", "license", "summary")
    assert "3 IN USE" not in summary


def test_an_agent_that_is_not_there(tmp_path: Path) -> None:
    nobody = Operator(tmp_path)
    assert "is the agent running?" in nobody.refused("license", "import", "flash:a")
    done = CliRunner().invoke(cli, ["license", "import", "flash:a"], env={"SLP_AGENT_STATE_DIR": ""})
    assert done.exit_code != 0
