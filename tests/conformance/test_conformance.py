"""docs/conformance.md is what the tests cite, and whatever does not fit together is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import subprocess
import sys

import pytest

from tests.conformance.citations import Citation, CitationError, citations, cited
from tests.conformance.page import PAGE, Source, SourceError, load, page

ROOT = Path(__file__).resolve().parents[2]
WORD = "Checklist"
"""Kept out of the docstrings here, which would be citations of this file otherwise."""


@pytest.fixture(scope="module")
def source() -> Source:
    return load(ROOT)


@pytest.fixture(scope="module")
def found() -> list[Citation]:
    return citations(ROOT)


def test_the_page_is_up_to_date(source: Source, found: list[Citation]) -> None:
    """After a change of the source or of a citation: run scripts/conformance."""
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(ROOT, source, found)


def test_every_test_file_and_decision_that_is_linked_exists(source: Source, found: list[Citation]) -> None:
    assert all((ROOT / one.file).is_file() for one in found)
    assert all((ROOT / "docs" / "decisions" / f"{name}.md").is_file() for name in source.decisions.values())


@pytest.mark.parametrize(
    ("docstring", "items"),
    [
        (None, ()),
        ("Nothing of it.", ()),
        (f"{WORD} 24.", (24,)),
        (f"{WORD} 32-34, 39: the tag.", (32, 33, 34, 39)),
        (f"{WORD} 122, read: pruned.", (122,)),
        (f"{WORD} 90, 91, 97-99 in any order.", (90, 91, 97, 98, 99)),
        (f"{WORD} 12,\n    18: over two lines.", (12, 18)),
        (f"On the wire (RFC 6243; {WORD.lower()} 67-69)", (67, 68, 69)),
        (f"{WORD} 1: this. {WORD} 3: that.", (1, 3)),
        (f"{WORD}, Lawful alternatives: no number.", ()),
    ],
)
def test_citations_are_read(docstring: str | None, items: tuple[int, ...]) -> None:
    assert cited(docstring) == items


@pytest.mark.parametrize("rest", ["", " items 4 and 5", " 0", " 169", " 9-7", " 160-170", " 12a", " 3-", ", and more"])
def test_a_citation_that_cannot_be_read_is_refused(rest: str) -> None:
    with pytest.raises(CitationError):
        cited(WORD + rest)


def test_a_file_cites_for_its_tests(tmp_path: Path) -> None:
    """What single tests cite is not told of the file too; a slow test, and a file of slow ones, are known as such."""
    tests = tmp_path / "tests" / "a"
    tests.mkdir(parents=True)
    (tests / "test_one.py").write_text(
        f'"""Of {WORD.lower()} 1-3."""\nimport pytest\n\ndef test_a():\n    """{WORD} 2."""\n\n'
        f'@pytest.mark.slow\nasync def test_b():\n    """{WORD} 4."""\n\n'
        f'class TestC:\n    def test_d(self):\n        """{WORD} 5."""\n\n'
        f'    def helper(self):\n        """{WORD} 6."""\n'
    )
    (tests / "helper.py").write_text(f'"""{WORD} 7."""\n')
    assert citations(tmp_path) == [
        Citation("tests/a/test_one.py", "", (1, 3), slow=False),
        Citation("tests/a/test_one.py", "test_a", (2,), slow=False),
        Citation("tests/a/test_one.py", "test_b", (4,), slow=True),
        Citation("tests/a/test_one.py", "TestC::test_d", (5,), slow=False),
    ]


def test_what_does_not_fit_together_is_told(source: Source, found: list[Citation]) -> None:
    """An item that no run of CI proves, an excuse that is out of date, a decision that is not there, a bad table."""
    only_slow = [replace(one, slow=one.slow or 22 in one.items) for one in found]
    told = {
        "item 22 is cited by no test": (source, only_slow),
        "item 22 has a test now": (replace(source, later=source.later | {22: "some day"}), found),
        "item 22 has no words": (replace(source, items={k: v for k, v in source.items.items() if k != 22}), found),
        "there is no docs/decisions/9999-x.md": (replace(source, decisions={22: "9999-x"}), found),
        "there is no item 400": (replace(source, later=source.later | {400: "never"}), found),
        "ascending order": (replace(source, rfcs=source.rfcs[::-1]), found),
        "the state is one of": (replace(source, rfcs=(replace(source.rfcs[0], state="nearly"),)), found),
        "what is missing": (replace(source, rfcs=(replace(source.rfcs[0], state="in part"),)), found),
    }
    for line, (hand_written, cites) in told.items():
        with pytest.raises(SourceError, match=line):
            page(ROOT, hand_written, cites)


def test_the_script_compares() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "conformance", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_test_that_cites_may_not_be_skipped(tmp_path: Path) -> None:
    """With --conformance skips and expected failures of citing tests fail; others, and without it all, are as ever."""
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "test_some.py").write_text(
        "import pytest\n\n"
        f'@pytest.mark.skip(reason="so")\ndef test_skipped():\n    """{WORD} 1."""\n\n'
        f'@pytest.mark.xfail\ndef test_expected():\n    """{WORD} 2."""\n    assert False\n\n'
        f'def test_within():\n    """{WORD} 3."""\n    pytest.skip("so")\n\n'
        '@pytest.mark.skip(reason="so")\ndef test_free():\n    """Cites nothing."""\n\n'
        f'def test_passes():\n    """{WORD} 4."""\n'
    )
    for options, outcome in (
        ([], "1 passed, 3 skipped, 1 xfailed"),
        (["--conformance"], "2 failed, 1 passed, 1 skipped, 1 error"),
    ):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", f"pythonpath={ROOT}", *options]
        done = subprocess.run([*command, tmp_path], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert outcome in done.stdout, done.stdout + done.stderr
