"""Refused documents and requests: for every reason the table's code, and all as before, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
import json
from pathlib import Path
import re
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
import pytest

from agent.formats import certificates
from agent.formats.documents import Document, PolicyClass, PolicyTerms
from agent.formats.udi import Udi
from agent.licensing.trusting import counts
from tests.licensing.kit import T0, YEARS, Authority, key
from tests.northbound import forge, scenes
from tests.northbound.kit import ADMIN, COLLECTOR, Rig, documents_of, error_of

Forge = Callable[[Rig], str]


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def device(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One agent that has a bit of everything, for all of these tests: none of them may change it."""
    rig = Rig.sqlite(tmp_path_factory.mktemp("device") / "agent.db") if request.param == "sqlite" else Rig.memory()
    scenes.acknowledged(rig)
    rig.edit(scenes.EVERYTHING)
    rig.use("sessions", 5, after=30)
    rig.collect()
    rig.installed(rig.authority.file(returned_code(rig)))
    assert rig.invoke("authorization-code-return-online")["return-code"] == "success"
    rig.close(900)
    assert {entry["report-state"][17:] for entry in rig.part("rum-reports-closed-keys")} == {"closed", "unacknowledged"}
    yield rig
    rig.end()


def everything(rig: Rig) -> Any:
    """All that a refused document must leave alone."""
    files = {}
    path = getattr(rig.store, "_path", None)
    if isinstance(path, Path):
        files = {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")}
    return (
        rig.xml(),
        rig.json(),
        rig.state.to_json(),
        rig.kept(),
        documents_of(rig),
        rig.dispatch.running.tree,
        rig.dispatch.running.version,
        files,
    )


# One forger or more a reason


def big_file(rig: Rig) -> str:
    """Fewer characters than the model allows, and more bytes than a file may have."""
    return "<smartLicense>" + "é" * 2_200_000 + "</smartLicense>"


def many_documents(rig: Rig) -> str:
    return f"<smartLicense>{'<smartLicensePolicy><data>{}</data></smartLicensePolicy>' * 65}</smartLicense>"


def many_acknowledged(payload: forge.Members) -> None:
    payload["body"]["reports"] = [{"report_id": number + 1, "digest": "0" * 64} for number in range(20_001)]


def deep(rig: Rig) -> str:
    return '{"payload":' * 20 + "0" + "}" * 20


def policy_file(rig: Rig) -> str:
    return rig.authority.file(rig.policy()).decode()


def wrong_element(rig: Rig) -> str:
    return policy_file(rig).replace("smartLicensePolicy", "smartLicenseRumAck")


def a_report(rig: Rig) -> str:
    return next(iter(documents_of(rig).values())).decode()


def other_authority(rig: Rig) -> str:
    return Authority("somebody").sign(rig.policy()).decode()


def self_made_root(rig: Rig) -> bytes:
    """The right name, the wrong key."""
    return certificates.make_signer(
        certificates.make_anchor(key("imitator"), "authority", T0 - YEARS, T0 + YEARS),
        key("imitator"),
        "authority",
        key("authority signer").public_key,
        T0 - YEARS,
        T0 + YEARS,
    )


def other_curve(rig: Rig) -> bytes:
    owner = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([])
    begin, end = (datetime.fromtimestamp(T0 + at, UTC) for at in (-10, 10**7))
    builder = x509.CertificateBuilder(name, name, owner.public_key(), 1, begin, end)
    return builder.sign(owner, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def trust_code(change: Callable[[Rig], bytes]) -> Forge:
    """A trust code whose certificate is another one."""

    def forged(rig: Rig) -> str:
        return rig.authority.sign(replace(rig.trust_code(), certificate=change(rig))).decode()  # type: ignore[arg-type]

    return forged


def device_certificate_of(udi: Udi | None = None, owner: str = "device", begin: int = -60, end: int = YEARS) -> Any:
    def made(rig: Rig) -> bytes:
        public_key = key(owner).public_key
        return certificates.make_trust_code(
            rig.authority.anchor,
            key(rig.authority.name),
            udi or rig.profile.udi,
            public_key,
            rig.now + begin,
            rig.now + end,
        )

    return made


def lab_document(rig: Rig) -> str:
    return (
        Authority(lab=True, serial=10**6)
        .sign(Authority(lab=True, serial=10**6).policy(rig.device, PolicyTerms("x")))
        .decode()
    )


def older(rig: Rig) -> str:
    floor = rig.state.floors["policy"]
    return rig.authority.sign(rig.policy(serial=floor.serial - 1)).decode()


def same_serial(rig: Rig) -> str:
    floor = rig.state.floors["policy"]
    return rig.authority.sign(rig.policy(PolicyTerms("Other"), serial=floor.serial)).decode()


def open_report(rig: Rig) -> str:
    use = next(use for use in rig.state.licences.values() if use.report is not None)
    assert use.report is not None
    return rig.authority.sign(forge.ack((use.report.report_id, "0" * 64))(rig)).decode()


def never_closed(rig: Rig) -> str:
    return rig.authority.sign(forge.ack((rig.state.next_report_id + 7, "0" * 64), (1, "1" * 64))(rig)).decode()


def other_digest(rig: Rig) -> str:
    wrong = tuple((number, "ab" * 32) for number, _ in rig.stored())
    return rig.authority.sign(forge.ack(*wrong)(rig)).decode()


def returned_code(rig: Rig) -> Document:
    """The authorization code that the device of these tests has returned, the same each time."""
    return rig.authority.code(rig.device, ("tier-2", 1), serial=5000, issued=T0)


def older_code(rig: Rig) -> Document:
    return rig.authority.code(rig.device, ("tier-2", 2), serial=4999)


def set_in(*path: Any) -> Callable[[forge.Members], None]:
    """Sets the last of `path` at the members before it."""
    *way, name, value = path

    def change(members: Any) -> None:
        for step in way:
            members = members[step]
        members[name] = value

    return change


ACK = forge.ack((T0, "0" * 64))

CASES: list[tuple[str, str, Forge]] = [
    ("too-large", "bytes", big_file),
    ("too-large", "documents", many_documents),
    ("too-large", "reports", forge.changed(many_acknowledged, ACK)),
    ("too-large", "nesting", deep),
    ("malformed", "no file", lambda rig: "hello"),
    ("malformed", "other root", lambda rig: "<licence/>"),
    ("malformed", "half", lambda rig: policy_file(rig)[:500]),
    ("malformed", "DOCTYPE", lambda rig: "<!DOCTYPE smartLicense>" + policy_file(rig)),
    ("malformed", "double member", lambda rig: '{"payload":"","payload":"","header":{},"signature":{}}'),
    ("malformed", "number for text", lambda rig: '{"payload":7,"header":{},"signature":{}}'),
    ("malformed", "in another's element", wrong_element),
    ("malformed", "payload is no object", lambda rig: forge.signed("[]")),
    ("malformed", "no serial", forge.changed(lambda payload: payload.pop("serial"))),
    ("malformed", "addressee without serial number", forge.changed(set_in("addressee", {"udi_pid": "RIG-1"}))),
    ("malformed", "signature is not base64", forge.outside(set_in("signature", "value", "?"))),
    ("malformed", "no certificate", forge.outside(set_in("signature", "certificates", []))),
    ("no-document", "empty", lambda rig: "<smartLicense/>"),
    ("no-document", "elements of others", lambda rig: "<smartLicense><smartLicenseGift/></smartLicense>"),
    ("unknown-type", "gift", forge.changed(set_in("header", "type", "gift"))),
    ("unknown-type", "a report", a_report),
    ("unknown-type", "signing type", forge.outside(set_in("signature", "signing_type", "builtin"))),
    ("certificate-invalid", "no certificate", forge.outside(set_in("signature", "certificates", ["MAA="]))),
    ("certificate-invalid", "no base64", forge.outside(set_in("signature", "certificates", ["***"]))),
    ("certificate-invalid", "other curve", forge.by(other_curve)),
    ("untrusted-signer", "other authority", other_authority),
    ("untrusted-signer", "imitated root", forge.by(self_made_root)),
    ("not-a-signer", "trust code", forge.by(forge.device_certificate)),
    ("not-a-signer", "the root itself", forge.by(lambda rig: rig.authority.anchor, "authority")),
    ("certificate-not-yet-valid", "", forge.by(forge.signer_valid(3700, 99_999))),
    ("certificate-not-yet-valid", "trust code", trust_code(device_certificate_of(begin=3700))),
    ("certificate-expired", "", forge.by(forge.signer_valid(-99_999, -3700))),
    ("certificate-expired", "trust code", trust_code(device_certificate_of(begin=-99_999, end=-3700))),
    ("bad-signature", "altered", lambda rig: rig.authority.sign(rig.policy()).decode().replace("Example", "Exemple")),
    ("bad-signature", "other key", forge.by(lambda rig: rig.authority.signer, "imitator")),
    ("header-mismatch", "", forge.outside(set_in("header", "version", "1.1"))),
    ("unsupported-version", "", forge.changed(set_in("header", "version", "2.0"))),
    ("unknown-critical", "", forge.changed(set_in("header", "critical", ["geofence"]))),
    ("wrong-addressee", "serial number", forge.heading(udi=Udi("RIG-1", "9RIH"))),
    ("wrong-addressee", "product", forge.heading(udi=Udi("RIG-2", "9RIG"))),
    ("lab-mismatch", "", lab_document),
    ("utility-flag-missing", "", forge.heading(utility=False)),
    ("issued-in-future", "", forge.heading(issued=lambda now: now + 3601)),
    ("expired", "", forge.heading(expires=lambda now: now - 3601)),
    ("invalid-content", "days", forge.changed(set_in("body", "perpetual", {"first": -1}))),
    ("invalid-content", "no name", forge.changed(lambda payload: payload["body"].pop("name"))),
    (
        "invalid-content",
        "twice",
        forge.changed(lambda payload: payload["body"]["reports"].extend(payload["body"]["reports"]), ACK),
    ),
    (
        "invalid-content",
        "no digest",
        forge.changed(lambda payload: payload["body"]["reports"][0].update(digest="x"), ACK),
    ),
    ("invalid-content", "trust code of another", trust_code(device_certificate_of(udi=Udi("RIG-1", "OTHER")))),
    ("wrong-key", "", trust_code(device_certificate_of(owner="somebody"))),
    ("stale-serial", "older", older),
    ("stale-serial", "same serial, other content", same_serial),
    ("stale-serial", "a code older than the returned one", lambda rig: rig.authority.sign(older_code(rig)).decode()),
    (
        "trust-code-installed",
        "a factory-installed one",
        lambda rig: rig.authority.sign(rig.authority.trust_code(rig.device, factory=True)).decode(),
    ),
    ("authorization-returned", "", lambda rig: rig.authority.sign(returned_code(rig)).decode()),
    ("unknown-report", "never closed", never_closed),
    ("unknown-report", "open", open_report),
    ("other-digest", "", other_digest),
]


def documented() -> dict[str, str]:
    """Reason to return-code, as docs/licensing.md promises it."""
    text = (Path(__file__).parents[2] / "docs" / "licensing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| `(\w+)` \|", text.split("### Refusals")[1].split("\n## ")[0], re.MULTILINE)
    return dict(rows)


CODES = documented()


@pytest.mark.parametrize(("reason", "variant", "forger"), CASES, ids=[f"{one}: {two}" for one, two, _ in CASES])
def test_refused(device: Rig, reason: str, variant: str, forger: Forge) -> None:
    """Must show: the code of the table, a message, a notification; nothing else is different."""
    device.advance(1)
    content = forger(device)
    before = everything(device)
    device.told.clear()
    answer = device.install(content.encode(), COLLECTOR)
    assert everything(device) == before
    assert answer["return-code"] == CODES[reason]
    (document,) = answer["document"]
    assert document["return-code"] == answer["return-code"]
    assert document["message"] == answer["message"] != ""
    told, *further = device.told
    assert (told.name, told.tree["return-code"]) == ("import-refused", answer["return-code"])
    assert told.tree["type"] == document["type"]
    # whoever asked for a trust code hears of it in both vocabularies
    trust = document["type"] == "trust-code"
    legacy = "registration-renew-fail" if counts(device.state.trust, device.now) else "registration-fail"
    assert [event.name for event in further] == (["trust-fail", legacy] if trust else [])


def test_lab_refuses_production() -> None:
    """The other way round."""
    rig = Rig.memory(lab=True, authority=Authority(lab=True))
    rig.installed(rig.authority.file(rig.policy()))
    before = everything(rig)
    answer = rig.install(Authority(serial=10**6).sign(Authority(serial=10**6).policy(rig.device, PolicyTerms("x"))))
    assert answer["return-code"] == CODES["lab-mismatch"]
    assert everything(rig) == before
    rig.end()


def test_cut_anywhere(device: Rig) -> None:
    """A file that ends early, at any of many places: refused as malformed, nothing changed."""
    content = device.authority.file(device.policy(PolicyTerms("Cut")), device.trust_code()).rstrip(b"\n")
    before = everything(device)
    for end in {*range(1, len(content), 331), *range(len(content) - 40, len(content))}:
        answer = device.install(content[:end])
        assert answer["return-code"] in (CODES["malformed"], CODES["no-document"])
    assert everything(device) == before


def test_altered_anywhere(device: Rig) -> None:
    """One character of the payload exchanged, at any of many places: never taken, nothing changed."""
    document = device.authority.sign(device.policy(PolicyTerms("Altered", perpetual=PolicyClass(1, 2, 3)))).decode()
    begin, end = document.index('"payload":"') + 11, document.index('","header"')
    before = everything(device)
    for place in range(begin, end, 7):
        other = "0" if document[place] != "0" else "1"
        answer = device.install((document[:place] + other + document[place + 1 :]).encode())
        assert answer["return-code"] in {CODES[reason] for reason in ("bad-signature", "malformed", "invalid-content")}
    assert everything(device) == before


def test_content_over_the_models_length(device: Rig) -> None:
    """More characters than the RPC takes: an rpc-error, and no decision."""
    before = everything(device)
    for content in ("", "x" * 4_194_305):
        assert error_of(partial(device.invoke, "import-code", {"content": content})).tag == "invalid-value"
    assert everything(device) == before


def test_text_that_no_file_can_have(device: Rig) -> None:
    """Characters outside of what YANG strings hold are refused before the kernel sees them."""
    before = everything(device)
    for content in ("\x00", "\ud800", "\ufffe", "a\x0bb"):
        assert error_of(partial(device.invoke, "import-code", {"content": content})).tag == "invalid-value"
    assert everything(device) == before


def test_a_replay_is_answered_with_success_and_changes_nothing(either: Rig) -> None:
    """The exact file again, at once, later, after a restart and by another user."""
    scenes.closed(either)
    reports = either.stored()
    first = either.authority.file(either.policy(), either.trust_code())
    second = either.ack(*reports)
    either.installed(first)
    either.installed(second)
    for user in (ADMIN, COLLECTOR):
        either.advance(600)
        before = everything(either)
        either.told.clear()
        for content in (first, second, first):
            answer = either.install(content, user)
            assert answer["return-code"] == "success"
            assert all(one["return-code"] == "success" for one in answer["document"])
        assert everything(either) == before
        assert either.told == []


def test_a_replay_after_a_restart(durable: Rig) -> None:
    scenes.acknowledged(durable)
    content = durable.authority.file(durable.policy(PolicyTerms("Last")))
    durable.installed(content)
    durable.restart(60, crash=True)
    before = everything(durable)
    durable.installed(content)
    assert everything(durable) == before
    older_file = json.dumps({"payload": "", "header": {}, "signature": {}})
    assert durable.install(older_file.encode())["return-code"] == CODES["malformed"]
