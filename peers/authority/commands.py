"""The commands `slp-peer authority …`: init and run, and what an operator does on the state folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import enum
import json
import logging
from pathlib import Path
import sys
from typing import Annotated, Any

import typer

from agent.clock import SystemClock
from agent.formats import certificates, documents
from agent.formats.errors import DocumentError
from agent.formats.signing import public_from_pem
from agent.formats.udi import Udi
from peers.authority import folder as folders
from peers.authority.core import OperatorError
from peers.authority.http import MAX_BODY, application, code_list, pool_summary, summary, token_list
from peers.authority.server import listen, serve
from peers.authority.service import Authority, read_policy, read_pool, read_requests
from peers.authority.store import Store
from peers.authority.tokens import DEFAULT_DAYS, MAX_DAYS, MAX_USES

app = typer.Typer(no_args_is_help=True, help="The licence authority: acknowledges reports, issues policies and codes.")
policy_app = typer.Typer(no_args_is_help=True, help="The policy that every acknowledgement carries.")
app.add_typer(policy_app, name="policy")
pool_app = typer.Typer(no_args_is_help=True, help="What the account holds of enforced and export-controlled licences.")
app.add_typer(pool_app, name="pool")
token_app = typer.Typer(no_args_is_help=True, help="ID tokens: who redeems one in a trust request is approved.")
app.add_typer(token_app, name="token")


class AuthTypeName(enum.Enum):
    """Types of authorization code, as arguments."""

    SLAC = "slac"
    SLR = "slr"
    PLR = "plr"
    FLA = "fla"
    PAK = "pak"


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


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise OperatorError(f"{file} cannot be read: {error.strerror}") from None


def _put(data: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(data.decode("utf-8"))
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        raise OperatorError(f"{output} cannot be written: {error.strerror}") from None


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


@app.command()
def authorize(
    state_dir: StateDir,
    file: Annotated[Path, typer.Argument(help="A request file of a product instance.")],
    output: Annotated[Path | None, typer.Option(help="Where the licence file goes; else standard output.")] = None,
) -> None:
    """Answer a request file: authorization codes from the pool, trust codes, and codes taken back."""
    with _authority(state_dir) as authority:
        answer = authority.request(read_requests(_read(file)))
        sys.stderr.write(json.dumps({"outcomes": answer.outcomes}, indent=2) + "\n")
        if answer.file is not None:
            _put(answer.file, output)
        if answer.file is None and not answer.count("accepted") + answer.count("duplicate"):
            raise OperatorError("nothing was issued; the outcomes say why")


@app.command()
def returns(state_dir: StateDir, string: Annotated[str, typer.Argument(help="The return string.")]) -> None:
    """Take back the authorization codes that a return string names."""
    with _authority(state_dir) as authority:
        answer = authority.request(read_requests(string.encode()))
        _show({"outcomes": answer.outcomes})
        if not answer.count("accepted") + answer.count("duplicate"):
            raise OperatorError("nothing was taken back; the outcomes say why")


@app.command()
def codes(state_dir: StateDir, udi: Key) -> None:
    """List the authorization codes of one instance."""
    with _authority(state_dir) as authority:
        _show(code_list(authority.instance(Udi.from_key(udi))))


@app.command(name="issue-code")
def issue_code(
    state_dir: StateDir,
    udi: Key,
    auth_type: Annotated[AuthTypeName, typer.Option("--type", help="The type of code.")],
    pool_file: Annotated[
        Path | None, typer.Option("--entitlements", help="JSON, like a pool; none: every licence (plr).")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Where the licence file goes; else standard output.")] = None,
) -> None:
    """Issue a code that nobody asked for, such as a reservation from before Smart Licensing Using Policy."""
    with _authority(state_dir) as authority:
        entitlements = [] if pool_file is None else read_pool(_read(pool_file)).entitlements
        _put(authority.issue_code(Udi.from_key(udi), auth_type.value, entitlements), output)


@app.command(name="factory-file")
def factory_file(
    state_dir: StateDir,
    udi: Key,
    public_key: Annotated[Path | None, typer.Option("--key", help="PEM with the instance's public key.")] = None,
    policy: Annotated[Path | None, typer.Option(help="JSON, as in policy set.")] = None,
    pool_file: Annotated[
        Path | None, typer.Option("--entitlements", help="JSON, like a pool: what was bought with it.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Where the licence file goes; else standard output.")] = None,
) -> None:
    """Make what a factory puts into a new instance: `slp-agent init --factory FILE`."""
    with _authority(state_dir) as authority:
        data = authority.factory_file(
            Udi.from_key(udi),
            public_key=None if public_key is None else public_from_pem(_read(public_key)),
            policy=None if policy is None else read_policy(_read(policy)),
            entitlements=[] if pool_file is None else read_pool(_read(pool_file)).entitlements,
        )
        _put(data, output)


@app.command()
def release(state_dir: StateDir, udi: Key) -> None:
    """Free the codes of an instance that is lost and will never return them."""
    with _authority(state_dir) as authority:
        _show(code_list(authority.release(Udi.from_key(udi))))


@app.command()
def rotate(
    state_dir: StateDir,
    udi: Key,
    anchors: Annotated[Path, typer.Argument(help="PEM with the roots to trust from now on; list this one too.")],
    output: Annotated[Path | None, typer.Option(help="Where the licence file goes; else standard output.")] = None,
) -> None:
    """Make the file that gives an instance new trust anchors, signed under the present one."""
    with _authority(state_dir) as authority:
        _put(authority.rotate(Udi.from_key(udi), certificates.read_anchors(_read(anchors))), output)


@token_app.command(name="issue")
def token_issue(
    state_dir: StateDir,
    days: Annotated[int, typer.Option(min=1, max=MAX_DAYS, help="How long it is valid.")] = DEFAULT_DAYS,
    uses: Annotated[
        int | None, typer.Option(min=1, max=MAX_USES, help="How many instances may redeem it; without: any number.")
    ] = None,
    export: Annotated[
        bool, typer.Option("--export", help="Instances that redeem it may get export-controlled licences.")
    ] = False,
    description: Annotated[str, typer.Option(help="For the list.")] = "",
) -> None:
    """Make an ID token. Its text is printed now and never again."""
    with _authority(state_dir) as authority:
        sys.stdout.write(authority.issue_token(days, uses, export, description).text + "\n")


@token_app.command(name="list")
def token_show(state_dir: StateDir) -> None:
    """List the ID tokens, and the key ids that redeemed them."""
    with _authority(state_dir) as authority:
        _show(token_list(authority, authority.tokens()))


@token_app.command(name="revoke")
def token_revoke(
    state_dir: StateDir, number: Annotated[int, typer.Argument(min=1, help="Its number in the list.")]
) -> None:
    """Let nobody redeem it any more; instances that did stay approved."""
    with _authority(state_dir) as authority:
        _show(token_list(authority, authority.revoke_token(number)))


@pool_app.command(name="show")
def pool_show(state_dir: StateDir) -> None:
    """Print what the account holds, and what of it is free."""
    with _authority(state_dir) as authority:
        _show(pool_summary(authority))


@pool_app.command(name="set")
def pool_set(state_dir: StateDir, file: Annotated[Path, typer.Argument(help="JSON; see docs/formats.md.")]) -> None:
    """Say what the account holds; codes that were issued stay as they are."""
    with _authority(state_dir) as authority:
        authority.set_pool(*read_pool(_read(file)))
        _show(pool_summary(authority))


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
        terms = read_policy(_read(file))
        authority.set_policy(terms)
        _show(documents.terms_body(terms))


@policy_app.command(name="remove")
def policy_remove(state_dir: StateDir) -> None:
    """Send no policy; instances keep the one they have."""
    with _authority(state_dir) as authority:
        authority.set_policy(None)
