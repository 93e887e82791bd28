"""The command `slp-agent`: options and output. What runs or changes an agent is in process.py, loaded when needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent import user_commands
from agent.cli import access, license, show, usage  # noqa: A004 - the word of the command
from agent.cli.target import fail
from agent.config import NETCONF_PORT, RESTCONF_PORT
from agent.user_commands import AuthorizedKey, PasswordStdin, StateDir, read_password

cli = typer.Typer(
    help="The device agent of Smart Licensing Using Policy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cli.add_typer(user_commands.cli, name="user")
cli.add_typer(access.cli, name="access")
anchor_cli = typer.Typer(help="The roots that the agent trusts.", no_args_is_help=True)
cli.add_typer(anchor_cli, name="trust-anchor")
cli.add_typer(usage.cli, name="usage")
cli.add_typer(show.cli, name="show")
cli.add_typer(license.cli, name="license")

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
Startup = Annotated[
    bool,
    typer.Option(
        "--startup", help="Offer a startup datastore: each start takes the running configuration from it (NETCONF)."
    ),
]
Yang = Annotated[
    list[Path] | None,
    typer.Option(
        "--yang", metavar="FILE", help="A further YANG module: its configuration is kept and served; can be repeated."
    ),
]
YangPath = Annotated[
    list[Path] | None,
    typer.Option("--yang-path", metavar="DIR", help="Where such modules find what they import; can be repeated."),
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
            password=read_password() if password_stdin else None,
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


@anchor_cli.command("add")
def anchor_add(
    file: Annotated[list[Path], typer.Argument(help="PEM file with the licence authority's root.")],
    state_dir: StateDir,
) -> None:
    """Give an agent that was made without a trust anchor its first ones, while it does not run."""
    from agent import process

    try:
        number = process.add_trust_anchors(state_dir, file)
    except process.Failed as error:
        fail(error)
    typer.echo(f"{number} trust anchor{'' if number == 1 else 's'} installed")


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
    startup: Startup = False,
    yang: Yang = None,
    yang_path: YangPath = None,
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
            startup=startup,
            yang=yang or [],
            yang_path=yang_path or [],
        )
    except OSError as error:
        fail(error)


def main() -> None:
    """The console entry point."""
    cli()
