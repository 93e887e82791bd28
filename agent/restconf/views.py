"""The Flask application: each resource of RFC 8040 as a few lines over the closed vocabulary. No sockets, no TLS.

Reads and writes of data go through `Dispatch` only; who calls (`SESSION`) and what is to be done when a reply has
arrived (`DELIVERED`) are agreed with the bridge through the WSGI environment. Checklist 123-136, 146, 148, 149.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from itertools import chain
import logging
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

from flask import Flask, Response, request
from lxml import etree
from werkzeug.exceptions import HTTPException

from agent.codec import json as json_codec
from agent.codec import xml as xml_codec
from agent.core.data import Data
from agent.core.dispatch import Dispatch
from agent.core.instance import AbsentError
from agent.core.loop import LoopStoppedError
from agent.core.requests import Get, Invoke
from agent.core.schema import Node, Schema
from agent.core.select import PickedRows, target
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.errors import Error, Path, RequestError, Step
from agent.restconf import negotiate, uri
from agent.restconf.errors import HttpError, bad_request, status_of

log = logging.getLogger(__name__)

SESSION = "slp_agent.session"
"""WSGI environment: the caller's `Session`."""

DELIVERED = "slp_agent.delivered"
"""WSGI environment: a list; the bridge calls what is in it once the whole reply was accepted by the transport."""

NAMESPACE = "urn:ietf:params:xml:ns:yang:ietf-restconf"
LIBRARY_VERSION = "2019-01-04"
"""The revision of ietf-yang-library that is meant (RFC 8525)."""

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
_HOST_META = f'<XRD xmlns="http://docs.oasis-open.org/ns/xri/xrd-1.0"><Link rel="restconf" href="{uri.ROOT}"/></XRD>'


def create_app(dispatch: Dispatch) -> Flask:
    """The application over one dispatch: {+restconf} and host-meta. Blueprints may add other paths."""
    app = Flask(__name__, static_folder=None, template_folder=None)
    app.url_map.merge_slashes = False  # an empty key makes a lawful path that ends in "=" before a slash
    resources = Resources(dispatch)
    for rule in ("/", "/<path:_>"):
        app.add_url_rule(rule, f"restconf {rule}", resources.serve, methods=METHODS, provide_automatic_options=False)
    app.register_error_handler(Exception, resources.error)
    return app


