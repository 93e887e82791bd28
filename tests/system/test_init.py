"""`slp-agent init` and `user add`: what they make and print, and what they refuse without leaving anything behind."""

from __future__ import annotations

import json
from pathlib import Path
import re
import stat
import subprocess
import time
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.main import cli
from tests.system.kit import PASSWORD, Authority, Device, Done, agent


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an SSH key pair, and files that are not what they should be."""
    folder = tmp_path_factory.mktemp("k")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "k"], check=True)
    (folder / "empty").write_text("# nobody\n\n")
    (folder / "garbage").write_text("garbage\n")
    (folder / "bytes").write_bytes(b"\xff\xfe")
    return folder


def modes(folder: Path) -> dict[str, int]:
    found = {folder.name: folder, **{str(each.relative_to(folder)): each for each in folder.rglob("*")}}
    return {name: stat.S_IMODE(each.stat().st_mode) for name, each in found.items()}


def test_password(tmp_path: Path) -> None:
    """What is printed is true, private files are private, the key lies outside."""
    folder = tmp_path / "d"
    done = agent("init", "--state-dir", folder, "--user", "ada", "--password-stdin", "--lab", given=f"{PASSWORD}\nmore")
    assert (done.code, done.err) == (0, "")
    lines = dict(line.split(":", 1) for line in done.out.splitlines())
    assert list(lines) == ["State folder", "Key file", "UDI", "Device key", "SSH host key", "TLS", "CA file"]
    assert lines["State folder"].strip() == f"{folder} (lab)"
    assert lines["Key file"].split()[0] == str(tmp_path / "d.key")
    assert re.fullmatch(r" +PID:\S+,SN:SLPA[0-9A-F]{8}", lines["UDI"])
    assert lines["CA file"].split()[0] == str(folder / "ca.crt")
    told = subprocess.run(["ssh-keygen", "-l", "-f", folder / "ssh_host_ed25519.pub"], capture_output=True, text=True)
    assert told.stdout.split()[1] == lines["SSH host key"].split()[0]
    fingerprint = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", folder / "tls.crt"]
    told = subprocess.run(fingerprint, capture_output=True, text=True)
    assert told.stdout.strip().rpartition("=")[2] == lines["TLS"].split()[-1]
    verify = ["openssl", "verify", "-CAfile", folder / "ca.crt", "-verify_hostname", "localhost", folder / "tls.crt"]
    assert subprocess.run(verify, capture_output=True).returncode == 0
    found = modes(folder)
    public = {name for name, mode in found.items() if mode == 0o644}
    assert public == {"ca.crt", "ssh_host_ed25519.pub"}
    assert {mode for name, mode in found.items() if name in ("d", "keys")} == {0o700}
    assert {mode for name, mode in found.items() if name not in public | {"d", "keys"}} == {0o600}
    assert modes(tmp_path / "d.key") == {"d.key": 0o600}
    secrets = b"".join(each.read_bytes() for each in folder.rglob("*") if each.is_file())
    assert PASSWORD.encode() not in secrets
    assert b"PRIVATE KEY" not in secrets


def test_authorized_key(tmp_path: Path, keys: Path) -> None:
    """An administrator without a password logs in by key; --serial, --key-file and --tls-name are taken."""
    folder, key_file = tmp_path / "d", tmp_path / "elsewhere"
    options = ("--authorized-key", keys / "k.pub", "--serial", "ABC123", "--tls-name", "device.example")
    done = agent("init", "--state-dir", folder, "--user", "ada", "--key-file", key_file, *options)
    assert (done.code, done.err) == (0, "")
    assert ",SN:ABC123\n" in done.out
    assert key_file.exists()
    assert not (tmp_path / "d.key").exists()
    text = ["openssl", "x509", "-noout", "-checkhost", "device.example", "-in", folder / "tls.crt"]
    assert "does match" in subprocess.run(text, capture_output=True, text=True).stdout
    device = Device(folder)
    with device.running():
        host, port = device.address
        known = tmp_path / "known"
        known.write_text(f"[{host}]:{port} {(folder / 'ssh_host_ed25519.pub').read_text()}")
        options_ = ("-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes")
        ssh = ["ssh", "-F", "none", *options_, "-i", keys / "k", "-p", str(port), f"ada@{host}", "-s", "netconf"]
        hello = subprocess.run(ssh, input=b"", capture_output=True, timeout=20)
        assert b"<session-id>" in hello.stdout, hello.stderr


REFUSED: list[tuple[str, str, list[str], str]] = [
    ("neither", "ada", [], "give either --password-stdin or --authorized-key"),
    ("both", "ada", ["--password-stdin", "--authorized-key", "{keys}/k.pub"], "give either"),
    ("no-password", "ada", ["--password-stdin"], "standard input is empty"),
    ("no-key-file", "ada", ["--authorized-key", "/nowhere"], "cannot read /nowhere: No such file"),
    ("key-empty", "ada", ["--authorized-key", "{keys}/empty"], "holds no key: expected lines such as ssh-ed25519"),
    ("key-garbage", "ada", ["--authorized-key", "{keys}/garbage"], "'garbage' is not an SSH public key"),
    ("key-bytes", "ada", ["--authorized-key", "{keys}/bytes"], "cannot read "),
    ("key-private", "ada", ["--authorized-key", "{keys}/k"], "is not an SSH public key"),
    ("user", "../ada", ["--authorized-key", "{keys}/k.pub"], "'../ada' cannot be a user name"),
    ("serial", "ada", ["--authorized-key", "{keys}/k.pub", "--serial", "a,b"], "without a comma"),
    ("serial-empty", "ada", ["--authorized-key", "{keys}/k.pub", "--serial", ""], "1 to 255 visible"),
    ("tls-name", "ada", ["--authorized-key", "{keys}/k.pub", "--tls-name", "münchen.example"], "--tls-name"),
    (
        "key-inside",
        "ada",
        ["--authorized-key", "{keys}/k.pub", "--key-file", "{folder}/key"],
        "inside the state folder",
    ),
    (
        "key-nowhere",
        "ada",
        ["--authorized-key", "{keys}/k.pub", "--key-file", "/nowhere/key"],
        "cannot create key file",
    ),
    ("anchor", "ada", ["--authorized-key", "{keys}/k.pub", "--trust-anchor", "{keys}/k.pub"], "BEGIN CERTIFICATE"),
    (
        "anchor-none",
        "ada",
        ["--authorized-key", "{keys}/k.pub", "--trust-anchor", "/nowhere"],
        "cannot read trust anchor",
    ),
    ("profile-none", "ada", ["--authorized-key", "{keys}/k.pub", "--profile", "/nowhere"], "cannot read profile"),
]


SLOW = ("key-bytes", "key-private", "serial-empty", "key-nowhere", "anchor-none", "profile-none", "user")


@pytest.mark.parametrize(
    ("user", "options", "message"),
    [pytest.param(*rest, id=name, marks=[pytest.mark.slow] * (name in SLOW)) for name, *rest in REFUSED],
)
def test_refused(tmp_path: Path, keys: Path, user: str, options: list[str], message: str) -> None:
    """One line says what is wrong; neither folder nor key file is left, so that init can be repeated."""
    folder = tmp_path / "d"
    words = [word.format(keys=keys, folder=folder) for word in options]
    done = agent("init", "--state-dir", folder, "--user", user, *words)
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("slp-agent: ")
    assert message in done.err
    assert list(tmp_path.iterdir()) == []


def init(folder: Path, *options: str | Path) -> Any:
    return agent("init", "--state-dir", folder, "--user", "ada", "--password-stdin", *options, given=PASSWORD)


def test_folder_there_already(tmp_path: Path, keys: Path) -> None:
    """A folder that holds anything is left as it is; an empty one is taken, and stays after a failure."""
    folder = tmp_path / "d"
    folder.mkdir(mode=0o755)
    assert agent("init", "--state-dir", folder, "--user", "a", "--authorized-key", keys / "garbage").code == 1
    assert list(tmp_path.rglob("*")) == [folder]
    (folder / "mine").write_text("x")
    done = init(folder)
    assert (done.code, "is not empty (mine)" in done.err) == (1, True)
    assert (folder / "mine").read_text() == "x"
    (folder / "mine").unlink()
    assert init(folder).code == 0
    assert modes(folder)["d"] == 0o700
    before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
    done = init(folder)
    assert (done.code, "is a state folder already" in done.err) == (1, True)
    assert {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == before


PROFILE = """\
[product]
pid = "EDGE-1"
hostname = "edge"
software-tag = "regid.2026-01.example,EDGE"
software-version = "1.0"
"""
LICENCE = '[[license]]\nname = "basic"\nentitlement-tag = "regid.BASIC"\n'


def test_profile(tmp_path: Path) -> None:
    """A profile of one's own; its serial number and --serial must not differ."""
    file = tmp_path / "p.toml"
    file.write_text(PROFILE.replace('"EDGE-1"', '"EDGE-1"\nsn = "S1"') + LICENCE)
    done = init(tmp_path / "d", "--profile", file, "--serial", "S2")
    assert (done.code, "has the serial number S1" in done.err) == (1, True)
    done = init(tmp_path / "d", "--profile", file, "--serial", "S1")
    assert (done.code, "PID:EDGE-1,SN:S1\n" in done.out) == (0, True)
    file.unlink()
    device = Device(tmp_path / "d")
    with device.running():
        assert [entry["short-name"] for entry in device.show("usage")["usage"]] == ["basic"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PROFILE + LICENCE.replace('"basic"', "7"), "p.toml:7: name is expected to be"),
        (PROFILE.replace("pid", "pidd") + LICENCE, "p.toml:2: "),
        (PROFILE + LICENCE + "term = 'week'\n", "p.toml:9: term is expected to be"),
        (PROFILE + "[[license\n", "p.toml:6: "),
    ],
)
def test_profile_with_an_error(tmp_path: Path, text: str, message: str) -> None:
    """File, line and what is expected."""
    file = tmp_path / "p.toml"
    file.write_text(text)
    done = init(tmp_path / "d", "--profile", file)
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert message in done.err
    assert list(tmp_path.iterdir()) == [file]


