"""From the factory to the first acknowledgement with real commands: key, factory file, init, report, no approval."""

from __future__ import annotations

import json
from pathlib import Path
import subprocess

import pytest

from agent.licensing.profile import built_in
from tests.system.kit import PASSWORD, STATE_URI, Authority, Device, agent, documents

UDI = "PID:SLPA-VROUTER,SN:F-1"
POLICY = {"name": "Shipped", "perpetual": {"first": 10, "ongoing": 20}}


def tag(name: str) -> str:
    licence = built_in().find(name)
    assert licence is not None
    return licence.entitlement_tag


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("f") / "a")


def made_key(folder: Path) -> tuple[Path, Path]:
    """Private and public PEM, as a factory's tool makes them."""
    private, public = folder / "device.pem", folder / "device.pub"
    curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    subprocess.run(["openssl", "genpkey", *curve, "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


def test_from_the_factory_to_the_first_acknowledgement(tmp_path: Path, authority: Authority) -> None:
    private, public = made_key(tmp_path)
    policy, bought, file = tmp_path / "policy.json", tmp_path / "bought.json", tmp_path / "factory.xml"
    policy.write_text(json.dumps(POLICY))
    bought.write_text(json.dumps({"entitlements": [{"tag": tag("hseck9"), "count": 2}]}))
    words = ("--key", public, "--policy", policy, "--entitlements", bought, "--output", file)
    done = authority.tool("factory-file", UDI, *words)
    assert (done.code, done.err) == (0, "")
    options = ("--serial", "F-1", "--trust-anchor", authority.anchor, "--factory", file, "--device-key", private)
    device = Device.make(tmp_path / "d", *options)
    with authority.running(), device.running():
        with device.http("reader") as caller:
            (purchase,) = caller.get(f"{STATE_URI}/factory-purchase")
            shown = [(entry["short-name"], entry["count"]) for entry in purchase["basic-license-info"]]
            assert ("hseck9", 2) in shown
            (trust,) = caller.get(f"{STATE_URI}/trust-code")
            assert (trust["slp-agent:factory-installed"], trust["slp-agent:counts"]) == (True, False)
            (source, *_) = [
                entry["source"]
                for entry in caller.get(f"{STATE_URI}/policy")["slp-agent:attribute-source"]
                if entry["class"] == "perpetual" and entry["attribute"].endswith("first-time")
            ]
            assert source == "factory-policy"
        keys = device.closed(network_advantage=1, hseck9=2)
        with device.ncclient("collector") as session:
            found = documents(session)
        status, answer = authority.submit([found[key] for key in keys])
        assert status == 200, "the authority knows the key from the factory"
        (tmp_path / "ack.xml").write_bytes(answer)
        done = device.tool("license", "import", "--here", tmp_path / "ack.xml")
        assert done.code == 0, done.err
        with device.http("reader") as caller:
            (trust,) = caller.get(f"{STATE_URI}/trust-code")
        assert (trust["slp-agent:factory-installed"], trust["slp-agent:counts"]) == (False, True)
    done = authority.tool("factory-file", UDI, "--policy", policy)
    assert (done.code, "in the field already" in done.err) == (1, True)


def refused(tmp_path: Path, *options: str | Path) -> str:
    """Why init ends; nothing is left of it."""
    folder = tmp_path / "d"
    done = agent("init", "--state-dir", folder, "--user", "a", "--password-stdin", *options, given=PASSWORD)
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert not folder.exists()
    assert not (tmp_path / "d.key").exists()
    return done.err


def test_a_file_that_is_refused_leaves_nothing(tmp_path: Path, authority: Authority) -> None:
    """For another product, for another key, under another root, no file at all: one line says which."""
    private, public = made_key(tmp_path)
    policy, file, empty = tmp_path / "policy.json", tmp_path / "factory.xml", tmp_path / "empty"
    policy.write_text(json.dumps(POLICY))
    empty.touch()
    assert authority.tool("factory-file", "PID:SLPA-VROUTER,SN:F-2", "--key", public, "--output", file).code == 0
    anchor = ("--trust-anchor", authority.anchor)
    own = ("--serial", "F-2", "--device-key", private)
    assert "is for PID:SLPA-VROUTER,SN:F-2" in refused(tmp_path, *anchor, "--factory", file, "--serial", "F-3")
    assert "another key" in refused(tmp_path, *anchor, "--factory", file, "--serial", "F-2")
    assert "issued by none of the 0" in refused(tmp_path, *own, "--factory", file)
    assert "Is a directory" in refused(tmp_path, *anchor, *own, "--factory", tmp_path)
    assert "No such file" in refused(tmp_path, *anchor, *own, "--factory", tmp_path / "none")
    assert "device key" in refused(tmp_path, *anchor, "--serial", "F-2", "--device-key", public)
    assert "refused" in refused(tmp_path, *anchor, *own, "--factory", empty)
    done = authority.tool("factory-file", "PID:SLPA-VROUTER,SN:F-9")
    assert (done.code, "would be empty" in done.err) == (1, True)
    done = authority.tool("factory-file", "PID:SLPA-VROUTER,SN:F-9", "--key", private)
    assert (done.code, "public key cannot be read" in done.err) == (1, True)
