"""The authority's service, store and HTTP views over a real folder and SQLite file, as senders and operators see it."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path

from flask.testing import FlaskClient
import pytest

from agent.formats import certificates, rum, smartlicense
from agent.formats.documents import Account, Ack, PolicyClass, PolicyTerms, TrustCode
from agent.formats.envelope import Floor, Opened, open_documents
from agent.formats.errors import DocumentError
from peers.authority import folder as folders
from peers.authority.core import OperatorError
from peers.authority.folder import Folder
from peers.authority.http import application
from peers.authority.service import Authority
from peers.authority.store import Store
from tests.formats.authority import DEVICE, NOW, UDI, chain, report

ACCOUNT = Account("Test Corp", "Lab 1")


class FixedClock:
    rate = 1.0

    def now(self) -> float:
        return float(NOW)

    def wall_seconds(self, span: float) -> float:
        return span


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A lab authority, whose certificates are valid at the fixed time; its instances are labs too."""
    return folders.create(tmp_path / "authority", ACCOUNT, lab=True)


@pytest.fixture
def authority(folder: Folder) -> Iterator[Authority]:
    store = Store(folder.database)
    yield Authority(folder, store, FixedClock())
    store.close()


@pytest.fixture
def client(authority: Authority) -> FlaskClient:
    return application(authority).test_client()


@pytest.fixture
def operator(folder: Folder) -> dict[str, str]:
    return {"Authorization": f"Bearer {folder.operator_token}"}


def usage(documents: list[bytes]) -> bytes:
    return smartlicense.write_usage(smartlicense.SystemInfo(UDI, NOW * 1000, "n", "tag"), documents)


def install(folder: Folder, file: bytes, floors: dict[str, Floor] | None = None) -> list[Opened]:
    """What the device does with the answer."""
    anchors = certificates.read_anchors((folder.path / "anchor.pem").read_bytes())
    opening = open_documents(
        file,
        addressee=UDI,
        device_key=DEVICE.public_key,
        anchors=anchors,
        now=NOW,
        skew=3600,
        lab=True,
        floor=(floors or {}).get,
    )
    assert opening.rejected == []
    return opening.opened


LAB = chain(3, lab=True)


def approved(authority: Authority) -> None:
    authority.submit(LAB[:1])
    authority.approve(UDI, force=False)


def test_whole_loop(client: FlaskClient, folder: Folder, operator: dict[str, str]) -> None:
    first = client.post("/v1/usage", data=usage(LAB))
    assert first.status_code == 202
    assert {outcome["reason"] for outcome in first.get_json()["outcomes"]} == {"first-contact"}
    path = f"/v1/instances/{UDI.key}"
    assert client.post(path + "/approve", json={"key_id": DEVICE.key_id}, headers=operator).status_code == 200
    answer = client.post("/v1/usage", data=usage(LAB))
    assert (answer.status_code, answer.mimetype) == (200, "application/xml")
    (opened,) = install(folder, answer.data)
    assert isinstance(opened.document, Ack)
    assert [tuple(entry) for entry in opened.document.acknowledged] == [
        (1001 + index, rum.digest_of(document)) for index, document in enumerate(LAB)
    ]
    assert opened.document.heading.account == ACCOUNT
    assert client.post("/v1/usage", data=usage(LAB)).data == answer.data
    listed = client.get(path + "/reports", headers=operator).get_json()["reports"]
    assert [(entry["sequence"], entry["state"]) for entry in listed] == [
        (1, "accepted"),
        (2, "accepted"),
        (3, "accepted"),
    ]


def test_reports_are_kept_byte_for_byte(authority: Authority, folder: Folder) -> None:
    approved(authority)
    authority.submit(LAB)
    store = Store(folder.database)
    assert store.documents(UDI) == LAB
    store.close()


def test_policy_and_trust_code_travel_with_the_acknowledgement(authority: Authority, folder: Folder) -> None:
    terms = PolicyTerms("Custom", perpetual=PolicyClass(30, 60, 60), ack_required=True)
    authority.set_policy(terms)
    asking = chain(1, lab=True, trust_request=DEVICE.public_key)
    authority.submit(asking)
    authority.approve(UDI, force=False)
    file = authority.submit(asking).file
    assert file is not None
    opened = install(folder, file)
    assert [o.document.kind for o in opened] == ["trust-code", "policy", "acknowledgement"]
    code = opened[0].document
    assert isinstance(code, TrustCode)
    assert (code.key_id, code.not_before) == (DEVICE.key_id, NOW)
    # The next report is signed under the trust code, and the policy and code that come again change nothing.
    later = rum.seal(report(2, rum.digest_of(asking[0]), lab=True), DEVICE, code.certificate)
    floors = {o.document.kind: o.floor for o in opened}
    file = authority.submit([later]).file
    assert file is not None
    assert [(o.document.kind, o.replay) for o in install(folder, file, floors)] == [
        ("policy", True),
        ("acknowledgement", False),
    ]


