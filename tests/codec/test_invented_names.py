"""A client that invents names without end does not make the process grow without end."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

import pytest

from agent.codec import xml_parse

ROOT = Path(__file__).parents[2]

PROGRAM = """
from agent.codec.xml_parse import parse

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

def message(number):
    names = b"".join(b"<n%d-%d-abcdefghijklmnopqrst a%d-%d=''/>" % (number, i, number, i) for i in range(10_000))
    return b"<a>" + names + b"</a>"

parse(message(0))
before = resident()
for number in range(1, 41):
    root = parse(message(number))
    assert len(root) == 10_000 and root[7].tag == f"n{number}-7-abcdefghijklmnopqrst", root[7].tag
    del root
print(resident() - before)
"""


def test_forty_million_octets_of_invented_names_are_forgotten() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    # without the thread of its own: 50 MiB and more, all of it for good
    assert float(done.stdout) < 20


def test_usual_names_are_read_where_they_come_in() -> None:
    message = b"<get><filter type='subtree'><licensing xmlns='urn:x'/></filter></get>"
    xml_parse.parse(message)
    known = len(xml_parse._words)
    root = xml_parse.parse(message)
    assert root[0].get("type") == "subtree"
    assert len(xml_parse._words) == known


@pytest.mark.parametrize("part", [1, 7, 40])
def test_names_are_found_in_parts(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is cut where a part ends."""
    monkeypatch.setattr(xml_parse, "PART", part)
    message = (
        b"<get a='1' other=\"2\"><filter  type='subtree' ><x:y xmlns:x='urn:x'>text and = more</x:y>\n</filter></get>"
    )
    assert xml_parse._names(message) == {
        *xml_parse._ELEMENTS.findall(message),
        *xml_parse._ATTRIBUTES.findall(message),
    }
