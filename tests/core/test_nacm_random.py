"""200 generated sets of rules against a second evaluation, written from RFC 8341 alone (checklist 122).

The second one knows no compiled rules, shapes or caches: it takes the configuration as it stands and the steps of
sections 3.4.4 to 3.4.6 one after the other, over instance paths in plain text.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
import random
import re
from typing import Any

import pytest

from agent.codec import json as json_codec
from agent.codec import xml as xml_codec
from agent.core.access import Access, Denied
from agent.core.compile import compile_modules
from agent.core.schema import Node, Schema
from agent.core.select import Pick, Selection, prune
from agent.core.sessions import User
from agent.core.tree import Kept, Row, Tree
from agent.errors import Path as ErrorPath
from agent.errors import Step

SETS = 200
CHUNK = 20
FOLDER = Path(__file__).parent / "models"

SITE = "guarded:site"
FLAGS = {
    "/guarded:site/guarded:secret": "all",
    "/guarded:site/guarded:level": "write",
    "/guarded:site/guarded:vault": "all",
}
LISTS = {"host": ("zone", "id"), "port": ("n",), "turn": ("k",), "event": ("id",)}
KEYLESS = {"raw"}
LEAF_LISTS = {"tag"}
PRESENCE = {"opt"}
NAMES = ("ann", "bob", "a")
GROUPS = ("g1", "g2", "g3")

Instance = list[tuple[str, dict[str, str]]]
"""Steps of an instance path: module:name, and keys ("." for a leaf-list's value) as text."""


@lru_cache
def schema() -> Schema:
    modules = ["guarded", "guarded-more", "ietf-netconf"]
    return Schema.load(compile_modules([FOLDER], modules, {}))


# The second evaluation


class Second:
    """What the configuration says, step by step."""

    def __init__(self, nacm: Tree, user: User) -> None:
        self.nacm = nacm
        self.user = user
        groups = {g["name"] for g in nacm["groups"]["group"] if user.name in g.get("user-name", ())}
        if nacm.get("enable-external-groups", True):
            groups |= user.groups
        self.rules: list[Tree] = []
        if groups:
            for rule_list in nacm["rule-list"]:
                if "*" in rule_list["group"] or groups & set(rule_list["group"]):
                    self.rules += rule_list["rule"]

    def free(self) -> bool:
        return self.user.recovery or not self.nacm.get("enable-nacm", True)

    @staticmethod
    def kind(rule: Tree) -> str:
        return next((leaf for leaf in ("rpc-name", "notification-name", "path") if leaf in rule), "none")

    @staticmethod
    def applies(rule: Tree, module: str, operation: str) -> bool:
        words = rule.get("access-operations", "*")
        return rule.get("module-name", "*") in ("*", module) and (words == "*" or operation in words.split())

    def executes(self, module: str, name: str) -> bool:
        if self.free() or (module, name) == ("ietf-netconf", "close-session"):
            return True
        for rule in self.rules:
            fits = self.kind(rule) == "none" or rule.get("rpc-name") in ("*", name)
            if self.applies(rule, module, "exec") and fits:
                return bool(rule["action"] == "permit")
        if (module, name) in (
            ("guarded", "open"),
            ("ietf-netconf", "kill-session"),
            ("ietf-netconf", "delete-config"),
        ):
            return False
        return bool(self.nacm.get("exec-default", "permit") == "permit")

    def on_node(self, operation: str, at: Instance) -> bool:
        """Section 3.4.5 for the last step alone."""
        if self.free():
            return True
        module = at[-1][0].partition(":")[0]
        for rule in self.rules:
            fits = self.kind(rule) == "none" or ("path" in rule and self.leads(rule["path"], at))
            if self.applies(rule, module, operation) and fits:
                return bool(rule["action"] == "permit")
        flags = set()
        for end in range(1, len(at) + 1):
            flags.add(FLAGS.get("".join(f"/{name}" for name, _ in at[:end])))
        if operation != "exec" and ("all" in flags or ("write" in flags and operation != "read")):
            return False
        default = {"read": "read-default", "exec": "exec-default"}.get(operation, "write-default")
        return bool(self.nacm.get(default, "deny" if default == "write-default" else "permit") == "permit")

    def leads(self, path: str, at: Instance) -> bool:
        """Whether the path is that of the instance or of one of its ancestors."""
        if path == "/":
            return True
        module = ""
        steps = re.findall(r"/((?:\[[^]]*\]|[^/\[])+)", path)
        if len(steps) > len(at):
            return False
        for step, (name, keys) in zip(steps, at, strict=False):
            written = step.partition("[")[0]
            module = written.partition(":")[0] if ":" in written else module
            if f"{module}:{written.rpartition(':')[2]}" != name:
                return False
            for key, value in re.findall(r"\[([^=]+)=([^]]*)\]", step):
                if keys.get(key) != (self.user.name if value == "$USER" else value.strip("'")):
                    return False
        return True

    def reads(self, at: Instance) -> bool:
        return all(self.on_node("read", at[:end]) for end in range(1, len(at) + 1))

    def acts(self, at: Instance) -> bool:
        return self.free() or ((len(at) == 1 or self.reads(at[:-1])) and self.on_node("exec", at))

    def notified(self, at: Instance) -> bool:
        """Section 3.4.6; of an event tied to data, the data above it must be readable."""
        if self.free():
            return True
        if len(at) > 1 and not self.reads(at[:-1]):
            return False
        module, _, name = at[-1][0].partition(":")
        for rule in self.rules:
            fits = self.kind(rule) == "none" or rule.get("notification-name") in ("*", name)
            fits = fits or (len(at) > 1 and "path" in rule and self.leads(rule["path"], at))
            if self.applies(rule, module, "read") and fits:
                return bool(rule["action"] == "permit")
        if at[-1][0] == "guarded:alarm":
            return False
        return bool(self.nacm.get("read-default", "permit") == "permit")

    def shown(self, tree: Tree, above: Instance) -> Tree:
        """The members that may be read."""
        left: Tree = {}
        for member, value in tree.items():
            name = qualified(member, above)
            if name.rpartition(":")[2] in LISTS.keys() | KEYLESS:
                entries = []
                for entry in value:
                    at = [*above, (name, keys_of(name, entry))]
                    if self.on_node("read", at):
                        entries.append(self.shown(entry, at))
                if entries:
                    left[member] = entries
            elif name.rpartition(":")[2] in LEAF_LISTS:
                values = [one for one in value if self.on_node("read", [*above, (name, {".": one})])]
                if values:
                    left[member] = values
            elif not self.on_node("read", at := [*above, (name, {})]):
                continue
            elif not isinstance(value, dict):
                left[member] = value
            elif (inner := self.shown(value, at)) or name.rpartition(":")[2] in PRESENCE:
                left[member] = inner
        return left

    def refused(self, old: Tree, new: Tree) -> set[tuple[str, str]]:
        """(operation, instance) of everything that differs and may not."""
        before, after = dict(flat(old, [])), dict(flat(new, []))
        found = set()
        for text in before.keys() | after.keys():
            had, has = before.get(text), after.get(text)
            if had is not None and has is not None and had[1] == has[1]:
                continue
            operation = "create" if had is None else "delete" if has is None else "update"
            at = (had or has or ([], None))[0]
            if not self.on_node(operation, at):
                found.add((operation, text))
        return found


def qualified(member: str, above: Instance) -> str:
    return member if ":" in member else f"{above[-1][0].partition(':')[0]}:{member}"


def keys_of(name: str, entry: Tree) -> dict[str, str]:
    return {key: str(entry[key]) for key in LISTS.get(name.rpartition(":")[2], ())}


def text_of(at: Instance) -> str:
    return "".join(f"/{name}" + "".join(f"[{key}={value}]" for key, value in keys.items()) for name, keys in at)


def flat(tree: Tree, above: Instance) -> Iterator[tuple[str, tuple[Instance, Any]]]:
    """Every node instance that can be created or deleted, with the value of leaves and the place of ordered entries."""
    for member, value in tree.items():
        name = qualified(member, above)
        local = name.rpartition(":")[2]
        if local in LISTS:
            for entry in value:
                at = [*above, (name, keys_of(name, entry))]
                yield text_of(at), (at, None)
                yield from flat(entry, at)
        elif local in LEAF_LISTS:
            for one in value:
                at = [*above, (name, {".": one})]
                yield text_of(at), (at, None)
        elif isinstance(value, dict):
            at = [*above, (name, {})]
            if local in PRESENCE:
                yield text_of(at), (at, None)
            yield from flat(value, at)
        else:
            at = [*above, (name, {})]
            yield text_of(at), (at, value)


# What is generated

PLACES = (
    "/",
    "/guarded:site",
    "/guarded:site/name",
    "/guarded:site/secret",
    "/guarded:site/level",
    "/guarded:site/vault",
    "/guarded:site/vault/inner",
    "/guarded:site/vault/guarded-more:c",
    "/guarded:site/opt",
    "/guarded:site/opt/x",
    "/guarded:site/tag",
    "/guarded:site/tag[.='red']",
    "/guarded:site/host",
    "/guarded:site/host/zone",
    "/guarded:site/host[zone='a']",
    "/guarded:site/host[zone='a'][id='1']",
    "/guarded:site/host[id='2']",
    "/guarded:site/host[zone=$USER]",
    "/guarded:site/host[zone='b']/port",
    "/guarded:site/host/port[n='1']",
    "/guarded:site/host[id='1']/port[n='1']/speed",
    "/guarded:site/host/port/guarded-more:more",
    "/guarded:site/host/port/reset",
    "/guarded:site/host[zone='a']/port/down",
    "/guarded:site/restart",
    "/guarded:site/turn",
    "/guarded:site/turn[k='y']/v",
    "/guarded:site/live",
    "/guarded:site/live/event",
    "/guarded:site/live/event/id",
    "/guarded:site/live/event[id='e1']",
    "/guarded:site/live/event/more",
    "/guarded:site/live/raw/a",
    "/guarded:site/guarded-more:extra",
)


def some_rule(dice: random.Random, index: int) -> Tree:
    found: Tree = {"name": f"r{index}", "action": dice.choice(("permit", "deny"))}
    match dice.choice(("none", "rpc-name", "notification-name", "path", "path", "path", "path")):
        case "rpc-name":
            found["rpc-name"] = dice.choice(("*", "close", "open", "kill-session", "get", "close-session"))
        case "notification-name":
            found["notification-name"] = dice.choice(("*", "alarm", "hello", "down"))
        case "path":
            found["path"] = dice.choice(PLACES)
    if dice.random() < 0.4:
        found["module-name"] = dice.choice(("*", "guarded", "guarded-more", "ietf-netconf"))
    if dice.random() < 0.6:
        words = [word for word in ("create", "read", "update", "delete", "exec") if dice.random() < 0.5]
        found["access-operations"] = " ".join(words or ["read"])
    return found


def some_rules(dice: random.Random) -> Tree:
    groups = [{"name": name, "user-name": [user for user in NAMES if dice.random() < 0.4]} for name in GROUPS]
    lists = [
        {
            "name": f"l{number}",
            "group": dice.choice((["*"], ["g1"], ["g2", "g3"], ["g1", "g2"], [])),
            "rule": [some_rule(dice, index) for index in range(dice.randrange(6))],
        }
        for number in range(dice.randrange(1, 5))
    ]
    nacm: Tree = {"groups": {"group": groups}, "rule-list": lists}
    for leaf in ("read-default", "write-default", "exec-default"):
        if dice.random() < 0.7:
            nacm[leaf] = dice.choice(("permit", "deny"))
    if dice.random() < 0.2:
        nacm["enable-external-groups"] = False
    if dice.random() < 0.05:
        nacm["enable-nacm"] = False
    return nacm


def some_config(dice: random.Random) -> Tree:
    """A configuration of guarded; some of everything is left out."""

    def maybe(members: Tree) -> Tree:
        return {member: value for member, value in members.items() if value != [] and dice.random() < 0.75}

    def ports() -> list[Tree]:
        return [
            {"n": n} | maybe({"speed": dice.choice("xy"), "guarded-more:more": {"duplex": dice.choice("fh")}})
            for n in (1, 2)
            if dice.random() < 0.7
        ]

    hosts = [
        {"zone": zone, "id": number} | maybe({"note": dice.choice("mn"), "port": ports()})
        for zone in "ab"
        for number in (1, 2)
        if dice.random() < 0.7
    ]
    site = maybe(
        {
            "name": dice.choice("st"),
            "secret": dice.choice("st"),
            "level": dice.randrange(3),
            "vault": maybe({"a": dice.choice("st"), "inner": {"b": dice.choice("st")}, "guarded-more:c": "c"}),
            "opt": maybe({"x": dice.choice("st")}),
            "tag": [tag for tag in ("red", "green") if dice.random() < 0.6],
            "host": hosts,
            "turn": [{"k": k} | maybe({"v": dice.choice("st")}) for k in "xy" if dice.random() < 0.7],
            "guarded-more:extra": dice.choice("st"),
        }
    )
    return {SITE: {member: value for member, value in site.items() if value not in ([], {}) or member == "opt"}}


STATE: Tree = {
    "up": "long",
    "event": [
        {"id": "e1", "text": "one", "more": {"t": "m1"}},
        {"id": "e2", "text": "two", "more": {"t": "m2"}},
        {"id": "e3"},
    ],
    "raw": [{"a": "1", "b": "2"}, {"a": "3"}],
}


class Stored:
    """The events as rows of a store."""

    marked = "text"

    def __init__(self) -> None:
        node = node_at("/guarded:site/live/event")
        self._rows = [
            Row(
                (entry["id"],),
                xml_codec.encode_entry(entry, node),
                json_codec.encode_entry(entry, node),
                entry["id"] if "text" in entry else None,
            )
            for entry in STATE["event"]
        ]

    def find(self, keys: tuple[str, ...]) -> Row | None:
        return next((row for row in self._rows if row.keys == keys), None)

    def pages(self) -> Iterator[list[Row]]:
        yield self._rows[:2]
        yield self._rows[2:]


def node_at(path: str) -> Node:
    found = schema().find(path)
    assert found is not None, path
    return found


def kept(tree: Tree) -> Tree:
    return Kept({member: kept(value) if isinstance(value, dict) else value for member, value in tree.items()})


def plain(value: Any) -> Any:
    """A cut tree as JSON has it; what is left of a stored list must carry marks exactly where the leaf is left."""
    if isinstance(value, dict):
        found = {member: plain(inner) for member, inner in value.items()}
        return {member: inner for member, inner in found.items() if inner != [] or member == "tag"}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if not hasattr(value, "pages"):
        return value
    entries = []
    for row in (row for page in value.pages() for row in page):
        entry = row.tree() if isinstance(row, Row) else row.tree
        assert (row.mark is not None) == ("text" in entry)
        entries.append(plain(entry))
    return entries


def without_empty(tree: Tree) -> Tree:
    """A container around a stored list that came out empty is not told from one without it until it is written."""
    site = tree.get(SITE)
    if site is not None and site.get("live") == {}:
        site = {member: value for member, value in site.items() if member != "live"}
        return {SITE: site} if site else {}
    return tree


def some_selection(dice: random.Random, root: Node) -> Selection:
    def picks(node: Node, depth: int) -> tuple[Pick, ...]:
        chosen = []
        for child in node.children:
            if dice.random() < 0.5:
                continue
            if child.kind not in ("container", "list"):
                chosen.append(Pick(child))
                continue
            leaves = [leaf for leaf in child.children if leaf.kind == "leaf"]
            match = ()
            if leaves and dice.random() < 0.4:
                leaf = dice.choice(leaves)
                match = ((leaf, dice.choice((1, 2, "a", "e1", "e2", "s", "x", "one"))),)
            below = None if dice.random() < 0.3 else picks(child, depth + 1)
            chosen.append(Pick(child, match, below))
        return tuple(chosen)

    return picks(root, 0)


def instance(path: ErrorPath) -> Instance:
    return [(f"{step.module}:{step.name}", dict(step.keys)) for step in path]


USERS = (
    User("ann", frozenset()),
    User("bob", frozenset({"g3"})),
    User("a", frozenset({"g1", "other"})),
    User("x", frozenset()),
    User("root", frozenset(), recovery=True),
)


def check_decisions(access: Access, second: Second) -> None:
    """exec, actions and notifications."""
    user = second.user
    for (module, name), node in schema().rpcs.items():
        assert access.permits_exec(user, module, name) == second.executes(module, name), node.path
    site, port = (SITE, {}), ("guarded:port", {"n": "1"})
    for zone, number in (("a", "1"), ("b", "2")):
        host = ("guarded:host", {"zone": zone, "id": number})
        above = [site, host, port]
        path = tuple(Step(*name.split(":"), tuple(keys.items())) for name, keys in above)
        for where, steps, name in ((path, above, "reset"), (path[:1], above[:1], "restart")):
            parent = node_at("/guarded:site/host/port") if name == "reset" else node_at("/guarded:site")
            action = next(each for each in parent.operations if each.name == name)
            expected = second.acts([*steps, (f"guarded:{name}", {})])
            try:
                access.check_action(user, action, where)
            except Denied:
                assert not expected, (name, zone)
            else:
                assert expected, (name, zone)
        down = next(each for each in node_at("/guarded:site/host/port").operations if each.name == "down")
        tree = {SITE: {"host": [{"zone": zone, "id": int(number), "port": [{"n": 1, "down": {}}]}]}}
        assert access.permits_notification(user, down, tree) == second.notified([*above, ("guarded:down", {})])
    for node in schema().notifications.values():
        assert access.permits_notification(user, node) == second.notified([(f"{node.module}:{node.name}", {})])


def check_reads(access: Access, second: Second, dice: random.Random, config: Tree) -> None:
    """The pruned tree, of plain values and of stored rows, whole and under a filter."""
    user, root = second.user, schema().root
    site = config[SITE]
    whole = {SITE: {**site, "live": STATE}}
    expected = second.shown(whole, [])
    assert access.readable(user, whole, None) == expected
    if expected == whole:
        assert access.readable(user, whole, None) is whole
    stored = {SITE: {**site, "live": kept({**STATE, "event": []}) | {"event": Stored()}}}
    assert without_empty(plain(access.readable(user, stored, None))) == expected
    for _ in range(3):
        selection = some_selection(dice, root)
        wanted = prune(expected, selection, root)
        assert prune(access.readable(user, whole, selection), selection, root) == wanted
        assert plain(prune(access.readable(user, stored, selection), selection, root)) == wanted


def check_writes(access: Access, second: Second, old: Tree, new: Tree) -> None:
    """Every change that is not permitted is refused, and nothing else is."""
    refused = second.refused(old, new)
    try:
        access.check_change(second.user, old, new)
    except Denied as denial:
        told = {(denial.what.split()[0], text_of(instance(denial.errors[0].path)))}
    else:
        told = set()
    assert told <= refused
    assert bool(told) == bool(refused)


@pytest.mark.parametrize("chunk", range(SETS // CHUNK))
def test_rule_sets(chunk: int) -> None:
    """Must show 5: decisions on RPCs, actions, reads, writes and notifications agree, and so does the pruned tree."""
    for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        dice = random.Random(number)
        nacm = some_rules(dice)
        access = Access(schema(), nacm)
        old, new = some_config(dice), some_config(dice)
        for user in USERS:
            second = Second(nacm, user)
            try:
                check_decisions(access, second)
                check_reads(access, second, dice, old)
                check_writes(access, second, old, new)
            except AssertionError as error:
                raise AssertionError(f"set {number}, user {user.name}: {error}\n{nacm}") from error


def test_the_generated_sets_decide_both_ways() -> None:
    """The comparison would be worth little if most sets denied or permitted everything."""
    outcomes = {"exec": [0, 0], "read": [0, 0], "write": [0, 0], "event": [0, 0]}
    cut = 0
    for number in range(SETS):
        dice = random.Random(number)
        nacm = some_rules(dice)
        config = some_config(dice)
        second = Second(nacm, User("bob", frozenset({"g3"})))
        outcomes["exec"][second.executes("guarded", "close")] += 1
        outcomes["read"][second.on_node("read", [(SITE, {})])] += 1
        outcomes["write"][not second.refused({}, config)] += 1
        outcomes["event"][second.notified([("guarded:hello", {})])] += 1
        left = second.shown(config, [])
        cut += left not in ({}, config)
    assert all(min(counts) >= SETS // 10 for counts in outcomes.values()), outcomes
    assert cut >= SETS // 5