def test_everything_survives_a_restart(folder: Folder) -> None:
    store = Store(folder.database)
    authority = Authority(folder, store, FixedClock())
    authority.set_policy(PolicyTerms("Kept", export=PolicyClass(1, 2, 3)))
    approved(authority)
    before = authority.submit([LAB[0], LAB[2]])
    instances, policy = authority.instances(), authority.settings().policy
    store.close()
    store = Store(folder.database)
    authority = Authority(folders.load(folder.path), store, FixedClock())
    assert authority.instances() == instances
    assert authority.settings().policy == policy
    assert authority.submit([LAB[0]]).file == before.file
    assert authority.submit([LAB[1]]).count("accepted") == 1
    assert authority.instance(UDI).head.sequence == 3
    store.close()


def test_two_connections_see_each_other(authority: Authority, folder: Folder) -> None:
    """The operator's command works on the folder while the server runs."""
    authority.submit(LAB)
    store = Store(folder.database)
    Authority(folder, store, FixedClock()).approve(UDI, force=False)
    store.close()
    assert authority.submit(LAB).count("accepted") == 3


def test_accept_gap_through_the_service(authority: Authority) -> None:
    approved(authority)
    assert authority.submit(LAB[2:]).count("pending") == 1
    authority.accept_gap(UDI)
    assert authority.submit(LAB[2:]).count("accepted") == 1


def test_refused_reports_do_not_stop_the_others(authority: Authority) -> None:
    approved(authority)
    forged = json.loads(LAB[1])
    forged["payload"] = forged["payload"].replace('"value":"3"', '"value":"1"')
    answer = authority.submit([LAB[0], json.dumps(forged).encode(), b"{"])
    assert [(o["index"], o["result"], o.get("reason")) for o in answer.outcomes] == [
        (0, "accepted", None),
        (1, "refused", "bad-signature"),
        (2, "refused", "malformed"),
    ]
    assert answer.file is not None


def test_production_report_at_a_lab_authority(authority: Authority) -> None:
    answer = authority.submit(chain(1))
    assert (answer.outcomes[0]["reason"], answer.file) == ("lab-mismatch", None)
    assert authority.instances() == []


@pytest.mark.parametrize("form", ["xml", "list of objects", "list of texts", "usage member", "one document"])
def test_forms_of_a_submission(client: FlaskClient, authority: Authority, form: str) -> None:
    approved(authority)
    texts = [document.decode() for document in LAB]
    data = {
        "xml": usage(LAB),
        "list of objects": json.dumps([json.loads(text) for text in texts]).encode(),
        "list of texts": json.dumps(texts).encode(),
        "usage member": json.dumps({"usage": [json.loads(text) for text in texts]}, indent=1).encode(),
        "one document": LAB[0],
    }[form]
    answer = client.post("/v1/usage", data=data, headers={"Accept": "application/json"})
    assert answer.status_code == 200
    body = answer.get_json()
    assert {outcome["result"] for outcome in body["outcomes"]} == {"accepted"}
    assert body["document"].startswith("<smartLicense>")
    assert answer.headers["SLP-Outcomes"].startswith(f"accepted={1 if form == 'one document' else 3},")


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"", 400, "malformed"),
        (b"[]", 400, "no-document"),
        (b'{"usage":[]}', 400, "no-document"),
        (b'{"usage":5}', 400, "malformed"),
        (b"<smartLicense/>", 400, "no-document"),
        (b"[1", 400, "malformed"),
        (b"\xff\xfe", 400, "malformed"),
    ],
)
def test_bad_submissions(client: FlaskClient, data: bytes, status: int, reason: str) -> None:
    answer = client.post("/v1/usage", data=data)
    assert (answer.status_code, answer.get_json()["reason"]) == (status, reason)
    assert answer.get_json()["message"]


def test_all_refused_is_422(client: FlaskClient) -> None:
    answer = client.post("/v1/usage", data=usage([b"{}"]))
    assert answer.status_code == 422
    assert answer.get_json()["outcomes"][0]["reason"] == "malformed"


