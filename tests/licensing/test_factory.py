"""What a factory puts in: before the first start, through the one door, whole or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.formats.documents import Document, Entitlement, PolicyClass, PolicyTerms
from agent.licensing.commands import FactoryReset, InstallFactory, PrepareReset, ReturnAuthorization
from agent.licensing.policy import in_force
from agent.licensing.refusals import CODES
from agent.licensing.state import State
from tests.licensing.kit import DAY, Authority, Device, key

HSEC, TIER = "hseck9", "throughput-tier-2"
TERMS = PolicyTerms("Shipped", perpetual=PolicyClass(first=10, ongoing=20))


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def device(authority: Authority) -> Device:
    return Device().trusting(authority)


def documents(authority: Authority, device: Device) -> list[Document]:
    return [
        authority.trust_code(device, factory=True),
        authority.policy(device, TERMS, "factory"),
        authority.code(device, (HSEC, 2), factory=True),
    ]


def put_in(device: Device, content: bytes) -> None:
    assert device.do(InstallFactory(content)).reply.code == "success"


def test_a_factory_puts_in_all_three(authority: Authority, device: Device) -> None:
    """In force from the first start on, and marked as the factory's; a restart loads it from the journal."""
    put_in(device, authority.file(*documents(authority, device)))
    assert not device.state.running
    device.start(after=100 * DAY)
    assert device.replayed() == device.state
    trust, policy = device.state.trust, in_force(device.state.policies)
    assert trust is not None
    assert trust.factory
    assert policy.days["perpetual"].first == 10
    assert policy.sources["perpetual"] == ("factory", "factory", "default")
    assert device.state.purchased == (Entitlement(device.state.purchased[0].tag, 2),)
    assert device.use(HSEC, 2).reply.code == "success"
    assert device.use(HSEC, 3).reply.reason == "count-not-authorized"
    device.close(after=60)
    (signed,) = device.documents
    assert signed.signing_type == "builtin"
    assert signed.report.trust_request == device.signer.public_key, "a factory's trust code is asked to be replaced"


@pytest.mark.parametrize("number", range(5))
def test_one_refused_document_takes_all_back(authority: Authority, device: Device, number: int) -> None:
    """Of another key, for another device, not the factory's, altered: named, and the state is as before."""
    other = Device(device.profile.with_serial("OTHER"), signer=key("other"))
    bad: Document = [
        authority.trust_code(device, signer=key("other"), factory=True),
        authority.policy(other, TERMS, "factory"),
        authority.code(device, (TIER, 1)),
        authority.policy(device, TERMS, "custom"),
        authority.rotation(device, authority.anchor),
    ][number]
    reason = ["wrong-key", "wrong-addressee", "document", "document", "document"][number]
    before = device.state
    decision = device.do(InstallFactory(authority.file(authority.code(device, (HSEC, 1), factory=True), bad)))
    assert (decision.reply.reason, decision.reply.code) == (reason, CODES[reason])
    assert decision.events == ()
    assert device.state == before


@pytest.mark.parametrize("content", [b"", b"<smartLicense/>", b"nonsense", b"{}"])
def test_what_is_no_factory_file(device: Device, content: bytes) -> None:
    decision = device.do(InstallFactory(content))
    assert decision.reply.reason in ("no-document", "malformed")
    assert decision.events == ()


def test_after_the_first_start_it_is_too_late(authority: Authority, device: Device) -> None:
    content = authority.file(*documents(authority, device))
    device.start()
    with pytest.raises(ValueError, match="before the first Start"):
        device.do(InstallFactory(content))
    device.stop()
    with pytest.raises(ValueError, match="before the first Start"):
        device.do(InstallFactory(content))


def test_what_the_authority_sends_takes_its_place(authority: Authority, device: Device) -> None:
    """Trust code and policy give way as always; what was bought stays known when its code goes, and after a reset."""
    put_in(device, authority.file(*documents(authority, device)))
    device.start()
    purchased = device.state.purchased
    device.install(authority.file(authority.trust_code(device), authority.code(device, (TIER, 1))), after=10)
    assert device.state.trust is not None
    assert not device.state.trust.factory
    assert device.state.authorization.confirmation
    device.do(ReturnAuthorization(), after=10)
    assert device.state.purchased == purchased
    device.do(PrepareReset(discard=True))
    device.do(FactoryReset())
    assert (device.state.purchased, set(device.state.policies)) == (purchased, {"factory"})
    assert State.from_json(device.state.to_json()) == device.state


def test_an_import_later_says_the_same(authority: Authority, device: Device) -> None:
    """A factory's code that is imported in the field is a code like others, and tells what was bought."""
    device.start()
    device.install(authority.file(replace(authority.code(device, (HSEC, 1)), factory=True)))
    assert [entry.count for entry in device.state.purchased] == [1]
