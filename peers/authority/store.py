"""The authority's records in SQLite (instances, reports, policy), durable when a commit returns; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
import json
from pathlib import Path
import threading
from typing import Any

import apsw

from agent.formats import documents, jsontext
from agent.formats.documents import Acknowledged, Entitlement, PolicyTerms
from agent.formats.envelope import SignedReport
from agent.formats.jsontext import Members
from agent.formats.signing import from_base64, to_base64
from agent.formats.udi import Udi
from peers.authority.codes import IssuedCode
from peers.authority.core import Filed, Head, Instance, OperatorError, Pin
from peers.authority.tokens import IdToken

VERSION = 1
_SCHEMA = """
CREATE TABLE instances (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE reports (
  key TEXT NOT NULL, epoch TEXT NOT NULL, sequence INTEGER NOT NULL, report_id INTEGER NOT NULL,
  digest TEXT NOT NULL, previous_digest TEXT, state TEXT NOT NULL, received INTEGER NOT NULL, document BLOB NOT NULL,
  PRIMARY KEY (key, epoch, sequence), UNIQUE (key, epoch, report_id)
) STRICT;
CREATE INDEX waiting ON reports (key, epoch) WHERE state = 'pending';
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""
_COLUMNS = "epoch, sequence, report_id, digest, previous_digest, state"


class Store:
    """One connection, one user at a time; other processes may open the same file."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        try:
            self._db = apsw.Connection(str(path))
            self._db.set_busy_timeout(5000)
            self._db.pragma("journal_mode", "wal")
            self._db.pragma("synchronous", 2)
            with self.transaction():
                self._migrate(path)
        except apsw.Error as error:
            raise OperatorError(f"{path} cannot be opened: {error}") from None

    def _migrate(self, path: Path) -> None:
        version = self._db.pragma("user_version")
        if version > VERSION:
            raise OperatorError(f"{path} is from a newer release (version {version}); use that one")
        if version == 0:
            self._db.execute(_SCHEMA)
            self._db.pragma("user_version", VERSION)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; the writer's place is taken at once, so what is read stays true until the commit."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def instance(self, udi: Udi) -> Instance | None:
        with self._lock:
            row = self._db.execute("SELECT body FROM instances WHERE key = ?", (udi.key,)).fetchone()
        return None if row is None else _instance(json.loads(str(row[0])))

    def instances(self) -> list[Instance]:
        with self._lock:
            rows = self._db.execute("SELECT body FROM instances ORDER BY key").fetchall()
        return [_instance(json.loads(str(body))) for (body,) in rows]

    def unapproved(self) -> int:
        """How many instances wait for their first approval."""
        with self._lock:
            rows = self._db.execute(
                "SELECT count(*) FROM instances WHERE body ->> 'pin' IS NULL AND body ->> 'factory_key' IS NULL"
            ).fetchall()
        return int(str(rows[0][0]))

    def put_instance(self, instance: Instance) -> None:
        self._db.execute("INSERT OR REPLACE INTO instances VALUES (?, ?)", (instance.udi.key, _plain(instance)))

    def related(self, udi: Udi, epoch: str, sequences: Iterable[int], report_ids: Iterable[int]) -> list[Filed]:
        """Filed reports of this epoch that share a place or number, and all that wait."""
        query = (
            f"SELECT {_COLUMNS} FROM reports WHERE key = ?1 AND epoch = ?2 "  # noqa: S608 - constant text
            "AND (sequence IN (SELECT value FROM json_each(?3)) OR report_id IN (SELECT value FROM json_each(?4)))"
        )
        rows = self._db.execute(query, (udi.key, epoch, json.dumps(list(sequences)), json.dumps(list(report_ids))))
        found = {row[1]: Filed(*row) for row in rows}
        found.update({entry.sequence: entry for entry in self.waiting(udi, epoch)})
        return list(found.values())

    def waiting(self, udi: Udi, epoch: str) -> list[Filed]:
        """The reports of this epoch that wait for a predecessor."""
        query = f"SELECT {_COLUMNS} FROM reports WHERE key = ? AND epoch = ? AND state = 'pending'"  # noqa: S608
        return [Filed(*row) for row in self._db.execute(query, (udi.key, epoch))]

    def filed(self, udi: Udi) -> list[dict[str, Any]]:
        """All reports of an instance for an operator's eyes, in the order of the chain."""
        query = f"SELECT {_COLUMNS}, received FROM reports WHERE key = ? ORDER BY epoch, sequence"  # noqa: S608
        with self._lock:
            rows = self._db.execute(query, (udi.key,)).fetchall()
        names = [*Filed._fields, "received"]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def documents(self, udi: Udi) -> list[bytes]:
        """The exact report documents of an instance, in the order of the chain."""
        query = "SELECT document FROM reports WHERE key = ? ORDER BY epoch, sequence"
        with self._lock:
            return [row[0] for row in self._db.execute(query, (udi.key,))]

    def file(self, signed: SignedReport, received: int) -> None:
        report = signed.report
        values = (report.udi.key, report.epoch, report.sequence, report.report_id, signed.digest)
        self._db.execute(
            "INSERT INTO reports VALUES (?, ?, ?, ?, ?, ?, 'pending', ?, ?)",
            (*values, report.previous_digest, received, signed.document),
        )

    def accept(self, udi: Udi, epoch: str, sequences: Iterable[int]) -> None:
        self._db.execute(
            "UPDATE reports SET state = 'accepted' WHERE key = ? AND epoch = ? "
            "AND sequence IN (SELECT value FROM json_each(?))",
            (udi.key, epoch, json.dumps(sorted(sequences))),
        )

    def drop_waiting(self, udi: Udi, epoch: str, sequences: Iterable[int]) -> None:
        self._db.execute(
            "DELETE FROM reports WHERE key = ? AND epoch = ? AND state = 'pending' "
            "AND sequence IN (SELECT value FROM json_each(?))",
            (udi.key, epoch, json.dumps(sorted(sequences))),
        )

    def policy(self) -> PolicyTerms | None:
        with self._lock:
            row = self._db.execute("SELECT value FROM settings WHERE name = 'policy'").fetchone()
        return None if row is None else documents.read_terms(Members(json.loads(str(row[0])), "policy"))

    def put_policy(self, terms: PolicyTerms | None) -> None:
        if terms is None:
            self._db.execute("DELETE FROM settings WHERE name = 'policy'")
        else:
            value = jsontext.dump(documents.terms_body(terms))
            self._db.execute("INSERT OR REPLACE INTO settings VALUES ('policy', ?)", (value,))

    def pool(self) -> dict[str, Entitlement]:
        """What the account holds, by entitlement tag."""
        with self._lock:
            row = self._db.execute("SELECT value FROM settings WHERE name = 'pool'").fetchone()
        found = [] if row is None else documents.read_entitlements(Members(json.loads(str(row[0])), "pool"))
        return {entry.tag: entry for entry in found}

    def export(self) -> frozenset[str]:
        """The tags of the pool that are export-controlled."""
        with self._lock:
            row = self._db.execute("SELECT value FROM settings WHERE name = 'pool'").fetchone()
        return frozenset() if row is None else frozenset(json.loads(str(row[0])).get("export", ()))

    def put_pool(self, entries: Iterable[Entitlement], export: Iterable[str]) -> None:
        body = {"entitlements": [documents.entitlement_body(entry) for entry in entries], "export": sorted(export)}
        self._db.execute("INSERT OR REPLACE INTO settings VALUES ('pool', ?)", (jsontext.dump(body),))

    def tokens(self) -> tuple[IdToken, ...]:
        """The ID tokens, in the order of their issue."""
        with self._lock:
            row = self._db.execute("SELECT value FROM settings WHERE name = 'tokens'").fetchone()
        found = [] if row is None else json.loads(str(row[0]))
        return tuple(IdToken(**{**each, "redeemed": tuple(each["redeemed"])}) for each in found)

    def put_tokens(self, tokens: Iterable[IdToken]) -> None:
        value = jsontext.dump([asdict(token) for token in tokens])
        self._db.execute("INSERT OR REPLACE INTO settings VALUES ('tokens', ?)", (value,))


def _plain(instance: Instance) -> str:
    members: dict[str, Any] = {
        "udi": instance.udi.sudi(),
        "first_seen": instance.first_seen,
        "last_seen": instance.last_seen,
        "pin": _plain_pin(instance.pin),
        "candidate": _plain_pin(instance.candidate),
        "factory_key": instance.factory_key and to_base64(instance.factory_key),
        "head": list(instance.head),
        "serial": instance.serial,
        "acknowledged": [list(entry) for entry in instance.acknowledged],
        "policy_terms": None if instance.policy_terms is None else documents.terms_body(instance.policy_terms),
        "trust_from": instance.trust_from,
        "trust_until": instance.trust_until,
        "codes": [_plain_code(code) for code in instance.codes],
        "request_number": instance.request_number,
        "utility": instance.utility,
        "export": instance.export,
    }
    for name in ("ack", "policy", "trust_code"):
        document: bytes | None = getattr(instance, name)
        members[name] = None if document is None else document.decode("utf-8")
    return jsontext.dump(members)


def _plain_code(code: IssuedCode) -> dict[str, Any]:
    return {
        "auth_type": code.auth_type,
        "serial": code.serial,
        "digest": code.digest,
        "entitlements": [documents.entitlement_body(entry) for entry in code.entitlements],
        "request": code.request,
        "document": code.document.decode("utf-8"),
        "stage": code.stage,
    }


def _code(members: dict[str, Any]) -> IssuedCode:
    entitlements = tuple(documents.read_entitlements(Members(members, "code")))
    return IssuedCode(**{**members, "entitlements": entitlements, "document": members["document"].encode("utf-8")})


def _plain_pin(pin: Pin | None) -> dict[str, str] | None:
    return None if pin is None else {"public_key": to_base64(pin.public_key), "epoch": pin.epoch}


def _instance(members: dict[str, Any]) -> Instance:
    terms = members["policy_terms"]
    issued = {name: members[name] and members[name].encode("utf-8") for name in ("ack", "policy", "trust_code")}
    return Instance(
        udi=Udi.from_sudi(members["udi"]),
        first_seen=members["first_seen"],
        last_seen=members["last_seen"],
        pin=_pin(members["pin"]),
        candidate=_pin(members["candidate"]),
        factory_key=from_base64(members["factory_key"]) if members.get("factory_key") else None,
        head=Head(*members["head"]),
        serial=members["serial"],
        acknowledged=tuple(Acknowledged(*entry) for entry in members["acknowledged"]),
        policy_terms=None if terms is None else documents.read_terms(Members(terms, "policy")),
        trust_from=members["trust_from"],
        trust_until=members["trust_until"],
        codes=tuple(_code(entry) for entry in members.get("codes", ())),
        request_number=members.get("request_number", 0),
        utility=members.get("utility", False),
        export=members.get("export", True),
        **issued,
    )


def _pin(members: dict[str, str] | None) -> Pin | None:
    return None if members is None else Pin(from_base64(members["public_key"]), members["epoch"])
