"""docs/netconf.md, typed as it stands there into a real agent; only the ports are others."""

from __future__ import annotations

import os
from pathlib import Path
import re
import shutil

from lxml import etree
import pytest

from tests.ports import free_port
from tests.system.kit import BIN, ROOT, Device, tool

pytestmark = pytest.mark.skipif(
    shutil.which("ssh") is None or shutil.which("openssl") is None, reason="OpenSSH or openssl is not installed"
)
BLOCK = re.compile(r"^```(sh|python)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def content(nacm: etree._Element) -> list[tuple[str, str]]:
    return [(str(one.tag), (one.text or "").strip()) for one in nacm.iter()]


def test_the_page(tmp_path: Path) -> None:
    """Every shell step ends well, and every program says what it is there for."""
    page = (ROOT / "docs" / "netconf.md").read_text()
    blocks = BLOCK.findall(page)
    assert page.count("```") == 2 * len(blocks)
    device = Device.make(tmp_path / "device")
    with device.running():
        ports = {"8300": str(device.address[1]), **{port: str(free_port()) for port in ("6513", "4334", "4335")}}
        script = f"cd {tmp_path}\n"
        for kind, name, block in blocks:
            text = re.sub(r"\b(8300|6513|4334|4335)\b", lambda found: ports[found[0]], block)
            if kind == "python":
                (tmp_path / name).write_text(text)
                script += "" if name == "edit.py" else f"python3 -W ignore {name}\n"
            else:
                script += text
        environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "SSH_AUTH_SOCK": ""}
        done = tool("bash", "-euc", script, env=environment, timeout=240)
        assert done.code == 0, done
        for said in (
            "\nTLS session ",
            "<capability>urn:ietf:params:netconf:base:1.1",
            "SSH called, session ",
            "\nTLS called: <hello",
            "\npermitted by rule licensing of rule-list auditor",
        ):
            assert said in f"\n{done.out}", done.out


def test_the_access_rules_of_the_models_page() -> None:
    """They are those of the example that is typed."""
    (rules,) = re.findall(r"^```xml\n(<nacm .*?)^```$", (ROOT / "docs/models.md").read_text(), re.MULTILINE | re.DOTALL)
    typed = re.findall(r"<nacm .*?</nacm>", (ROOT / "docs/netconf.md").read_text(), re.DOTALL)
    assert [content(etree.fromstring(one)) for one in typed] == [content(etree.fromstring(rules))]
