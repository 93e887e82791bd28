"""What the agent says of itself by the standard models: ietf-netconf-monitoring (RFC 6022). Knows no licensing."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path as File
from typing import Any, NamedTuple

from agent.core.aside import Steps
from agent.core.datastores import Datastores
from agent.core.path import to_instance_identifier
from agent.core.requests import Datastore
from agent.core.schema import Schema
from agent.core.sessions import Session, Sessions, Statistics
from agent.core.tree import Kept, Tree
from agent.core.xpath_text import to_text
from agent.core.yin import Yin
from agent.errors import refuse
from agent.northbound.times import date_and_time

MONITORING = "/ietf-netconf-monitoring:netconf-state"
SERVES = frozenset(
    f"{MONITORING}/{path}"
    for path in (
        "capabilities",
        "schemas",
        "datastores/datastore/name",
        "datastores/datastore/locks",
        "sessions",
        "statistics",
    )
)
"""What is served below it; the check at start compares this with the models."""
GET_SCHEMA = "/ietf-netconf-monitoring:get-schema"
_YANG = "ietf-netconf-monitoring:yang"
_YIN = "ietf-netconf-monitoring:yin"
_FORMATS = (_YANG, _YIN)
_TRANSPORTS = {name: f"ietf-netconf-monitoring:{name}" for name in ("netconf-ssh", "netconf-tls")}
_COUNTER = 2**32
"""Counters of RFC 6022 are zero-based-counter32: they begin again at 0."""


class _Text(NamedTuple):
    """One module or submodule whose text can be fetched."""

    identifier: str
    version: str
    namespace: str
    file: File


class Monitoring:
    """agent.core.providers.StateProvider of `/netconf-state`, and the operation get-schema."""

    def __init__(self, schema: Schema, announced: Sequence[str]) -> None:
        self._watched: tuple[Sessions, Datastores] | None = None
        self._namespaces = {module.name: module.namespace for module in schema.modules.values()}
        self._texts = _texts(schema)
        self._yin = Yin()
        self._fixed: Tree = {
            "capabilities": Kept({"capability": list(announced)}),
            "schemas": Kept({"schema": [_schema_entry(text, form) for text in self._texts for form in _FORMATS]}),
        }

    def watch(self, sessions: Sessions, datastores: Datastores) -> None:
        """Report on these: they belong to the dispatch, which is made with this provider."""
        self._watched = (sessions, datastores)

    def read(self) -> Tree:
        if self._watched is None:
            return self._fixed
        sessions, datastores = self._watched
        shown = [Datastore.RUNNING, Datastore.CANDIDATE] + [Datastore.STARTUP] * datastores.offers_startup
        tree = {**self._fixed, "datastores": {"datastore": [self._datastore(one, datastores) for one in shown]}}
        open_ones = [_session_entry(each) for each in sessions.all() if each.transport in _TRANSPORTS]
        if open_ones:
            tree["sessions"] = {"session": open_ones}
        tree["statistics"] = _statistics(sessions)
        return tree

    def _datastore(self, datastore: Datastore, datastores: Datastores) -> Tree:
        entry: Tree = {"name": datastore.value}
        held = datastores.locks.held.get(datastore)
        parts = datastores.locks.partial if datastore is Datastore.RUNNING else ()
        if held is not None:
            holder, since = held
            entry["locks"] = {"global-lock": {"locked-by-session": holder.id, "locked-time": date_and_time(since)}}
        elif parts:
            # lock-type is a choice: a session's parts are hidden while it holds the whole
            entry["locks"] = {
                "partial-lock": [
                    {
                        "lock-id": part.id,
                        "locked-by-session": part.session.id,
                        "locked-time": date_and_time(part.since),
                        "select": [to_text(one.expression, self._namespaces) for one in part.choices],
                        "locked-node": [to_instance_identifier(path) for path in part.nodes],
                    }
                    for part in parts
                ]
            }
        return entry

    def delivered(self, marks: Sequence[Hashable], session: Session) -> None:
        """Nothing here is marked."""

    def get_schema(self, given: Tree, session: Session) -> Tree | Steps:  # noqa: ARG002 - the port's shape
        """RFC 6022 section 3.1. Raises RequestError invalid-value, or operation-failed when it is not unique."""
        wanted, version, form = given["identifier"], given.get("version"), given.get("format", _YANG)
        if form not in _FORMATS:
            raise refuse("invalid-value", "schemas are served in the formats yang and yin", bad_element="format")
        found = [text for text in self._texts if text.identifier == wanted and version in (None, text.version)]
        if not found:
            known = f"{wanted}@{version}" if version is not None else wanted
            raise refuse("invalid-value", f"there is no schema {known}: see netconf-state/schemas")
        if len(found) > 1:
            raise refuse("operation-failed", f"{wanted} has several versions: name one", app_tag="data-not-unique")
        if form == _YIN:
            return self._in_yin(found[0])
        # the bytes as they are: reading as text would change line ends
        return {"data": found[0].file.read_bytes().decode()}

    def _in_yin(self, text: _Text) -> Steps:
        """The text as an element of YIN, made beside the core thread."""
        element = yield lambda: self._yin.of(text.file)
        return {"data": element}


def _texts(schema: Schema) -> list[_Text]:
    texts = []
    for module in schema.modules.values():
        texts.append(_Text(module.name, module.revision, module.namespace, module.file))
        texts += [_Text(name, revision, module.namespace, file) for name, revision, file in module.submodules]
    return texts


def _schema_entry(text: _Text, form: str) -> dict[str, Any]:
    return {
        "identifier": text.identifier,
        "version": text.version,
        "format": form,
        "namespace": text.namespace,
        "location": ["NETCONF"],
    }


def _session_entry(session: Session) -> Tree:
    return {
        "session-id": session.id,
        "transport": _TRANSPORTS[session.transport],
        "username": session.user.name,
        "source-host": session.source_host,
        "login-time": date_and_time(session.login_time),
        **_messages(session),
    }


def _statistics(sessions: Sessions) -> Tree:
    """RFC 6022 section 2.1.5, of all NETCONF sessions since the start."""
    found = sessions.statistics(_TRANSPORTS)
    return {
        "netconf-start-time": date_and_time(sessions.started),
        "in-bad-hellos": found.in_bad_hellos % _COUNTER,
        "in-sessions": found.in_sessions % _COUNTER,
        "dropped-sessions": found.dropped_sessions % _COUNTER,
        **_messages(found),
    }


def _messages(counted: Session | Statistics) -> Tree:
    return {
        "in-rpcs": counted.in_rpcs % _COUNTER,
        "in-bad-rpcs": counted.in_bad_rpcs % _COUNTER,
        "out-rpc-errors": counted.out_rpc_errors % _COUNTER,
        "out-notifications": counted.out_notifications % _COUNTER,
    }