class Resources:
    """Answers requests; one method per kind of resource."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._schema = dispatch.schema
        # clients ask for the same few paths again and again; parsing is pure
        self._parse = lru_cache(maxsize=256)(partial(uri.parse, schema=dispatch.schema))

    def serve(self, _: str = "") -> Response:
        """Any request. Raises RequestError, which `error` turns into a reply."""
        resource = self._parse(request.method, _raw_path(), request.environ.get("QUERY_STRING", ""))
        if request.method == "OPTIONS":
            return _reply(b"", None, headers={"Allow": ", ".join(resource.allow)})
        match resource:
            case uri.HostMeta():
                return _reply(_HOST_META.encode(), negotiate.accepted(_accept(), (negotiate.XRD,)))
            case uri.ApiRoot():
                return self._simple(_root_document)
            case uri.LibraryVersion():
                return self._simple(_version_document)
            case uri.OperationList():
                return self._simple(self._operations_document)
            case uri.Operation(node):
                return self._invoke(node)
            case uri.Action(node, instance):
                return self._invoke(node, instance)
            case uri.DataRoot():
                return self._datastore()
            case uri.DataResource():
                return self._data(resource)

    def error(self, problem: Exception) -> Response:
        """The error document (RFC 8040 section 7.1) for anything that was raised; never a traceback."""
        refused = self._refusal(problem)
        media = negotiate.error_type(_accept(), request.headers.get("Content-Type"))
        headers = dict(refused.headers) if isinstance(refused, HttpError) else {}
        body = error_document(refused, media, self._schema)
        return _reply(body, media, status=status_of(refused), headers=headers)

    def _refusal(self, problem: Exception) -> RequestError:
        if isinstance(problem, RequestError):
            return problem
        if isinstance(problem, LoopStoppedError):
            return HttpError(503, Error("application", "operation-failed", str(problem)))
        if isinstance(problem, HTTPException) and problem.code == 405:
            try:
                self._parse(request.method, _raw_path(), request.environ.get("QUERY_STRING", ""))
            except RequestError as refused:
                return refused
        if isinstance(problem, HTTPException) and problem.code is not None and 400 <= problem.code < 500:
            return HttpError(problem.code, Error("protocol", "malformed-message", f"bad request: {problem.name}"))
        log.error("%s %s failed", request.method, _raw_path(), exc_info=problem)
        return HttpError(500, Error("application", "operation-failed", INTERNAL))

    def _simple(self, document: Callable[[negotiate.Format], bytes]) -> Response:
        media = negotiate.accepted(_accept())
        return _reply(document(negotiate.DATA_TYPES[media]), media)

    def _operations_document(self, form: negotiate.Format) -> bytes:
        """Only what the caller may call (checklist 126)."""
        nodes = self._dispatch.operations(_session().user)
        if form == "json":
            members = ",".join(f'"{node.module}:{node.name}":[null]' for node in nodes)
            return f'{{"ietf-restconf:operations":{{{members}}}}}'.encode()
        elements = "".join(f"<{node.name} xmlns={quoteattr(node.namespace)}/>" for node in nodes)
        return f'<operations xmlns="{NAMESPACE}">{elements}</operations>'.encode()

    def _datastore(self) -> Response:
        media = negotiate.accepted(_accept())
        data = self._dispatch.read(Get(), _session())
        if negotiate.DATA_TYPES[media] == "json":
            return self._stream(data, media, json_codec.encode_wrapped(data, data.node, "ietf-restconf:data"))
        return self._stream(data, media, xml_codec.encode_wrapped(data, data.node, "data", NAMESPACE))

    def _data(self, resource: uri.DataResource) -> Response:
        media = negotiate.accepted(_accept())
        found = self._dispatch.read(Get(target(resource.path)), _session())
        data = found.narrow(resource.path)
        if data is None or (resource.whole and _count(data) == 0):
            missing = Error("application", "invalid-value", "there is no such instance", resource.steps)
            raise HttpError(404, missing)
        if negotiate.DATA_TYPES[media] == "json":
            return self._stream(data, media, json_codec.encode(data, data.node))
        if resource.whole and _count(data) > 1:
            # a document has one root element (RFC 8040 section 4.3)
            message = f"{resource.node.name} has several entries, which XML cannot hold side by side: ask for JSON"
            raise bad_request("invalid-value", f"{message}, or for one entry", path=resource.steps)
        return self._stream(data, media, xml_codec.encode(data, data.node))

    def _stream(self, data: Data, media: str, chunks: Iterator[bytes]) -> Response:
        """A read's reply: whole where it is short, else chunk by chunk, so that memory does not grow with it."""
        first, second = next(chunks, b""), next(chunks, None)
        if second is None:
            self._note(data)
            return _reply(first, media)
        if request.method == "HEAD":
            return _reply(iter(()), media)
        note = self._noter(data)

        def body() -> Iterator[bytes]:
            yield from chain((first, second), chunks)
            note()

        return _reply(body(), media)

    def _note(self, data: Data) -> None:
        """What was encoded wholly: have its marks told once the reply has arrived."""
        self._noter(data)()

    def _noter(self, data: Data) -> Callable[[], None]:
        session, waiting = _session(), request.environ[DELIVERED]
        getting = request.method == "GET"

        def note() -> None:
            if getting and data.marks:
                waiting.append(lambda: self._dispatch.delivered(data, session))

        return note

    def _invoke(self, node: Node, instance: Path = ()) -> Response:
        """An RPC, or an action on the instance."""
        media = negotiate.accepted(_accept())
        where = (*instance, Step(node.module, node.name)) if instance else ()
        request = Invoke(node, self._input(node, where), instance)
        try:
            output = self._dispatch.submit(request, _session()).result()
        except AbsentError as absent:
            raise HttpError(404, replace(absent.errors[0], tag="invalid-value")) from None
        shape = next(iter(node.named("output")), None)
        if not output or shape is None:
            return _reply(b"", None, status=204)
        codec = json_codec if negotiate.DATA_TYPES[media] == "json" else xml_codec
        return _reply(b"".join(codec.encode_wrapped(output, shape)), media)

    def _input(self, node: Node, path: Path) -> Tree:
        """The body as the input of an RPC, or of the action at `path` (RFC 8040 3.6.1). Raises RequestError."""
        body = request.get_data(cache=False)
        if not body.strip():
            return json_codec.decode_input({}, node, path)
        if negotiate.sent(request.headers.get("Content-Type")) == "xml":
            root = xml_codec.parse(body)
            if etree.QName(root) != etree.QName(node.namespace, "input"):
                wanted = f'<input xmlns="{node.namespace}">'
                raise bad_request("missing-element", f"the body must be one {wanted} element", bad_element="input")
            return xml_codec.decode_input(root, node, path)
        value: Any = json_codec.parse(body)
        member = f"{node.module}:input"
        if not isinstance(value, dict) or set(value) != {member}:
            message = f'the body must be one object with the one member "{member}"'
            raise bad_request("missing-element", message, bad_element="input")
        return json_codec.decode_input(value[member], node, path)


