"""The command `slp-agent`: options and output. What runs or changes an agent is in process.py, loaded when needed."""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Annotated

import typer

from agent.cli import license, show, usage  # noqa: A004 - the word of the command
from agent.cli.target import fail
from agent.config import NETCONF_PORT, RESTCONF_PORT

cli = typer.Typer(
    help="The device agent of Smart Licensing Using Policy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
user_cli = typer.Typer(help="Users of the NETCONF and RESTCONF interfaces.", no_args_is_help=True)
cli.add_typer(user_cli, name="user")
cli.add_typer(usage.cli, name="usage")
cli.add_typer(show.cli, name="show")
cli.add_typer(license.cli, name="license")

StateDir = Annotated[Path, typer.Option("--state-dir", envvar="SLP_AGENT_STATE_DIR", help="The agent's state folder.")]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
AuthorizedKey = Annotated[
    Path | None, typer.Option(help="File with SSH public keys of the user, in the form of authorized_keys.")
]
ProfileFile = Annotated[
    Path | None, typer.Option(help="TOML file that describes the product; without it, a virtual router.")
]
Serial = Annotated[
    str | None, typer.Option(help="Serial number, where the profile has none; without it, one is chosen.")
]
TrustAnchors = Annotated[
    list[Path] | None, typer.Option(help="PEM file with the licence authority's root; can be repeated.")
]
Factory = Annotated[
    Path | None,
    typer.Option(help="The authority's factory file: trust code, policy and authorization code that the product has."),
]
DeviceKey = Annotated[
    Path | None, typer.Option(help="The product's own private key, made in the factory (PEM); without it, one is made.")
]
KeyFile = Annotated[
    Path | None,
    typer.Option(show_default="STATE_DIR.key", help="Key file that seals secrets; outside the state folder."),
]
TlsNames = Annotated[
    list[str] | None, typer.Option(help="Further host name or address for the TLS certificate; can be repeated.")
]
Lab = Annotated[bool, typer.Option("--lab", help="Mark the folder as a lab for ever: its clock may run faster.")]
NetconfAddress = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where NETCONF over SSH listens.")]
RestconfAddress = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where RESTCONF over TLS listens.")]
Socket = Annotated[
    Path | None,
    typer.Option(
        show_default="STATE_DIR/agent.sock", help="Where the local socket is bound, for other users to reach it."
    ),
]
NetconfSocket = Annotated[
    Path | None,
    typer.Option(help="Where netconf-subsystem reaches NETCONF; local users come in as the account of their name."),
]
Pam = Annotated[
    str | None, typer.Option(metavar="SERVICE", help="Let PAM judge passwords over SSH too, as this service.")
]
SocketGroup = Annotated[str | None, typer.Option(help="The group of users that may open the local sockets.")]
LabClockRate = Annotated[
    float | None, typer.Option(min=0.001, max=10_000_000, help="Lab folders: seconds that pass in one second.")
]
LabClockStart = Annotated[
    float | None, typer.Option(min=0, max=4_000_000_000, help="Lab folders: epoch seconds at the folder's beginning.")
]
FilesFolder = Annotated[
    Path | None,
    typer.Option("--files", show_default="STATE_DIR/flash", help="Where flash:NAME, bootflash:NAME and NAME lead to."),
]
LogLevel = Annotated[str, typer.Option(help="Log to standard error: debug, info, warning or error.")]


@cli.command()
def init(
    state_dir: StateDir,
    user: Annotated[str, typer.Option(help="Name of the first administrator.")],
    password_stdin: PasswordStdin = False,
    authorized_key: AuthorizedKey = None,
    profile: ProfileFile = None,
    serial: Serial = None,
    trust_anchor: TrustAnchors = None,
    factory: Factory = None,
    device_key: DeviceKey = None,
    key_file: KeyFile = None,
    tls_name: TlsNames = None,
    lab: Lab = False,
) -> None:
    """Make a state folder: keys, certificate, first administrator. Prints the fingerprints."""
    if password_stdin == (authorized_key is not None):
        fail("give either --password-stdin or --authorized-key FILE: the administrator needs one way to log in")
    from agent import process

    try:
        made = process.init(
            state_dir,
            user,
            password=_read_password() if password_stdin else None,
            authorized_key=authorized_key,
            profile=profile,
            serial=serial,
            trust_anchors=trust_anchor or [],
            factory=factory,
            device_key=device_key,
            key_file=key_file,
            tls_names=tls_name or [],
            lab=lab,
        )
    except process.Failed as error:
        fail(error)
    typer.echo(f"State folder: {made.folder.path}{' (lab)' if lab else ''}")
    typer.echo(f"Key file:     {made.folder.info.key_file} (keep it apart from backups of the folder)")
    typer.echo(f"UDI:          {made.profile.udi.key}")
    typer.echo(f"Device key:   {made.device_key_id} (the authority's operator approves it)")
    typer.echo(f"SSH host key: {made.host_key_fingerprint} (ED25519)")
    typer.echo(f"TLS:          SHA256 {made.certificate_fingerprint}")
    typer.echo(f"CA file:      {made.ca_file} (clients pass it with --ca)")


@user_cli.command("add")
def user_add(
    name: Annotated[str, typer.Argument(help="Name of the user.")],
    state_dir: StateDir,
    group: Annotated[str, typer.Option(help="What it may do: admin, collector or reader.")],
    password_stdin: PasswordStdin = False,
    authorized_key: AuthorizedKey = None,
) -> None:
    """Add a user; a running agent knows it at once."""
    if not password_stdin and authorized_key is None:
        fail("give --password-stdin, --authorized-key FILE or both: the user needs a way to log in")
    from agent import process

    try:
        password = _read_password() if password_stdin else None
        process.add_user(state_dir, name, group, password=password, authorized_key=authorized_key)
    except process.Failed as error:
        fail(error)


@cli.command("host-key")
def host_key(state_dir: StateDir) -> None:
    """Make a new SSH host key. A running agent shows it after SIGHUP; sessions that stand go on."""
    from agent import process

    try:
        fingerprint = process.new_host_key(state_dir)
    except process.Failed as error:
        fail(error)
    typer.echo(f"SSH host key: {fingerprint} (ED25519); a running agent takes it up on SIGHUP")


@cli.command()
def check(state_dir: StateDir) -> None:
    """Verify the database of an agent that does not run: exit code 0 when all is as it was written, else 1."""
    from agent import process

    try:
        checked = process.check(state_dir)
    except process.Failed as error:
        fail(error)
    typer.echo(
        f"Nothing was altered: snapshot, {checked.events} events after it, configuration, {checked.reports} stored "
        f"reports, {checked.users} users"
    )


@cli.command()
def run(
    state_dir: StateDir,
    netconf: NetconfAddress = f":{NETCONF_PORT}",
    restconf: RestconfAddress = f":{RESTCONF_PORT}",
    socket: Socket = None,
    socket_group: SocketGroup = None,
    netconf_socket: NetconfSocket = None,
    pam: Pam = None,
    lab_clock_rate: LabClockRate = None,
    lab_clock_start: LabClockStart = None,
    files: FilesFolder = None,
    log_level: LogLevel = "info",
) -> None:
    """Run the agent until SIGTERM. Prints one JSON line when it serves; port 0 lets the kernel choose."""
    from agent import daemon

    try:
        daemon.become(
            state_dir=state_dir,
            netconf=netconf,
            restconf=restconf,
            socket=socket,
            socket_group=socket_group,
            netconf_socket=netconf_socket,
            pam=pam,
            lab_clock_rate=lab_clock_rate,
            lab_clock_start=lab_clock_start,
            log_level=log_level,
            files=files,
        )
    except OSError as error:
        fail(error)


def _read_password() -> str:
    password = sys.stdin.readline().rstrip("\n")
    if not password:
        fail("--password-stdin: standard input is empty; pass one line with the password")
    return password


def main() -> None:
    """The console entry point."""
    cli()
