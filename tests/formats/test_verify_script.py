"""scripts/verify_report.py, the reader that a stranger could have written: judged by our documents, as a process."""

from __future__ import annotations

import ast
import json
from pathlib import Path
import subprocess
import sys

import pytest

from agent.formats import certificates, rum, smartlicense
from agent.formats.signing import LocalSigner
from tests.formats.authority import ANCHOR, DEVICE, NOW, TRUST_CODE, UDI, YEAR, chain, report

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "verify_report.py"


def run(*arguments: str | Path, given: bytes = b"") -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments], input=given, capture_output=True, timeout=30, check=False
    )
    assert done.stderr == b""
    return done.returncode, done.stdout.decode().splitlines()


def test_it_is_short_and_uses_cryptography_and_the_standard_library_only() -> None:
    source = SCRIPT.read_text()
    assert len(source.splitlines()) <= 40
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {name.split(".")[0] for name in imported} <= {"cryptography", *sys.stdlib_module_names}


def test_reports_and_usage_file_are_verified(tmp_path: Path) -> None:
    documents = chain(2)
    usage = tmp_path / "usage.xml"
    usage.write_bytes(smartlicense.write_usage(smartlicense.SystemInfo(UDI, NOW, "n", "tag"), documents))
    expected = [
        f"OK {UDI.key},REPORT:{1001 + index} sha256:{rum.digest_of(document)}"
        for index, document in enumerate(documents)
    ]
    assert run(usage) == (0, expected)
    assert run(given=b"\n".join(documents)) == (0, expected)


def test_altered_cut_and_missing_reports_fail(tmp_path: Path) -> None:
    good, other = chain(2)
    forged = json.loads(good)
    forged["payload"] = json.loads(other)["payload"]
    code, lines = run(given=json.dumps(forged).encode() + good + other[:-9])
    assert code == 1
    assert [line.split()[0] for line in lines] == ["FAILED", "OK", "FAILED"]
    assert run(given=b"<smartLicense>")[0] == 1
    assert run()[0] == 1


def test_trust_code_is_checked_against_the_anchor(tmp_path: Path) -> None:
    anchor, other = tmp_path / "anchor.pem", tmp_path / "other.pem"
    anchor.write_bytes(certificates.to_pem(ANCHOR))
    stranger = certificates.make_anchor(LocalSigner.generate(), "Stranger", NOW, NOW + YEAR)
    other.write_bytes(certificates.to_pem(stranger))
    trusted = rum.seal(report(), DEVICE, TRUST_CODE)
    assert run("--anchor", anchor, given=trusted)[0] == 0
    assert run("--anchor", other, given=trusted)[0] == 1
    assert run("--anchor", anchor, given=chain(1)[0])[0] == 1


@pytest.mark.parametrize("name", ["good", "bad"])
def test_vectors(name: str) -> None:
    """It believes every good vector; of the bad ones only those whose fault is not in the signature."""
    entries = json.loads((SCRIPT.parent.parent / "tests" / "vectors" / "reports.json").read_text())[name]
    forged = {"count-altered", "signed-by-another", "cut"}
    wanted = [entry for entry in entries if name == "good" or entry["name"] in forged]
    assert len(wanted) >= 3
    for entry in wanted:
        assert run(given=entry["document"].encode())[0] == (0 if name == "good" else 1)