INTERNAL = "an internal error occurred: the agent's log has the details"


def error_document(refused: RequestError, media: str, schema: Schema) -> bytes:
    """The body that goes with `status_of(refused)`, in a media type of `negotiate.DATA_TYPES`."""
    if negotiate.DATA_TYPES[media] == "json":
        return json_codec.encode_errors(refused.errors, schema)
    return xml_codec.encode_errors(refused.errors, schema)


def _count(data: Data) -> Literal[0, 1, 2]:
    """Whether the one member of `data`, a list or leaf-list, has no, one or several entries; cost does not grow."""
    (member,) = data.tree
    value = data.tree[member]
    seen = 0
    if isinstance(value, list):
        seen = len(value)
    else:
        pages = value.pages()
        looked = []
        for page in pages:
            looked.append(page)
            seen += len(page)
            if seen > 1:
                break
        # what has been looked at is not read a second time
        data.tree[member] = PickedRows(lambda: chain(looked, pages), value.marked)
    return 0 if seen == 0 else 1 if seen == 1 else 2


def _root_document(form: negotiate.Format) -> bytes:
    if form == "json":
        members = f'"data":{{}},"operations":{{}},"yang-library-version":"{LIBRARY_VERSION}"'
        return f'{{"ietf-restconf:restconf":{{{members}}}}}'.encode()
    inner = f"<data/><operations/><yang-library-version>{LIBRARY_VERSION}</yang-library-version>"
    return f'<restconf xmlns="{NAMESPACE}">{inner}</restconf>'.encode()


def _version_document(form: negotiate.Format) -> bytes:
    if form == "json":
        return f'{{"ietf-restconf:yang-library-version":"{LIBRARY_VERSION}"}}'.encode()
    return f'<yang-library-version xmlns="{NAMESPACE}">{LIBRARY_VERSION}</yang-library-version>'.encode()


def _reply(
    body: bytes | Iterator[bytes], media: str | None, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    reply = Response(body, status=status, headers=headers)
    reply.headers["Cache-Control"] = "no-cache"  # RFC 8040 section 5.5
    if media is None:
        reply.headers.pop("Content-Type", None)
    else:
        reply.headers["Content-Type"] = media
    return reply


def _raw_path() -> str:
    """The path as sent: keys may hold encoded slashes, which PATH_INFO has lost."""
    sent: str = request.environ["REQUEST_URI"]
    return sent.partition("?")[0]


def _accept() -> str | None:
    return request.headers.get("Accept")


def _session() -> Session:
    session: Session = request.environ[SESSION]
    return session
