"""The requests of both models, sent at random: every RPC, with what it takes, and the files of the authority.

Who sends them, and how, is for others to say: lives.py within the agent's process, remote.py by NETCONF.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
import random
from typing import Any

from agent import app, setup
from agent.core.sessions import User
from agent.core.tree import Tree
from agent.formats.documents import Ack, PolicyClass, PolicyTerms, Refused
from agent.licensing.profile import Profile
from agent.licensing.state import State
from agent.store.keystore import KeySigner, Keystore
from tests.licensing.kit import Authority

MODULES = ("cisco-smart-license", "slp-agent")
ADMIN = User("ada", frozenset({"admin"}))
COLLECTOR = User("cole", frozenset({"collector"}))
LICENCES = ("advantage", "sessions", "tier-2", "hseck9", "nonsense")
COLLECTED = (
    "close-reports",
    "import-code",
    "import-file",
    "rum-save-usage-all",
    "rum-save-usage-unreported",
    "rum-save-usage-days",
)
NAMES = ("a", "b", "c")
TERMS = (
    PolicyTerms("short", PolicyClass(), PolicyClass(), PolicyClass(1, 2, 3), PolicyClass(4, 5, 6)),
    PolicyTerms("none", ack_required=False),
)


class Caller:
    """Whoever sends the requests below to the agent on `path`, and knows what the authority has to know."""

    path: Path
    choose: random.Random
    authority: Authority
    keys: Keystore
    profile: Profile
    state: State

    def invoke(self, name: str, user: User = ADMIN, /, **given: Any) -> Tree:
        """Call an RPC; its output. `_` in the names of its leaves stands for `-`."""
        raise NotImplementedError

    def reports(self) -> list[tuple[str, int, str]]:
        """Key, id and digest of every report that waits."""
        raise NotImplementedError

    def writes(self, name: str) -> None:
        """A request that may write this file is about to be sent."""

    def recorded(self, licence: str, count: int) -> None:
        """This count was answered with success."""

    @property
    def device(self) -> Any:
        """What the authority of the kernel's tests asks for."""
        return self

    @property
    def now(self) -> int:
        raise NotImplementedError

    @property
    def signer(self) -> KeySigner:
        return self.keys.signer()

    def user(self, name: str) -> User:
        """Who may ask for it: an administrator for all, a collector for what serves the reports."""
        return COLLECTOR if name in COLLECTED and self.choose.random() < 0.5 else ADMIN

    def saving(self, name: str, argument: str | None = None, /, **given: Any) -> None:
        """A request that writes a file: this one, or one of those that are written again and again."""
        argument = argument or self.choose.choice(NAMES)
        self.writes(argument)
        self.invoke(name, self.user(name), file_path=f"flash:{argument}", **given)

    def content(self) -> bytes:
        """A file of the authority."""
        authority, choose = self.authority, self.choose
        reports = [(number, digest) for _, number, digest in self.reports()]
        some = choose.sample(reports, choose.randint(0, len(reports)))
        match choose.randrange(9):
            case 0 | 1:
                return authority.ack(self.device, *(reports or [(7, "0" * 64)]))
            case 2:
                return authority.ack(self.device, *(some or [(7, "0" * 64)]))
            case 3:
                refused = tuple(Refused(number, digest, "conflict") for number, digest in some)
                return authority.file(Ack(authority.heading(self.device), (), refused))
            case 4:
                return authority.file(authority.policy(self.device, choose.choice(TERMS)))
            case 5:
                return authority.file(authority.trust_code(self.device))
            case 6:
                return authority.file(authority.code(self.device, ("hseck9", 3), ("tier-2", 2)))
            case 7:
                other = Authority(choose.choice(("other", "third")))
                return authority.file(authority.rotation(self.device, authority.anchor, other.anchor))
            case _:
                bundle = authority.file(
                    authority.policy(self.device, TERMS[0]),
                    authority.trust_code(self.device),
                    authority.code(self.device, ("hseck9", 1)),
                )
                return bundle[: choose.choice((len(bundle), len(bundle) // 2))]


# The requests of both models, by name: how often, and what


Request = Callable[[Caller, str], object]


def _record(life: Caller, name: str) -> None:
    licence, count = life.choose.choice(LICENCES), life.choose.choice((0, 1, 2, 50))
    if life.invoke(name, license=licence, count=count)["return-code"] == "success":
        life.recorded(licence, count)


def _permission(life: Caller, name: str) -> None:
    life.invoke(name, license=life.choose.choice(LICENCES), count=2, throughput=life.choose.choice((100, 400)))


def _plain(life: Caller, name: str) -> None:
    life.invoke(name, life.user(name))


def _admin(life: Caller, name: str) -> None:
    life.invoke(name)


def _import_file(life: Caller, name: str) -> None:
    (life.path / setup.FILES_FOLDER / "in.xml").write_bytes(life.content())
    life.invoke(name, life.user(name), file_path="in.xml")


def _export(life: Caller, name: str) -> None:
    life.invoke(name, life.user(name), **life.choose.choice(({}, {"all": [None]}, {"days": 30})))


def _save_one(life: Caller, name: str) -> None:
    keys = [key for key, _, _ in life.reports()]
    life.saving(name, rum_report_key=life.choose.choice(keys or ["none"]))


def _request_offline(life: Caller, name: str) -> None:
    feature = life.choose.choice(({}, {"feature_name": "hseck9", "count": 2}))
    if life.choose.random() < 0.5:
        life.invoke(name, **feature)
    else:
        life.saving(name, **feature)


def _reset(life: Caller, name: str) -> None:
    discard = life.choose.random() < 0.5
    if life.choose.random() < 0.5:
        life.invoke(name, discard=discard)
    else:
        # the file of a reset replaces none
        life.saving(name, f"reset-{life.choose.getrandbits(48):x}", discard=discard)


def _explain(life: Caller, name: str) -> None:
    target = life.choose.choice(("/cisco-smart-license:licensing/config/custom-id", "/cisco-smart-license:nowhere"))
    life.invoke(name, user="ada", operation="update", target=target)


REQUESTS: Mapping[str, tuple[int, Request]] = {
    "record-usage": (30, _record),
    "close-reports": (8, _plain),
    "sync": (2, _admin),
    "renew-auth": (1, _admin),
    "ask-permission": (1, _permission),
    "import-code": (12, lambda life, name: life.invoke(name, life.user(name), content=life.content().decode())),
    "import-file": (8, _import_file),
    "rum-save-usage-all": (4, lambda life, name: life.saving(name)),
    "rum-save-usage-unreported": (4, lambda life, name: life.saving(name)),
    "rum-save-usage-days": (2, lambda life, name: life.saving(name, days=life.choose.randint(1, 40))),
    "rum-save-usage-report": (3, _save_one),
    "export-usage": (3, _export),
    "trust-request-save": (3, lambda life, name: life.saving(name)),
    "export-trust-request": (2, _plain),
    "id-token-trust": (2, lambda life, name: life.invoke(name, id_token="T", force=life.choose.random() < 0.5)),
    "register-id-token": (1, lambda life, name: life.invoke(name, id_token="T")),
    "de-register": (1, _admin),
    "renew-id": (1, _admin),
    "authorization-request-online": (2, lambda life, name: life.invoke(name, feature_name="hseck9")),
    "authorization-request-offline": (4, _request_offline),
    "authorization-code-return-online": (2, _admin),
    "authorization-code-return-offline": (2, lambda life, name: life.saving(name)),
    "factory-reset": (4, _reset),
    "explain-access": (1, _explain),
}
"""Every RPC of both modules."""


def served_rpcs() -> set[tuple[str, str]]:
    """The RPCs of both modules, with the module of each."""
    return {(module, name) for module, name in app.load_schema().rpcs if module in MODULES}