def test_anchor_must_be_a_root(tmp_path: Path) -> None:
    """The device's own server certificate is genuine PEM, but no authority's root."""
    authority = Authority.make(tmp_path / "a")
    assert init(tmp_path / "d", "--trust-anchor", authority.anchor).code == 0
    done = init(tmp_path / "e", "--trust-anchor", authority.anchor, "--trust-anchor", tmp_path / "d" / "tls.crt")
    assert (done.code, "must be a self-signed root" in done.err) == (1, True)


def test_user_add(tmp_path: Path, keys: Path) -> None:
    """Refusals change nothing; a running agent knows a new user at once, over both protocols."""
    device = Device.make(tmp_path / "d")
    for words, message in (
        (("--group", "root", "--password-stdin"), "'root' is not a group: choose one of admin, collector, reader"),
        (("--group", "reader"), "give --password-stdin, --authorized-key FILE or both"),
        (("--group", "reader", "--authorized-key", keys / "empty"), "holds no key"),
        (("--group", "reader", "--elsewhere", "--password-stdin"), "--elsewhere is for users without a password"),
    ):
        done = device.tool("user", "add", "bob", *words, given=PASSWORD)
        assert (done.code, message in done.err) == (1, True), done
    done = device.tool("user", "add", "reader", "--group", "admin", "--password-stdin", given=PASSWORD)
    assert (done.code, "there is a user reader already" in done.err) == (1, True)
    done = agent(
        "user", "add", "bob", "--state-dir", tmp_path / "none", "--group", "admin", "--password-stdin", given="x"
    )
    assert (done.code, "there is no state folder" in done.err) == (1, True)
    with device.running():
        with device.http("bob") as early:
            assert early.request("GET", "/data")[0] == 401
        begun = time.monotonic()
        device.add_user("bob", "reader")
        with device.http("bob") as caller:
            assert caller.request("GET", "/yang-library-version")[0] == 200
        with device.ncclient("bob") as session:
            assert session.connected
        assert time.monotonic() - begun < 10