def test_reports_of_two_instances_are_sent_apart(authority: Authority) -> None:
    other = chain(1, lab=True, udi=UDI.__class__("VR-1000", "OTHER"))
    with pytest.raises(DocumentError, match="several product instances"):
        authority.submit([*LAB, *other])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/v1/account"),
        ("get", "/v1/instances"),
        ("get", f"/v1/instances/{UDI.key}"),
        ("get", f"/v1/instances/{UDI.key}/reports"),
        ("post", f"/v1/instances/{UDI.key}/approve"),
        ("post", f"/v1/instances/{UDI.key}/accept-gap"),
        ("get", "/v1/policy"),
        ("put", "/v1/policy"),
        ("delete", "/v1/policy"),
    ],
)
def test_operator_paths_need_the_token(
    client: FlaskClient, operator: dict[str, str], authority: Authority, method: str, path: str
) -> None:
    authority.submit(LAB)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
        answer = client.open(path, method=method.upper(), headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert client.open(path, method=method.upper(), headers=operator).status_code != 401
    assert authority.instance(UDI).pin is not None or not path.endswith("approve")


def test_policy_over_http(client: FlaskClient, operator: dict[str, str], authority: Authority) -> None:
    body = {"name": "P", "perpetual": {"first": 1}}
    assert client.put("/v1/policy", json=body, headers=operator).status_code == 200
    assert client.get("/v1/policy", headers=operator).get_json()["policy"]["perpetual"] == {"first": 1}
    for bad in ({"name": ""}, {"name": "P", "export": {"first": -1}}, []):
        assert client.put("/v1/policy", json=bad, headers=operator).status_code == 400
    assert authority.settings().policy == PolicyTerms("P", perpetual=PolicyClass(first=1))
    assert client.delete("/v1/policy", headers=operator).get_json() == {"policy": None}
    assert authority.settings().policy is None


def test_unknown_things(client: FlaskClient, operator: dict[str, str]) -> None:
    assert client.get("/v1/nothing").status_code == 404
    assert client.delete("/v1/usage").status_code == 405
    assert client.get("/v1/instances/PID:a,SN:b", headers=operator).status_code == 409
    assert client.post("/v1/instances/x/approve", headers=operator).get_json()["reason"] == "operator"
    assert b"BEGIN CERTIFICATE" in client.get("/v1/anchor").data
    assert client.get("/v1/health").get_json() == {"status": "ok", "time": NOW, "lab": True}


def test_secrets_are_for_the_owner_only(folder: Folder) -> None:
    assert folder.path.stat().st_mode & 0o777 == 0o700
    for name in ("root.key", "signer.key", "operator.token"):
        assert (folder.path / name).stat().st_mode & 0o777 == 0o600
    with pytest.raises(OperatorError, match="already"):
        folders.create(folder.path, ACCOUNT, lab=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("authority.json", None, "is missing"),
        ("authority.json", b"{", "damaged"),
        ("authority.json", b'{"format": 2}', "newer release"),
        ("authority.json", b"{}", "damaged"),
        ("root.key", b"x", "damaged"),
        ("signer.pem", b"x", "damaged"),
        ("anchor.pem", b"", "damaged"),
        ("operator.token", None, "is missing"),
    ],
)
def test_damaged_folder_is_named(folder: Folder, name: str, content: bytes | None, message: str) -> None:
    path = folder.path / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OperatorError, match=message):
        folders.load(folder.path)


def test_database_of_a_newer_release_or_no_database(folder: Folder) -> None:
    folder.database.write_bytes(b"this is no database, but long enough to be looked at" * 100)
    with pytest.raises(OperatorError, match="cannot be opened"):
        Store(folder.database)


def test_lab_clock_goes_on_and_production_has_none(folder: Folder, tmp_path: Path) -> None:
    first = folders.clock_for(folder, 1000.0, 5000.0)
    again = folders.clock_for(folder, 1000.0, 5000.0)
    assert 5000 <= first.now() <= again.now() < 5000 + 60_000
    assert (first.rate, first.wall_seconds(1000.0)) == (1000.0, 1.0)
    assert folders.clock_for(folder, 1.0, 9000.0).now() >= 9000
    with pytest.raises(OperatorError, match="above 0"):
        folders.clock_for(folder, 0.0, None)
    production = folders.create(tmp_path / "production", ACCOUNT, lab=False)
    with pytest.raises(OperatorError, match="--lab"):
        folders.clock_for(production, 10.0, None)
    assert folders.clock_for(production, None, None).rate == 1.0
