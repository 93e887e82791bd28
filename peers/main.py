"""The console entry `slp-peer`: one sub-command for each kind of peer; no logic of its own."""

from __future__ import annotations

import typer

from peers.authority.commands import app as authority

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The other ends of the agent's wires, for labs.")
app.add_typer(authority, name="authority")


@app.callback()
def _root() -> None:
    """Keep `authority` a sub-command even while it is the only one."""


def main() -> None:
    app()
