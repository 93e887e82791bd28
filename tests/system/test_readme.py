"""The README's first session, typed as it stands there; only the ports are others."""

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
import re
import time

from tests.system.kit import BIN, ROOT, Device, tool

README = (ROOT / "README.md").read_text()


WORDS = {"FILE": "flash:a.xml", "DAYS": "3", "REPORT": "1", "LICENCE": "voice-session", "TOKEN": "T"}
"""What stands for the placeholders of README.md."""


def at_the_shell(typed: Callable[[str], str], folder: str) -> None:
    """Every line of the section is understood by the agent: it is done (0), or refused with a reason (1)."""
    _, _, section = README.partition("## At the device's shell")
    section, _, _ = section.partition("\n## ")
    lines = [line.partition("#")[0].strip() for line in section.splitlines() if line.startswith("    slp-agent ")]
    assert lines
    for line in lines:
        words = [WORDS.get(word, word) for word in line.split() if word != "[--here]"]
        told = typed(f"{folder}\n{' '.join(words)} 2>&1 && echo done || echo code $?")
        assert told.endswith("done\n") or (
            told.startswith(
                ("slp-agent: refused: ", "slp-agent: no trust", "slp-agent: 1 report", "slp-agent: 0 reports")
            )
            and told.endswith("code 1\n")
        ), told


def steps(session: str) -> list[str]:
    """What a reader types, in its order: commands, and Python snippets as their whole text."""
    found = []
    for snippet, block in re.findall(r"```python\n([\s\S]*?)```|((?:^    .+\n)+)", session, re.MULTILINE):
        lines = re.sub(r"\\\n\s*", "", block).splitlines()
        found += [snippet] if snippet else [line.strip() for line in lines]
    return found


def test_first_session(tmp_path: Path) -> None:
    """Every command of the session ends well, and so does each Python snippet; the last reports are acknowledged."""
    _, _, session = README.partition("## A first session")
    session, _, _ = session.partition("\n## ")
    (venv, authority, init, run, *typing) = steps(session)
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (tmp_path / "venv").symlink_to(BIN.parent)
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}"}

    def typed(text: str, code: int = 0) -> str:
        done = tool("bash", "-euc", f"cd {tmp_path}\n{text}", env=environment)
        assert done.code == code, (text, done)
        return done.out + done.err

    assert venv.startswith("python3 -m venv venv && venv/bin/pip install . ncclient")
    assert "anchor.pem" in typed(authority)
    assert "SSH host key" in typed(init)
    assert run == "slp-agent run --state-dir ./device --netconf 127.0.0.1:8300 --restconf 127.0.0.1:8443"
    told, fingerprint = "", ""
    typed("ssh-keygen -q -t ed25519 -N '' -f id_ed25519")
    device = Device(tmp_path / "device")
    with device.running():
        tls = device.restconf.removeprefix("https://").removesuffix("/restconf")
        waits = True
        for step in typing:
            text = step.replace("127.0.0.1:8300", device.netconf).replace("127.0.0.1:8443", tls)
            if "\n" in text:
                (tmp_path / "snippet.py").write_text(text.replace("port=8300", f"port={device.address[1]}"))
                told += typed("python3 snippet.py")
            elif "trust-anchor add" in text:
                typed(f"{init.partition(' --trust-anchor')[0]} <<< one".replace("./device", "./other"))
                assert "1 trust anchor installed" in typed(text.replace("./device", "./other"))
            else:
                if "close-reports" in text:
                    measured(device)
                first = "authority submit" in text and waits
                waits = waits and not first
                text = text.replace("SHA256:FINGERPRINT", fingerprint)
                shown = typed(f". venv/bin/activate\nexport SLP_AGENT_STATE_DIR=./device\n{text}", code=int(first))
                if text == "slp-agent user key list collector":
                    fingerprint = next(word for word in shown.split() if word.startswith("SHA256:"))
                if "access explain" in text:
                    assert shown.startswith(("permitted", "denied"))
                told += shown
        for part in (
            "voice-session", "IN USE", "Policy in use:", "UDI: PID:", "cisco-smart-license:policy", "reports/",
            "approve the instance", "acknowledgement: success", "reports-acknowledged",
        ):  # fmt: skip
            assert part in told, part
        assert re.search(r"Last ACK received: \w{3} \d\d", told)
        at_the_shell(typed, "export SLP_AGENT_STATE_DIR=./device")


def measured(device: Device) -> None:
    """Until a report that was begun has measured a whole second."""
    begun = int(time.time())
    while int(time.time()) == begun:
        time.sleep(0.02)