def test_a_trust_anchor_is_added_once_and_only_while_nothing_runs(tmp_path: Path) -> None:
    """An agent that was made without one gets its first; another one is for the authority's signature."""
    authority = Authority.make(tmp_path / "a")
    device = Device.make(tmp_path / "d")
    with device.running(), device.recorder() as recorder:
        recorder.record("voice-session", 3)
        assert "slp-agent: " in device.tool("trust-anchor", "add", authority.anchor).err
    assert device.tool("trust-anchor", "add", authority.anchor) == (0, "1 trust anchor installed\n", "")
    again = device.tool("trust-anchor", "add", authority.anchor)
    assert (again.code, "rotate" in again.err) == (1, True)
    saved, answer = tmp_path / "usage.xml", tmp_path / "ACK.xml"
    with device.running():
        (key, *_) = device.closed(network_advantage=4)
        assert device.tool("license", "save", "usage", "all", saved, "--here").code == 0
        assert authority.tool("submit", saved).code == 1
        authority.approve(key.rpartition(",REPORT:")[0])
        done = authority.tool("submit", saved, "--output", answer)
        assert done.code == 0, done.err
        done = device.tool("license", "import", answer, "--here")
        assert done.code == 0, done.err


def test_user_commands(tmp_path: Path, keys: Path) -> None:
    """Passwords, groups and keys of users change while the agent runs; refusals change nothing and say what to do."""
    device = Device.make(tmp_path / "d")

    def tool(*words: str | Path, given: str = "") -> Done:
        command = [*map(str, words), "--state-dir", str(device.folder)]
        done = CliRunner(env={"COLUMNS": "200"}).invoke(cli, command, input=given)
        return Done(done.exit_code, done.stdout, done.stderr)

    def users() -> dict[str, dict[str, Any]]:
        done = tool("user", "list", "--json")
        assert (done.code, done.err) == (0, "")
        return {each["name"]: each for each in json.loads(done.out)["user"]}

    def changed(*words: str | Path, given: str = "") -> None:
        assert tool("user", *words, given=given) == (0, "", "")

    def refused(message: str, *words: str | Path, given: str = "") -> None:
        before = users()
        done = tool("user", *words, given=given)
        assert (done.code, done.out, message in done.err) == (1, "", True), done
        assert users() == before

    with device.running():
        assert users()["reader"] == {"name": "reader", "group": "reader", "password": True, "ssh-keys": []}
        with device.http("reader") as caller:
            assert caller.request("GET", "/yang-library-version")[0] == 200
            changed("passwd", "reader", "--password-stdin", given="another\n")
            assert caller.request("GET", "/yang-library-version")[0] == 401
        changed("group", "reader", "collector")
        assert users()["reader"]["group"] == "collector"
        changed("key", "add", "reader", keys / "k.pub")
        (key,) = users()["reader"]["ssh-keys"]
        listed = tool("user", "key", "list", "reader")
        assert listed.out.split()[:2] == [key["fingerprint"], "ssh-ed25519"]
        assert json.loads(tool("user", "key", "list", "reader", "--json").out)["ssh-key"][0]["type"] == ("ssh-ed25519")
        assert f"reader     {'collector':9}  password, 1 SSH key\n" in tool("user", "list").out
        refused("has no SSH key", "key", "remove", "reader", "SHA256:none")
        changed("key", "remove", "reader", key["fingerprint"])
        assert users()["reader"]["ssh-keys"] == []
        changed("remove", "collector")
        with device.http("collector") as caller:
            assert caller.request("GET", "/yang-library-version")[0] == 401
    changed("add", "lou", "--group", "reader", "--elsewhere")
    assert users()["lou"] == {"name": "lou", "group": "reader", "password": False, "ssh-keys": []}
    assert f"lou     {'reader':9}  certificate or PAM\n" in tool("user", "list").out
    changed("add", "kim", "--group", "admin", "--authorized-key", keys / "k.pub")
    refused("the last SSH key stays", "key", "remove", "kim", key["fingerprint"])
    refused("there is no user collector", "remove", "collector")
    refused("there is no user nobody", "passwd", "nobody", "--password-stdin", given="x\n")
    refused("give --password-stdin", "passwd", "reader")
    refused("standard input is empty", "passwd", "reader", "--password-stdin")
    refused("'root' is not a group", "group", "reader", "root")
    refused("cannot read", "key", "add", "reader", tmp_path / "none")
    refused("there is no user nobody", "key", "list", "nobody")
