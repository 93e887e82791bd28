"""Documents with one thing wrong, each signed as far as its fault allows; the rest is the authority's."""

from __future__ import annotations

from collections.abc import Callable
import json
from typing import Any

from agent.formats import certificates
from agent.formats.documents import Ack, Acknowledged, Document, PolicyTerms
from agent.formats.issue import issue
from agent.formats.signing import LocalSigner, to_base64
from tests.licensing.kit import T0, YEARS, Authority, key
from tests.northbound.kit import Rig

Members = dict[str, Any]


def parts(document: bytes) -> tuple[Members, Members]:
    """Envelope and payload of a signed document."""
    envelope: Members = json.loads(document)
    payload: Members = json.loads(envelope["payload"])
    return envelope, payload


def signed(
    payload: Members | str, *, signer: LocalSigner | None = None, certificate: bytes | None = None, **signature: Any
) -> str:
    """An envelope around a payload as it stands, signed by the authority unless another signer is given."""
    exact = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
    authority = Authority()
    value = (signer or key("authority signer")).sign(exact.encode())
    fields: Members = {
        "signing_type": "authority",
        "certificates": [to_base64(certificate or authority.signer)],
        "value": to_base64(value),
    }
    header = json.loads(exact)["header"] if exact.startswith("{") else {"type": "policy", "version": "1.0"}
    return json.dumps({"payload": exact, "header": header, "signature": fields | signature})


def changed(change: Callable[[Members], Any], of: Callable[[Rig], Document] | None = None) -> Callable[[Rig], str]:
    """A document whose payload was changed before it was signed."""

    def forged(rig: Rig) -> str:
        document = rig.policy() if of is None else of(rig)
        _, payload = parts(rig.authority.sign(document))
        change(payload)
        return signed(payload)

    return forged


def outside(change: Callable[[Members], Any]) -> Callable[[Rig], str]:
    """A document whose envelope was changed after it was signed."""

    def forged(rig: Rig) -> str:
        envelope, _ = parts(rig.authority.sign(rig.policy()))
        change(envelope)
        return json.dumps(envelope)

    return forged


def heading(**fields: Any) -> Callable[[Rig], str]:
    """A genuine policy with another heading; a callable is given the time."""

    def forged(rig: Rig) -> str:
        values = {name: value(rig.now) if callable(value) else value for name, value in fields.items()}
        return rig.authority.sign(rig.authority.policy(rig.device, PolicyTerms("x"), **values)).decode()

    return forged


def by(certificate: Callable[[Rig], bytes], signer: str = "authority signer") -> Callable[[Rig], str]:
    """A policy that another certificate claims to have signed."""

    def forged(rig: Rig) -> str:
        return issue(rig.policy(), key(signer), certificate(rig)).decode()

    return forged


def signer_valid(begin: int, end: int) -> Callable[[Rig], bytes]:
    """A signer's certificate of the right authority, valid from `begin` to `end` seconds from now."""

    def made(rig: Rig) -> bytes:
        return certificates.make_signer(
            rig.authority.anchor,
            key(rig.authority.name),
            "signer",
            key("authority signer").public_key,
            rig.now + begin,
            rig.now + end,
        )

    return made


def device_certificate(rig: Rig) -> bytes:
    """A trust code: genuine, and not for signing documents."""
    return certificates.make_trust_code(
        rig.authority.anchor,
        key(rig.authority.name),
        rig.profile.udi,
        key("authority signer").public_key,
        T0 - YEARS,
        T0 + YEARS,
    )


def ack(*reports: tuple[int, str]) -> Callable[[Rig], Document]:
    return lambda rig: Ack(rig.authority.heading(rig.device), tuple(Acknowledged(*one) for one in reports))
