"""The composition root: the one place that knows all rooms and joins them. No behaviour of its own.

`build` makes an Agent of the parts that it is given; `open_agent` makes those parts from a state folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata, resources
import logging
from pathlib import Path
import secrets
import sys

from agent.clock import Clock, LabClock, SystemClock
from agent.config import Address, ConfigError, RunConfig
from agent.core.access import PATH as NACM
from agent.core.access import Access
from agent.core.dispatch import Dispatch, Providers
from agent.core.membership import Membership
from agent.core.providers import Operation
from agent.core.replay import EventLog
from agent.core.schema import Schema
from agent.core.sessions import Authenticator, User
from agent.core.tree import Tree
from agent.core.validate import UnfitModuleError, best_validator
from agent.formats.envelope import DEFAULT_SKEW
from agent.formats.signing import Signer
from agent.licensing.commands import Start, Stop
from agent.licensing.engine import Context
from agent.licensing.notices import Notice
from agent.licensing.ports import Store, UnitOfWork
from agent.licensing.profile import Profile
from agent.licensing.state import State
from agent.listeners import Listeners
from agent.netconf.local import LocalServer
from agent.netconf.serving import Serving
from agent.netconf.session import capabilities
from agent.netconf.subscriptions import content
from agent.northbound.access import initial, with_rules
from agent.northbound.access_operations import AccessOperations
from agent.northbound.authorization_operations import AuthorizationOperations
from agent.northbound.bound import Bindings
from agent.northbound.commit import Committer
from agent.northbound.documents import ConfigurationFiles
from agent.northbound.file_operations import FileOperations
from agent.northbound.library import SILENT, library
from agent.northbound.life_operations import LifeOperations, Rekey
from agent.northbound.notifications import BEGINNINGS, LICENSING, Notifier
from agent.northbound.operations import Operations
from agent.northbound.rows import RowEncoder
from agent.northbound.saving import Saving
from agent.northbound.served import CONFIGURED, FRONT_END, NEVER, PUBLISHED, absent, check
from agent.northbound.servers import SERVER, ServerProvider
from agent.northbound.settings import CONFIG, SettingsProvider
from agent.northbound.site import SiteError, SiteModules
from agent.northbound.state_view import StateView
from agent.northbound.system import GET_SCHEMA, MONITORING, Monitoring
from agent.northbound.trust_operations import TrustOperations
from agent.pam import PamUsers, checker
from agent.restconf.auth import local_user
from agent.restconf.listen import Local, Tcp, bind_local, bind_tcp
from agent.restconf.server import Server
from agent.setup import FILES_FOLDER, SOCKET_FILE, host_key_fingerprint, load_certificate, load_profile
from agent.ssh.server import SshServer
from agent.store.check import ReportsCheck
from agent.store.files import make_directory
from agent.store.folder import StateFolder
from agent.store.keystore import DEVICE, JOURNAL, SSH_HOST, Keystore, KeystoreError, open_key_file
from agent.store.progress import OnDamage
from agent.store.sqlite import SqliteStore
from agent.store.users import Account, Users
from agent.tls.server import TlsServer
from agent.transport.files import Folders, remove_drafts

log = logging.getLogger(__name__)

MODELS_FOLDER = "models"
"""Where compiled modules of the site lie, in the state folder."""

SWITCH_INTERVAL = 0.0005
"""Seconds between thread switches. Measured with 32 HTTP connections on the same process: a durable NETCONF edit has a
p99 of 137 ms at Python's default of 0.005 and 10 ms at this, at no cost to HTTP."""


@dataclass(slots=True)
class Agent:
    """The joined agent without its listeners: what tests build in memory and `open_agent` on a disk."""

    dispatch: Dispatch
    committer: Committer
    announced: tuple[str, ...]
    notifier: Notifier
    settings: SettingsProvider
    rekey: Rekey | None
    server: ServerProvider

    def start(self) -> None:
        """Begin to measure, then to serve. Raises what the store raises."""
        if self.committer.between_lives and self.rekey is not None:
            # the last life was ended by a factory reset, and the agent before its next one could begin
            self.committer.renew(self.rekey())
        # what a confirmed commit changed must not decide over boot levels when the start goes back to before it
        point = self.dispatch.datastores.starting_point()
        self.committer.run(Start(secrets.token_hex(8), None if point is None else self.settings.of(point)))
        self.dispatch.start()
        # events are published on the core thread only, so that all see them in one order
        self.dispatch.loop.submit(lambda: self.notifier.started(self.dispatch.streams.clock.now())).result()

    def stop(self) -> None:
        """Finish what was submitted and record the stop."""
        self.dispatch.stop()
        self.committer.run(Stop())


