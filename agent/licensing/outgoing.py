"""The signed requests that leave this device, and the files they go in; what is asked for is decided elsewhere."""

from __future__ import annotations

import hashlib

from agent.formats.requests import Request, RequestHeading, RequestKind, seal_request
from agent.formats.smartlicense import SystemInfo, write_requests
from agent.licensing.draft import Draft
from agent.licensing.events import RequestMade
from agent.licensing.reports import WITHHELD
from agent.licensing.trusting import certificate


def heading(draft: Draft, kind: RequestKind) -> RequestHeading:
    """The next request's heading; its number is taken."""
    made = next_heading(draft)
    draft.emit(RequestMade(draft.at, made.number, kind))
    return made


def next_heading(draft: Draft) -> RequestHeading:
    """The heading that the next request would have; no number is taken."""
    state, profile = draft.state, draft.context.profile
    return RequestHeading(
        udi=profile.udi,
        epoch=state.epoch,
        number=state.requests_made + 1,
        time=draft.at,
        software_tag=profile.software_tag,
        software_version=WITHHELD if state.settings.privacy_version else state.software_version,
        lab=draft.context.lab,
        utility=state.settings.utility_enabled,
        hostname=None if state.settings.privacy_hostname else profile.hostname,
    )


def seal(draft: Draft, request: Request) -> bytes:
    """The signed document."""
    return seal_request(request, draft.context.signer, certificate(draft.state, draft.at))


def file(request: Request, document: bytes) -> bytes:
    """A file with this one request."""
    asking = request.heading
    info = SystemInfo(
        asking.udi,
        asking.time * 1000,
        # The kernel has no chance of its own: the document is different each time, and so is its digest.
        nonce=hashlib.sha256(document).hexdigest()[:32],
        software_tag=asking.software_tag,
        hostname=asking.hostname,
    )
    return write_requests(info, [(request, document)])
