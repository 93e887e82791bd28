"""What the agent says of itself by the standard models: ietf-netconf-monitoring (RFC 6022). Knows no licensing."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent.core.datastore import Running
from agent.core.schema import Schema
from agent.core.sessions import Session, Sessions
from agent.core.tree import Kept, Tree
from agent.errors import refuse
from agent.northbound.times import date_and_time

MONITORING = "/ietf-netconf-monitoring:netconf-state"
SERVES = frozenset(
    f"{MONITORING}/{path}"
    for path in (
        "capabilities",
        "schemas",
        "datastores/datastore/name",
        "datastores/datastore/locks/global-lock",
        "sessions",
    )
)
"""What is served below it; the check at start compares this with the models."""
GET_SCHEMA = "/ietf-netconf-monitoring:get-schema"
_YANG = "ietf-netconf-monitoring:yang"
_TRANSPORTS = {name: f"ietf-netconf-monitoring:{name}" for name in ("netconf-ssh", "netconf-tls")}


class _Text(NamedTuple):
    """One module or submodule whose text can be fetched."""

    identifier: str
    version: str
    namespace: str
    file: Path


class Monitoring:
    """agent.core.providers.StateProvider of `/netconf-state`, and the operation get-schema."""

    def __init__(self, schema: Schema, announced: Sequence[str]) -> None:
        self._watched: tuple[Sessions, Running] | None = None
        self._texts = _texts(schema)
        self._fixed: Tree = {
            "capabilities": Kept({"capability": list(announced)}),
            "schemas": Kept({"schema": [_schema_entry(text) for text in self._texts]}),
        }

    def watch(self, sessions: Sessions, running: Running) -> None:
        """Report on these: they belong to the dispatch, which is made with this provider."""
        self._watched = (sessions, running)

    def read(self) -> Tree:
        if self._watched is None:
            return self._fixed
        sessions, running = self._watched
        tree = {**self._fixed, "datastores": {"datastore": [_datastore(running)]}}
        open_ones = [_session_entry(each) for each in sessions.all() if each.transport in _TRANSPORTS]
        if open_ones:
            tree["sessions"] = {"session": open_ones}
        return tree

    def delivered(self, marks: Sequence[Hashable], session: Session) -> None:
        """Nothing here is marked."""

    def get_schema(self, given: Tree, session: Session) -> Tree:  # noqa: ARG002 - the port's shape
        """RFC 6022 section 3.1. Raises RequestError invalid-value, or operation-failed when it is not unique."""
        wanted, version = given["identifier"], given.get("version")
        if given.get("format", _YANG) != _YANG:
            raise refuse("invalid-value", "schemas are served in the format yang only", bad_element="format")
        found = [text for text in self._texts if text.identifier == wanted and version in (None, text.version)]
        if not found:
            known = f"{wanted}@{version}" if version is not None else wanted
            raise refuse("invalid-value", f"there is no schema {known}: see netconf-state/schemas")
        if len(found) > 1:
            raise refuse("operation-failed", f"{wanted} has several versions: name one", app_tag="data-not-unique")
        # the bytes as they are: reading as text would change line ends
        return {"data": found[0].file.read_bytes().decode()}


def _datastore(running: Running) -> Tree:
    entry: Tree = {"name": "running"}
    lock = running.lock_held
    if lock is not None:
        holder, since = lock
        entry["locks"] = {"global-lock": {"locked-by-session": holder.id, "locked-time": date_and_time(since)}}
    return entry


def _texts(schema: Schema) -> list[_Text]:
    texts = []
    for module in schema.modules.values():
        texts.append(_Text(module.name, module.revision, module.namespace, module.file))
        texts += [_Text(name, revision, module.namespace, file) for name, revision, file in module.submodules]
    return texts


def _schema_entry(text: _Text) -> dict[str, Any]:
    return {
        "identifier": text.identifier,
        "version": text.version,
        "format": _YANG,
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
        "in-rpcs": session.in_rpcs,
        "in-bad-rpcs": session.in_bad_rpcs,
        "out-rpc-errors": session.out_rpc_errors,
        "out-notifications": session.out_notifications,
    }
