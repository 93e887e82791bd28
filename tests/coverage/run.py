"""The coverage run: every recorded scenario, then two long lives, all behind front ends; what was seen comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

from agent import app
from agent.core.schema import Schema
from agent.licensing.profile import VIRTUAL_ROUTER
from agent.northbound.bound import Bindings
from tests.coverage import scenes
from tests.coverage.libyang import Libyang
from tests.coverage.player import ClientPlayer
from tests.coverage.seen import Seen
from tests.coverage.stage import Stage
from tests.licensing.kit import T0, Authority
from tests.licensing.scenario import FOLDER
from tests.transport.rig import HandClock

APART = 1_000_003
"""Seconds between the begins of two devices' lives, so that no two tell the same times."""


def run(folder: Path) -> tuple[Schema, Seen]:
    """Raises Invalid or Unpublished (AssertionError) with the first reply that does not validate.

    `folder` is an empty one, for databases and files.
    """
    schema = app.load_schema()
    seen = Seen()
    checker = Libyang(schema)
    # schema and bindings know nothing of the agent that they serve, and are costly to make
    shared = Bindings(schema)
    with (
        mock.patch.object(app, "load_schema", return_value=schema),
        mock.patch.object(app, "Bindings", return_value=shared),
    ):
        for number, (name, text, play, lab) in enumerate(_lives()):
            path = folder / str(number)
            path.mkdir()
            clock = HandClock(T0 + number * APART)
            authority = Authority(lab=lab)
            stage = Stage(path, seen, checker, text=text, serial=name, lab=lab, authority=authority, clock=clock)
            try:
                play(stage)
            finally:
                stage.end()
    return schema, seen


def _lives() -> Iterator[tuple[str, str, Callable[[Stage], None], bool]]:
    """Serial number, profile, what happens, and whether it is a lab's."""
    for number, folder in enumerate(sorted(FOLDER.iterdir())):
        commands = (folder / "commands.txt").read_text(encoding="utf-8")
        yield f"9SCENE{number}", VIRTUAL_ROUTER, partial(_play, commands), False
    for number, (text, parts) in enumerate(scenes.lives()):
        yield f"9RIG{number}", text, partial(_live, parts), number == 1


def _play(commands: str, stage: Stage) -> None:
    ClientPlayer(stage).play(commands)


def _live(parts: Sequence[Callable[[Stage], None]], stage: Stage) -> None:
    for part in parts:
        part(stage)
