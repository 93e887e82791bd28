"""The README's first session, typed as it stands there; only the ports are others."""

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
import re

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
        assert told.endswith("done\n") or (told.startswith("slp-agent: refused: ") and told.endswith("code 1\n")), told


def manage(typed: Callable[[str], str], folder: str, lines: list[str]) -> None:
    """The lines on users and access rules end well in their order; the user's key is in the current folder."""
    typed("ssh-keygen -q -t ed25519 -N '' -f id_ed25519")
    told: dict[str, str] = {}
    for line in lines:
        fingerprint = re.search(r"SHA256:\S+", told.get("slp-agent user key list collector", ""))
        line = line.replace("SHA256:FINGERPRINT", fingerprint[0] if fingerprint else "")
        told[line.partition("#")[0].strip()] = typed(f"{folder}\n{line}")
    explained = [text for line, text in told.items() if "access explain" in line]
    assert [text.split()[0] for text in explained] == ["permitted", "denied"]
    assert "collector" in told["slp-agent user list"]
    assert "collector" not in typed(f"{folder}\nslp-agent user list")


def test_first_session(tmp_path: Path) -> None:
    """Every command of the session ends well, and so does each Python snippet."""
    _, _, session = README.partition("## A first session")
    session, _, _ = session.partition("\n## ")
    lines = [line.strip() for line in re.sub(r"\\\n\s*", "", session).splitlines() if line.startswith("    ")]
    commands = [line for line in lines if re.match(r"slp-agent|curl|export|SLP_PASSWORD=", line)]
    snippets = re.findall(r"```python\n(.*?)```", session, re.DOTALL)
    (init,) = [line for line in commands if line.startswith("slp-agent init")]
    (run,) = [line for line in commands if line.startswith("slp-agent run")]
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}"}

    def typed(text: str) -> str:
        done = tool("bash", "-euc", f"cd {tmp_path}\n{text}", env=environment)
        assert done.code == 0, (text, done)
        return done.out

    assert "SSH host key" in typed(init)
    assert run == "slp-agent run --state-dir ./device --netconf 127.0.0.1:8300 --restconf 127.0.0.1:8443"
    device = Device(tmp_path / "device")
    with device.running():
        tls = device.restconf.removeprefix("https://").removesuffix("/restconf")

        def ported(text: str) -> str:
            text = text.replace("127.0.0.1:8300", device.netconf).replace("127.0.0.1:8443", tls)
            return text.replace("port=8300", f"port={device.address[1]}")

        rest = [ported(line) for line in commands if line not in (init, run)]
        (add,) = [line for line in rest if "user add" in line]
        managing = [line for line in rest if re.match("slp-agent (user|access) ", line) and line != add]
        before = [line for line in rest if not line.startswith("SLP_PASSWORD") and line not in (add, *managing)]
        pull, install = [line for line in rest if line.startswith("SLP_PASSWORD")]
        shown = typed("\n".join(before))
        for part in ("voice-session", "IN USE", "Policy in use:", "UDI: PID:", "cisco-smart-license:policy"):
            assert part in shown
        for snippet in snippets:
            (tmp_path / "snippet.py").write_text(ported(snippet))
            typed("python3 snippet.py")
        with device.recorder() as recorder:
            recorder.record("voice-session", 0)
        (file,) = typed(f"{before[0]}\n{add}\n{pull}").split()
        assert '"payload"' in (tmp_path / file).read_text()
        at_the_shell(typed, before[0])
        manage(typed, before[0], managing)
        # the file comes from an authority, which test_operator.py has
        assert "scripts/install_code.py" in install