class _Tell:
    """Lets the committer start before the hub that its notices go to exists."""

    def __init__(self, clock: Clock) -> None:
        self.notifier: Notifier | None = None
        self._clock = clock

    def __call__(
        self, notices: Sequence[Notice], before: State, after: State, at: float, unit: UnitOfWork | None
    ) -> Callable[[], None]:
        if self.notifier is None:
            return lambda: None
        return self.notifier.stage(notices, before, after, at, unit)

    def refused(self, name: str, members: Tree) -> None:
        """A call was refused now, and the public module has a notification for it."""
        if self.notifier is not None:
            self.notifier.refused(name, members, self._clock.now())


def build(
    *,
    profile: Profile,
    clock: Clock,
    store: Store,
    signer: Signer,
    lab: bool,
    files: Folders | None = None,
    rekey: Rekey | None = None,
    accounts: Callable[[str], User | None] = lambda _: None,
    startup: bool = False,
    schema: Schema | None = None,
    site: frozenset[str] = frozenset(),
) -> Agent:
    """Join schema, core, kernel and seam over a store.

    Without `files` there is no folder for files, without `rekey` no factory reset; `accounts` gives a user's groups.
    `startup` offers a startup datastore. `schema` has modules of the `site` too; without it, the agent's own serve.

    Raises what load, schema and the check at start raise; SiteError, UnfitModuleError.
    """
    schema = offering(schema or load_schema(), startup=startup, urls=files is not None)
    given = SiteModules(schema, site, CONFIGURED)
    bindings = Bindings(schema, strange=given.modules)
    # a clock of N seconds a second is off by N times as much
    skew = int(DEFAULT_SKEW * max(1.0, clock.rate))
    context = Context(profile=profile, signer=signer, reads=store.reports, lab=lab, skew=skew)
    tell = _Tell(clock)
    committer = Committer(store, context, clock, RowEncoder(bindings, profile.udi), tell)
    if (rules := with_rules(committer.config)) is not None:
        committer.set_up(rules)
    access = Access(schema)
    settings = SettingsProvider(bindings, committer)
    server = ServerProvider(bindings)
    documents = None if files is None else ConfigurationFiles(schema, files)
    keeping = Saving(bindings)
    tables = _licensing_operations(
        bindings, committer, settings, access, store, profile, clock, files or Folders({}), rekey, tell
    )
    explaining = AccessOperations(bindings, schema, access, accounts)
    announced = capabilities(schema)
    view = StateView(bindings, committer, profile=profile, reads=store.reports, clock=clock, version=version(), lab=lab)
    monitoring = Monitoring(schema, announced)
    check(schema, view.serves, given)
    events = EventLog(store.events, committer.begin, lambda event: content(event, schema), clock.now(), BEGINNINGS)
    dispatch = Dispatch(
        schema,
        clock=clock,
        access=access,
        providers=Providers(
            config={CONFIG: settings, SERVER: server, NACM: access, **given.config},
            state={
                "/cisco-smart-license:licensing/state": view,
                MONITORING: monitoring,
                **library(schema),
                NACM: access.counters,
            },
            operations={
                **tables,
                **explaining.table(),
                **keeping.table(),
                GET_SCHEMA: monitoring.get_schema,
            },
            notifications=PUBLISHED.union(NEVER, SILENT),
            front_end=FRONT_END,
            absent=absent(schema) | given.absent,
        ),
        validator=best_validator(schema),
        begin=committer.begin,
        stored=committer.config,
        documents=committer.documents,
        files=documents,
        startup=startup,
        factory=initial(),
        deadline=committer.next_deadline,
        on_deadline=committer.tick,
        streams=(LICENSING,),
        event_log=events,
    )
    keeping.datastores = dispatch.datastores
    monitoring.watch(dispatch.sessions, dispatch.datastores)
    settings.event_log = events
    settings.load(dispatch.running.tree)
    server.load(dispatch.running.tree)
    tell.notifier = Notifier(bindings, dispatch.hub, profile)
    return Agent(dispatch, committer, announced, tell.notifier, settings, rekey, server)


def _licensing_operations(
    bindings: Bindings,
    committer: Committer,
    settings: SettingsProvider,
    access: Access,
    store: Store,
    profile: Profile,
    clock: Clock,
    files: Folders,
    rekey: Rekey | None,
    tell: _Tell,
) -> dict[str, Operation]:
    """The RPCs that decide or carry licensing, by schema path."""
    saving = FileOperations(
        bindings,
        committer,
        profile=profile,
        reads=store.reports,
        clock=clock,
        files=files,
        collects=access.collects,
    )
    return {
        **Operations(bindings, committer, settings, profile, access).table(),
        **saving.table(),
        **AuthorizationOperations(bindings, committer, files).table(),
        **TrustOperations(bindings, committer, files, tell.refused).table(),
        **LifeOperations(bindings, committer, saving, rekey).table(),
    }


