"""The authority's HTTP interface as a Flask application: reads requests, calls the service, writes answers.

Usage needs no credential, because reports prove themselves; everything else needs the operator's token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import functools
import hmac
import json
import logging
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from agent.formats import certificates, documents, jsontext, smartlicense
from agent.formats.errors import DocumentError
from agent.formats.jsontext import Members
from agent.formats.udi import Udi
from peers.authority.core import Instance, OperatorError
from peers.authority.service import Answer, Authority, read_policy, read_pool, read_requests, read_submission
from peers.authority.tokens import DEFAULT_DAYS as DEFAULT_TOKEN_DAYS
from peers.authority.tokens import IdToken

MAX_BODY = smartlicense.MAX_USAGE_FILE
_log = logging.getLogger("slp-peer.authority")
View = Callable[..., Response]


def application(authority: Authority) -> Flask:
    """Build the application; it keeps no state of its own."""
    app = Flask("slp-peer authority", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    guard = functools.partial(_operator, authority.folder.operator_token)
    _usage_views(app, authority)
    _operator_views(app, authority, guard)
    app.register_error_handler(DocumentError, _refused)
    app.register_error_handler(OperatorError, lambda error: _problem(409, "operator", str(error)))
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    return app


def _usage_views(app: Flask, authority: Authority) -> None:
    @app.post("/v1/usage")
    def usage() -> Response:
        answer = authority.submit(read_submission(request.get_data(cache=False)))
        _log.info("usage: %s", _counts(answer))
        return _usage_answer(answer)

    @app.post("/v1/requests")
    def requests() -> Response:
        answer = authority.request(read_requests(request.get_data(cache=False)))
        _log.info("requests: %s", _counts(answer))
        return _usage_answer(answer)

    @app.get("/v1/anchor")
    def anchor() -> Response:
        return Response(certificates.to_pem(authority.folder.anchor), mimetype="application/x-pem-file")

    @app.get("/v1/health")
    def health() -> Response:
        return _json({"status": "ok", "time": authority.now(), "lab": authority.folder.lab})


def _operator_views(app: Flask, authority: Authority, guard: Callable[[View], View]) -> None:
    @app.get("/v1/account")
    @guard
    def account() -> Response:
        return _json({**authority.folder.account._asdict(), "lab": authority.folder.lab})

    @app.get("/v1/instances")
    @guard
    def instances() -> Response:
        return _json({"instances": [summary(instance) for instance in authority.instances()]})

    @app.get("/v1/instances/<path:key>")
    @guard
    def instance(key: str) -> Response:
        return _json(summary(authority.instance(_udi(key))))

    @app.get("/v1/instances/<path:key>/reports")
    @guard
    def reports(key: str) -> Response:
        return _json({"reports": authority.reports(authority.instance(_udi(key)).udi)})

    @app.post("/v1/instances/<path:key>/approve")
    @guard
    def approve(key: str) -> Response:
        wanted = Members(jsontext.load(request.get_data(cache=False) or b"{}", "the request"), "request")
        force = wanted.optional_boolean("force") or False
        return _json(summary(authority.approve(_udi(key), force, wanted.optional_text("key_id"))))

    @app.post("/v1/instances/<path:key>/accept-gap")
    @guard
    def accept_gap(key: str) -> Response:
        return _json(summary(authority.accept_gap(_udi(key))))

    @app.get("/v1/instances/<path:key>/codes")
    @guard
    def issued(key: str) -> Response:
        return _json({"codes": code_list(authority.instance(_udi(key)))})

    @app.post("/v1/instances/<path:key>/release")
    @guard
    def release(key: str) -> Response:
        return _json({"codes": code_list(authority.release(_udi(key)))})

    @app.get("/v1/pool")
    @guard
    def pool() -> Response:
        return _json(pool_summary(authority))

    @app.put("/v1/pool")
    @guard
    def set_pool() -> Response:
        authority.set_pool(*read_pool(request.get_data(cache=False)))
        return _json(pool_summary(authority))

    @app.get("/v1/tokens")
    @guard
    def id_tokens() -> Response:
        return _json({"tokens": token_list(authority, authority.tokens())})

    @app.post("/v1/tokens")
    @guard
    def issue_token() -> Response:
        wanted = Members(jsontext.load(request.get_data(cache=False) or b"{}", "the request"), "request")
        made = authority.issue_token(
            wanted.integer("days", 1) if "days" in wanted else DEFAULT_TOKEN_DAYS,
            wanted.optional_integer("uses", 1),
            wanted.optional_boolean("export") or False,
            wanted.optional_text("description") or "",
        )
        return _json({"id_token": made.text, **token_list(authority, made.tokens[-1:])[0]})

    @app.delete("/v1/tokens/<int:number>")
    @guard
    def revoke_token(number: int) -> Response:
        return _json({"tokens": token_list(authority, authority.revoke_token(number))})

    @app.get("/v1/policy")
    @guard
    def policy() -> Response:
        terms = authority.settings().policy
        return _json({"policy": None if terms is None else documents.terms_body(terms)})

    @app.put("/v1/policy")
    @guard
    def set_policy() -> Response:
        terms = read_policy(request.get_data(cache=False))
        authority.set_policy(terms)
        return _json({"policy": documents.terms_body(terms)})

    @app.delete("/v1/policy")
    @guard
    def remove_policy() -> Response:
        authority.set_policy(None)
        return _json({"policy": None})


def summary(instance: Instance) -> dict[str, Any]:
    """An instance as operators see it."""
    pin, candidate = instance.pin, instance.candidate
    return {
        "udi": instance.udi.key,
        "state": "pending" if pin is None else "approved",
        "key_id": pin and pin.key_id,
        "epoch": pin and pin.epoch,
        "waits_for_approval": candidate and {"key_id": candidate.key_id, "epoch": candidate.epoch},
        "head": instance.head.sequence,
        "first_seen": instance.first_seen,
        "last_seen": instance.last_seen,
        "trust_code_until": instance.trust_until or None,
        "export": instance.export,
    }


def code_list(instance: Instance) -> list[dict[str, Any]]:
    """The authorization codes of an instance as operators see them."""
    return [
        {
            "auth_type": code.auth_type,
            "serial": code.serial,
            "state": code.stage,
            "entitlements": [documents.entitlement_body(entry) for entry in code.entitlements],
        }
        for code in instance.codes
    ]


def pool_summary(authority: Authority) -> dict[str, Any]:
    """The account's pool, and what of it is free."""
    free, export = authority.free(), authority.export()
    return {
        "entitlements": [
            {**documents.entitlement_body(entry), "export": tag in export, "free": free[tag]}
            for tag, entry in authority.pool().items()
        ]
    }


