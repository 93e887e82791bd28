"""An authorization code's whole life with the commands that people type: request, issue, install, use, return."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
import re

import pytest

from agent import usage
from tests.system.kit import BIN, Authority, Device, Done, script, tool
from tests.system.test_factory import tag

HSEC = "hseck9"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Device, Authority]]:
    folder = tmp_path_factory.mktemp("c")
    authority = Authority.make(folder / "a")
    (folder / "pool.json").write_text(json.dumps({"entitlements": [{"tag": tag(HSEC), "count": 3, "export": True}]}))
    done = authority_tool(authority, "pool", "set", folder / "pool.json")
    assert done.code == 0, done.err
    device = Device.make(folder / "d", "--trust-anchor", authority.anchor)
    with device.running():
        # the authority learns the key by the first request, and an operator approves it
        request = requested(device, folder / "first.xml", 1)
        assert "first-contact" in authority_tool(authority, "authorize", request).err
        with device.http() as caller:
            udi = caller.get("/data/cisco-smart-license:licensing/state/state-info/udi")
        authority.approve(f"PID:{udi['pid']},SN:{udi['sn']}")
        yield device, authority


def authority_tool(authority: Authority, *words: str | Path) -> Done:
    """The folder goes last: what comes before it is no option's value."""
    return tool(BIN / "slp-peer", "authority", *words, "--state-dir", authority.folder)


def free(authority: Authority) -> int:
    shown = json.loads(authority_tool(authority, "pool", "show").out)
    return int(shown["entitlements"][0]["free"])


def requested(device: Device, file: Path, count: int) -> Path:
    done = device.tool(
        "license", "authorization", "request", "add", HSEC, "local", "--count", str(count), "--file", file.name
    )
    assert done.code == 0, done.err
    file.write_bytes((device.folder / "flash" / file.name).read_bytes())
    return file


@pytest.mark.parametrize("protocol", ["netconf", "restconf"])
def test_install_code_installs_authorization_codes(
    pair: tuple[Device, Authority], tmp_path: Path, protocol: str
) -> None:
    """Issued, installed by the script, used, refused back while in use, given back by its return string."""
    device, authority = pair
    target = device.netconf if protocol == "netconf" else device.restconf

    def install(file: Path) -> Done:
        return script("install_code.py", target, file, "--user", "collector", "--ca", device.ca)

    with device.recorder() as recorder:
        assert not recorder.ask_permission(HSEC, 1)
        licence = tmp_path / "code.xml"
        done = authority_tool(authority, "authorize", requested(device, tmp_path / "a.xml", 1), "--output", licence)
        assert done.code == 0, done.err
        assert free(authority) == 2
        done = install(licence)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("authorization: success slac authorization code for 1 licences installed")
        assert install(licence).out.startswith("authorization: success this authorization was installed before")
        more = tmp_path / "more.xml"
        done = authority_tool(authority, "authorize", requested(device, tmp_path / "b.xml", 2), "--output", more)
        assert done.code == 0, done.err
        done = install(more)
        assert re.search(r"^confirmation codes: [0-9a-f]{8}$", done.out, re.MULTILINE)
        recorder.record(HSEC, 2)
        with pytest.raises(usage.UsageRefused):
            recorder.record(HSEC, 3)
        done = device.tool("license", "authorization", "return", "local", "offline", "returned.xml")
        assert (done.code, "is in use" in done.err) == (1, True)
        recorder.record(HSEC, 0)
        done = device.tool("license", "authorization", "return", "local", "offline", "returned.xml")
        assert done.code == 0, done.err
        found = re.search(r"^Return code: (\S+)$", done.out, re.MULTILINE)
        assert found is not None
        done = authority_tool(authority, "returns", found[1])
        assert (done.code, json.loads(done.out)["outcomes"][0]["result"]) == (0, "accepted"), done.err
        assert free(authority) == 3
        done = authority_tool(authority, "returns", found[1])
        assert (done.code, json.loads(done.out)["outcomes"][0]["result"]) == (0, "duplicate")
        done = install(more)
        assert (done.code, "reservationmismatch: this authorization code was returned" in done.err) == (1, True)
        assert not recorder.ask_permission(HSEC, 1)


def test_what_install_code_cannot_read(pair: tuple[Device, Authority], tmp_path: Path) -> None:
    device, _ = pair
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for file, what in (
        (tmp_path, "Is a directory"),
        (tmp_path / "none", "No such file"),
        (tmp_path / "bytes", "utf-8"),
    ):
        done = script("install_code.py", device.netconf, file, "--user", "collector")
        assert (done.code, done.out, what in done.err, len(done.err.splitlines())) == (1, "", True, 1)