def load_schema() -> Schema:
    """The compiled models as they are installed."""
    with resources.as_file(resources.files("bindings") / "schema.json") as file:
        return Schema.read(Path(file))


def site_schema(config: RunConfig, folder: StateFolder, key: bytes) -> Schema | None:
    """Those models with the ones that the command line gives, compiled into the state folder; None where it gives none.

    Raises ConfigError, OSError.
    """
    if not config.yang:
        if config.yang_path:
            raise ConfigError("--yang-path is for modules that --yang names: give --yang FILE too")
        return None
    # the compiler is loaded for those who give modules only
    from agent.core.site import CompileError, Site

    site = Site(config.yang, config.yang_path, folder.path / MODELS_FOLDER, key)
    with resources.as_file(resources.files("bindings") / "schema.json") as file:
        try:
            return site.schema(Path(file))
        except CompileError as error:
            raise ConfigError(f"--yang: {error}") from error


def offering(schema: Schema, *, startup: bool, urls: bool) -> Schema:
    """The same models with only those features of ietf-netconf that this run offers."""
    off = {name for name, on in (("startup", startup), ("url", urls)) if not on}
    netconf = schema.modules["ietf-netconf"]
    features = tuple(name for name in netconf.features if name not in off)
    offered = copy(schema)
    offered.modules = {**schema.modules, "ietf-netconf": replace(netconf, features=features)}
    return offered


def version() -> str:
    """The agent's own version."""
    return metadata.version("slp-agent")


class Accounts:
    """The users of the store as the transports ask for them (agent.core.sessions.Authenticator)."""

    def __init__(self, users: Users) -> None:
        self._users = users

    def password(self, user: str, password: str) -> User | None:
        return _user(self._users.password(user, password))

    def public_keys(self, user: str) -> Sequence[str]:
        return self._users.public_keys(user)

    def user(self, name: str) -> User | None:
        return _user(self._users.user(name))

    def epoch(self) -> int:
        return self._users.epoch()

    def all(self) -> dict[str, Account]:
        """The accounts by name."""
        return {account.name: account for account in self._users.all()}

    def local(self, uid: int) -> User | None:
        """A user of this machine, for NETCONF: the account of the same name, else as for the local RESTCONF socket.

        Root and the agent's own user are administrators, whatever accounts there are.
        """
        default = local_user(uid)
        if default is None or "admin" in default.groups:
            return default
        return self.user(default.name) or default


