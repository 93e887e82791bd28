"""The commands `slp-peer authority …`: init and run, and what an operator does on the state folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import json
import logging
from pathlib import Path
import sys
from typing import Annotated, Any

import typer

from agent.clock import SystemClock
from agent.formats import documents
from agent.formats.errors import DocumentError
from agent.formats.udi import Udi
from peers.authority import folder as folders
from peers.authority.core import OperatorError
from peers.authority.http import MAX_BODY, application, summary
from peers.authority.server import listen, serve
from peers.authority.service import Authority, read_policy
from peers.authority.store import Store

app = typer.Typer(no_args_is_help=True, help="The licence authority: acknowledges reports, issues policies and codes.")
policy_app = typer.Typer(no_args_is_help=True, help="The policy that every acknowledgement carries.")
app.add_typer(policy_app, name="policy")

StateDir = Annotated[Path, typer.Option("--state-dir", help="The authority's state folder.")]
Key = Annotated[str, typer.Argument(metavar="UDI", help="PID:…,SN:…")]


@contextmanager
def _explained() -> Iterator[None]:
    """Expected failures become one line on standard error and exit code 1."""
    try:
        yield
    except (OperatorError, DocumentError, ValueError) as error:
        sys.stderr.write(f"slp-peer: {error}\n")
        raise typer.Exit(1) from None


@contextmanager
def _authority(state_dir: Path) -> Iterator[Authority]:
    with _explained():
        folder = folders.load(state_dir)
        store = Store(folder.database)
        try:
            yield Authority(folder, store, SystemClock())
        finally:
            store.close()


def _show(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


@app.command()
def init(
    state_dir: StateDir,
    account: Annotated[str, typer.Option(help="Smart account name.")],
    virtual_account: Annotated[str, typer.Option(help="Virtual account name.")],
    lab: Annotated[bool, typer.Option("--lab", help="For ever a lab: only lab instances are served.")] = False,
) -> None:
    """Make a new authority: root and signer keys, and anchor.pem for the product instances."""
    with _explained():
        if not (1 <= len(account) <= 255 and 1 <= len(virtual_account) <= 255):
            raise ValueError("account names have 1 to 255 characters")
        folder = folders.create(state_dir, documents.Account(account, virtual_account), lab)
    sys.stdout.write(f"trust anchor: {folder.path / 'anchor.pem'}\n")


@app.command()
def run(
    state_dir: StateDir,
    http: Annotated[str, typer.Option(metavar="HOST:PORT", help="Port 0 lets the kernel choose.")] = "127.0.0.1:8180",
    lab_clock_rate: Annotated[float | None, typer.Option(help="Seconds of lab time a second (lab only).")] = None,
    lab_clock_start: Annotated[float | None, typer.Option(help="Lab time at the first start, epoch seconds.")] = None,
) -> None:
    """Serve until SIGTERM. Prints one JSON line when ready; the log goes to standard error."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    with _explained():
        folder = folders.load(state_dir)
        clock = folders.clock_for(folder, lab_clock_rate, lab_clock_start)
        try:
            listener = listen(http)
        except OSError as error:
            raise OperatorError(f"{http} cannot be listened on: {error.strerror}; choose another --http") from None
        store = Store(folder.database)
    where = listener.getsockname()
    host = f"[{where[0]}]" if ":" in where[0] else where[0]

    def ready() -> None:
        sys.stdout.write(json.dumps({"event": "ready", "http": f"http://{host}:{where[1]}"}) + "\n")
        sys.stdout.flush()

    try:
        serve(application(Authority(folder, store, clock)), listener, MAX_BODY, ready)
    finally:
        store.close()


@app.command()
def instances(state_dir: StateDir) -> None:
    """List the product instances that have ever reported."""
    with _authority(state_dir) as authority:
        _show([summary(instance) for instance in authority.instances()])


@app.command()
def reports(state_dir: StateDir, udi: Key) -> None:
    """List the reports of one instance."""
    with _authority(state_dir) as authority:
        _show(authority.reports(authority.instance(Udi.from_key(udi)).udi))


@app.command()
def approve(
    state_dir: StateDir,
    udi: Key,
    force: Annotated[bool, typer.Option("--force", help="Re-key an instance that was reset.")] = False,
    key_id: Annotated[str | None, typer.Option(help="Approve this key only, as the instance itself shows it.")] = None,
) -> None:
    """Trust the key that an instance's latest report came with."""
    with _authority(state_dir) as authority:
        _show(summary(authority.approve(Udi.from_key(udi), force, key_id)))


@app.command(name="accept-gap")
def accept_gap(state_dir: StateDir, udi: Key) -> None:
    """Let an instance's chain go on although earlier reports never came."""
    with _authority(state_dir) as authority:
        _show(summary(authority.accept_gap(Udi.from_key(udi))))


@policy_app.command(name="show")
def policy_show(state_dir: StateDir) -> None:
    """Print the policy in force."""
    with _authority(state_dir) as authority:
        terms = authority.settings().policy
        _show(None if terms is None else documents.terms_body(terms))


@policy_app.command(name="set")
def policy_set(state_dir: StateDir, file: Annotated[Path, typer.Argument(help="JSON; see docs/formats.md.")]) -> None:
    """Set the policy from a JSON file; instances get it with their next acknowledgement."""
    with _authority(state_dir) as authority:
        try:
            terms = read_policy(file.read_bytes())
        except OSError as error:
            raise OperatorError(f"{file} cannot be read: {error.strerror}") from None
        authority.set_policy(terms)
        _show(documents.terms_body(terms))


@policy_app.command(name="remove")
def policy_remove(state_dir: StateDir) -> None:
    """Send no policy; instances keep the one they have."""
    with _authority(state_dir) as authority:
        authority.set_policy(None)