def token_list(authority: Authority, tokens: Sequence[IdToken]) -> list[dict[str, Any]]:
    """ID tokens as operators see them."""
    now = authority.now()
    return [
        {
            "number": token.number,
            "state": token.state(now),
            "description": token.description,
            "ends": token.ends,
            "uses": token.uses,
            "redeemed": list(token.redeemed),
            "export": token.export,
        }
        for token in tokens
    ]


def _operator(token: str, view: View) -> View:
    expected = f"Bearer {token}".encode()

    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Response:
        given = request.headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, expected):
            answer = _problem(401, "unauthorized", "send the text of the folder's operator.token as bearer token")
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        return view(*args, **kwargs)

    return guarded


def _udi(key: str) -> Udi:
    try:
        return Udi.from_key(key)
    except ValueError as error:
        raise OperatorError(str(error)) from None


def _counts(answer: Answer) -> str:
    return ", ".join(f"{name}={answer.count(name)}" for name in ("accepted", "duplicate", "pending", "refused"))


def _usage_answer(answer: Answer) -> Response:
    """200 with the licence file (or JSON that contains it), 202 when all wait, 422 when nothing could be taken.

    What needs no file in answer, as a returned code, is 200 with the outcomes.
    """
    taken = answer.count("accepted") + answer.count("duplicate")
    status = 200 if taken else 202 if answer.count("pending") else 422
    prefers = request.accept_mimetypes.best_match(["application/xml", "application/json"], "application/xml")
    if answer.file is not None and taken and prefers == "application/xml":
        response = Response(answer.file, 200, mimetype="application/xml")
    else:
        members: dict[str, Any] = {"outcomes": answer.outcomes}
        if answer.file is not None:
            members["document"] = answer.file.decode("utf-8")
        response = _json(members, status)
    response.headers["SLP-Outcomes"] = _counts(answer)
    return response


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value, indent=2) + "\n", status, mimetype="application/json")


def _problem(status: int, reason: str, message: str) -> Response:
    return _json({"reason": reason, "message": message}, status)


def _refused(error: DocumentError) -> Response:
    return _problem(400, error.reason, error.message)


def _http_error(error: HTTPException) -> Response:
    return _problem(error.code or 500, error.name.lower().replace(" ", "-"), error.description or error.name)


def _unexpected(error: Exception) -> Response:
    _log.error("request failed", exc_info=error)
    return _problem(500, "internal", "the authority failed; its log says why")