def _user(account: Account | None) -> User | None:
    return None if account is None else User(account.name, account.groups)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a running agent can be reached, for its one ready line."""

    netconf: str
    restconf: str


class RunningAgent:
    """An agent on a state folder with its listeners. `stop` undoes in reverse what `open_agent` did.

    `reload` takes up keys that were changed in the folder; what cannot be used is logged, and stays as it was.
    """

    def __init__(self, listening: Listening, check: ReportsCheck, undo: ExitStack, reload: Callable[[], None]) -> None:
        self.listening = listening
        self.reload = reload
        self._check = check
        self._undo = undo

    def check_reports(self) -> None:
        """Go on checking the stored reports in a thread, now that nobody waits for the start any more."""
        self._check.start()

    def stop(self) -> None:
        self._undo.close()


def open_agent(config: RunConfig, on_damage: OnDamage | None = None) -> RunningAgent:
    """Hold the state folder, join the agent, listen; of the stored reports the first have been checked then.

    `on_damage` hears, on any thread, of damage in the database that shows while the agent serves: it has to be stopped.
    Raises ConfigError, SettingsError, OSError, and what folder, keys and store raise; nothing is
    left open then.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    folder = StateFolder.open(config.state_dir)
    clock = make_clock(folder, config)
    with ExitStack() as undo:
        undo.enter_context(folder.hold())
        keys = Keystore(folder.keys, open_key_file(folder.info.key_file))
        store = SqliteStore(folder.database, keys.get(JOURNAL), on_damage)
        undo.callback(store.close)
        users = Users(folder.database, keys.get(JOURNAL))
        undo.callback(users.close)
        accounts = Accounts(users)
        logins = accounts if config.pam is None else PamUsers(accounts, checker(config.pam))
        agent = _joined(config, folder, clock, store, keys, logins)
        store.check.begin()
        # addresses are taken before the start is recorded: an agent that cannot listen has changed nothing
        netconf = undo.enter_context(closing(bind_tcp(config.netconf.host, config.netconf.port, "NETCONF")))
        local = None
        if config.netconf_socket is not None:
            listener = Local(config.netconf_socket, accounts.local, config.socket_group)
            local = undo.enter_context(closing(bind_local(listener)))
            undo.callback(config.netconf_socket.unlink, missing_ok=True)
        certificate = load_certificate(folder)
        server = Server(
            agent.dispatch,
            accounts,
            tcp=Tcp(config.restconf.host, config.restconf.port, lambda context: keys.load_tls(context, certificate)),
            local=Local(config.socket or folder.path / SOCKET_FILE, local_user, config.socket_group),
        )
        restconf = server.bind().tcp or ("", 0)
        undo.callback(server.stop)
        serving = Serving(agent.dispatch, announce=agent.announced)
        listeners = Listeners(
            SshServer(serving, logins, [keys.get(SSH_HOST)]),
            TlsServer(serving, accounts, lambda context: keys.load_tls(context, load_certificate(folder))),
            clock,
            LocalServer(serving, accounts.local),
            held={"RESTCONF": restconf},
        )
        membership = Membership(accounts.epoch, accounts.all, agent.dispatch.sessions)
        agent.start()
        undo.callback(agent.stop)
        undo.callback(server.stop)
        # before the first client can change the settings
        agent.server.attach(listeners)
        served = listeners.start(netconf, agent.server.settings, local)
        undo.callback(listeners.stop)
        membership.start()
        undo.callback(membership.stop)
        listening = Listening(str(Address(*served)), f"https://{Address(*restconf)}/restconf")
        server.start()
        undo.callback(store.check.stop)
        return RunningAgent(listening, store.check, undo.pop_all(), partial(_reload, keys, listeners))


def _joined(
    config: RunConfig, folder: StateFolder, clock: Clock, store: SqliteStore, keys: Keystore, logins: Authenticator
) -> Agent:
    """`build` with what the folder and the command line say. Raises ConfigError, and what it raises besides."""
    profile = load_profile(folder)
    schema = site_schema(config, folder, keys.get(JOURNAL))
    site = frozenset[str]() if schema is None else frozenset(schema.modules) - frozenset(load_schema().modules)
    try:
        return build(
            profile=profile,
            clock=clock,
            store=store,
            signer=keys.signer(),
            lab=folder.info.lab,
            files=Folders.at(files_folder(folder, config)),
            rekey=lambda: _new_device_key(keys),
            startup=config.startup,
            accounts=logins.user,
            schema=schema,
            site=site,
        )
    except (SiteError, UnfitModuleError) as error:
        raise ConfigError(f"--yang: {error}") from error


def _reload(keys: Keystore, listeners: Listeners) -> None:
    log.info("SIGHUP: keys are read again")
    try:
        listeners.use_host_keys([keys.get(SSH_HOST)])
        shown = host_key_fingerprint(keys)
    except (KeystoreError, ValueError, TimeoutError) as error:
        log.error("the host key stays as it was: %s", error)
    else:
        log.info("new SSH connections are shown the host key %s", shown)


def _new_device_key(keys: Keystore) -> Signer:
    keys.create_signing_key(DEVICE)
    return keys.signer()


def files_folder(folder: StateFolder, config: RunConfig) -> Path:
    """Where licence files lie: the configured folder, else `flash` in the held state folder, made and cleared of what a
    death of the agent has left. Raises OSError, and ConfigError where the configured one is none."""
    if config.files is None:
        path = folder.path / FILES_FOLDER
        # what is saved into it is durable on return, so its name must be
        make_directory(path, 0o700)
        remove_drafts(path)
        return path
    if not config.files.is_dir():
        raise ConfigError(f"--files {config.files} is not a folder: make it, or name another one")
    return config.files.absolute()


def make_clock(folder: StateFolder, config: RunConfig) -> Clock:
    """The system's clock, or lab time in a folder that is a lab for ever. Raises ConfigError."""
    rate, start = config.lab_clock_rate, config.lab_clock_start
    if rate is None and start is None:
        return SystemClock()
    if not folder.info.lab or folder.info.lab_start is None:
        raise ConfigError(
            f"--lab-clock-rate and --lab-clock-start are for lab folders only, and {folder.path} is not one: make "
            "another folder with slp-agent init --lab"
        )
    origin = folder.info.lab_start
    return LabClock(start=origin if start is None else start, wall_start=origin, rate=1.0 if rate is None else rate)
