"""`slp-agent user …`: options and output. What changes the accounts is in process.py, loaded when needed."""

from __future__ import annotations

import json
from pathlib import Path
import sys
from typing import Annotated

import typer

from agent.cli.target import AsJson, fail

cli = typer.Typer(help="Users of the NETCONF and RESTCONF interfaces.", no_args_is_help=True)
key_cli = typer.Typer(help="SSH public keys of a user.", no_args_is_help=True)
cli.add_typer(key_cli, name="key")

StateDir = Annotated[Path, typer.Option("--state-dir", envvar="SLP_AGENT_STATE_DIR", help="The agent's state folder.")]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
AuthorizedKey = Annotated[
    Path | None, typer.Option(help="File with SSH public keys of the user, in the form of authorized_keys.")
]
Force = Annotated[bool, typer.Option("--force", help="Do it to the last administrator too.")]
Name = Annotated[str, typer.Argument(help="Name of the user.")]


def read_password() -> str:
    """One line of standard input; ends the program where there is none."""
    password = sys.stdin.readline().rstrip("\n")
    if not password:
        fail("--password-stdin: standard input is empty; pass one line with the password")
    return password


@cli.command("add")
def add(
    name: Name,
    state_dir: StateDir,
    group: Annotated[str, typer.Option(help="What it may do: admin, collector or reader.")],
    password_stdin: PasswordStdin = False,
    authorized_key: AuthorizedKey = None,
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="The user logs in by a certificate or by PAM: no password, no key.")
    ] = False,
) -> None:
    """Add a user; a running agent knows it at once."""
    if elsewhere and (password_stdin or authorized_key is not None):
        fail("--elsewhere is for users without a password and a key here: leave it out, or leave these out")
    if not password_stdin and authorized_key is None and not elsewhere:
        fail(
            "give --password-stdin, --authorized-key FILE or both: the user needs a way to log in; where that is a "
            "certificate or PAM, give --elsewhere"
        )
    from agent import process

    try:
        password = read_password() if password_stdin else None
        process.add_user(state_dir, name, group, password=password, authorized_key=authorized_key, elsewhere=elsewhere)
    except process.Failed as error:
        fail(error)


@cli.command("passwd")
def passwd(name: Name, state_dir: StateDir, password_stdin: PasswordStdin = False) -> None:
    """Give a user a new password; sessions that are open stay open (user remove ends them)."""
    if not password_stdin:
        fail("give --password-stdin and one line with the new password on standard input")
    from agent import process

    password = read_password()
    try:
        with process.users(state_dir) as users:
            users.set_password(name, password)
    except process.Failed as error:
        fail(error)


@cli.command("group")
def group(
    name: Name,
    to: Annotated[str, typer.Argument(metavar="GROUP", help="What it may do: admin, collector or reader.")],
    state_dir: StateDir,
    force: Force = False,
) -> None:
    """Move a user to another group, within a second in open sessions too; groups of your own are configuration."""
    from agent import process

    try:
        with process.users(state_dir) as users:
            users.set_group(name, to, force=force)
    except process.Failed as error:
        fail(error)


@cli.command("remove")
def remove(name: Name, state_dir: StateDir, force: Force = False) -> None:
    """Remove a user: it cannot log in any more, and its open sessions end within a second."""
    from agent import process

    try:
        with process.users(state_dir) as users:
            users.remove(name, force=force)
    except process.Failed as error:
        fail(error)


@cli.command("list")
def list_(state_dir: StateDir, as_json: AsJson = False) -> None:
    """Name, group and ways to log in of every user."""
    from agent import process

    try:
        with process.users(state_dir) as users:
            accounts = users.all()
    except process.Failed as error:
        fail(error)
    if as_json:
        listed = [
            {
                "name": each.name,
                "group": each.group,
                "password": each.has_password,
                "ssh-keys": [{"fingerprint": key.fingerprint, "comment": key.comment} for key in each.named_keys()],
            }
            for each in accounts
        ]
        typer.echo(json.dumps({"user": listed}, indent=2, ensure_ascii=False))
        return
    width = max((len(each.name) for each in accounts), default=0)
    for each in accounts:
        ways = ["password"] if each.has_password else []
        if each.ssh_keys:
            ways.append(f"{len(each.ssh_keys)} SSH key{'' if len(each.ssh_keys) == 1 else 's'}")
        typer.echo(f"{each.name:{width}}  {each.group:9}  {', '.join(ways) or 'certificate or PAM'}")


@key_cli.command("add")
def key_add(
    name: Name,
    file: Annotated[Path, typer.Argument(help="File with SSH public keys, in the form of authorized_keys.")],
    state_dir: StateDir,
) -> None:
    """Add the keys of a file to a user's."""
    from agent import process

    try:
        lines = process.key_lines(file)
        with process.users(state_dir) as users:
            users.add_keys(name, lines)
    except process.Failed as error:
        fail(error)


@key_cli.command("list")
def key_list(name: Name, state_dir: StateDir, as_json: AsJson = False) -> None:
    """Fingerprint, type and comment of a user's keys."""
    from agent import process

    try:
        with process.users(state_dir) as users:
            keys = users.known(name).named_keys()
    except process.Failed as error:
        fail(error)
    if as_json:
        listed = [{"fingerprint": key.fingerprint, "type": key.type, "comment": key.comment} for key in keys]
        typer.echo(json.dumps({"ssh-key": listed}, indent=2, ensure_ascii=False))
        return
    for key in keys:
        typer.echo(f"{key.fingerprint}  {key.type}  {key.comment}".rstrip())


@key_cli.command("remove")
def key_remove(
    name: Name,
    key: Annotated[str, typer.Argument(metavar="FINGERPRINT", help="The key's fingerprint, SHA256:…, as listed.")],
    state_dir: StateDir,
) -> None:
    """Remove one key of a user's; the last one stays where there is no password."""
    from agent import process

    try:
        with process.users(state_dir) as users:
            users.remove_key(name, key)
    except process.Failed as error:
        fail(error)
