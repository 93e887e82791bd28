"""The provider of the actions of toy-acts: notes who was called where, and answers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from agent.core.aside import Steps
from agent.core.providers import Action
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.errors import Path

FARM = "/toy-acts:farm"


class Birds:
    """State with one bird, whose ring is a1."""

    def __init__(self) -> None:
        self.reads = 0

    def read(self) -> Any:
        self.reads += 1
        return {"bird": [{"ring": "a1"}]}

    def delivered(self, marks: Sequence[Hashable], session: Session) -> None:
        """Nothing here is marked."""


class Acts:
    """`done` holds name, path and input of every call, `keys` of the last one the key values along its path."""

    def __init__(self) -> None:
        self.birds = Birds()
        self.done: list[tuple[str, Path, Tree]] = []

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.done]

    def keys(self) -> list[tuple[str, str]]:
        return [pair for step in self.done[-1][1] for pair in step.keys]

    def table(self) -> dict[str, Action]:
        answers: dict[str, Any] = {
            f"{FARM}/open": lambda given: {"said": f"{given['gate']} {given['wide']}"},
            f"{FARM}/wind/spin": None,
            f"{FARM}/sun/tilt": None,
            f"{FARM}/barn/clean": lambda given: {"dirt": {"weight": "1.5"}, "found": ["egg", given["with"]]},
            f"{FARM}/barn/door/lift": None,
            f"{FARM}/barn/cow/milk": lambda _: {"litres": 7},
            f"{FARM}/vault/break": lambda given: given["nothing"],
            f"{FARM}/seen/bird/feed": None,
            "/toy:box/entry/toy-acts:touch": None,
        }
        return {
            path: self._action(path.rpartition("/")[2].rpartition(":")[2], answer) for path, answer in answers.items()
        }

    def _action(self, name: str, answer: Any) -> Action:
        def steps(given: Tree) -> Steps:
            weighed: Tree = yield lambda: answer(given)
            return weighed

        def call(given: Tree, path: Path, session: Session) -> Tree | Steps | None:
            self.done.append((name, path, given))
            if name == "milk":
                return steps(given)
            return None if answer is None else answer(given)

        return call
