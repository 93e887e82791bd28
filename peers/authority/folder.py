"""The authority's state folder: keys, certificates, account and lab mark, made once by init; no reports, no HTTP."""

from __future__ import annotations

from dataclasses import dataclass
import json
import os
from pathlib import Path
import secrets
import time

from agent.clock import Clock, LabClock, SystemClock
from agent.formats import certificates
from agent.formats.documents import Account
from agent.formats.errors import DocumentError
from agent.formats.signing import LocalSigner
from peers.authority.core import OperatorError

FORMAT = 1
_YEAR = 31_557_600
_LAB_VALIDITY = (946_684_800, 4_102_444_800)  # 2000 to 2100: lab time may begin anywhere


@dataclass(frozen=True)
class Folder:
    """An authority's identity, read from its folder."""

    path: Path
    account: Account
    lab: bool
    anchor: bytes
    """The root certificate (DER), which product instances trust."""
    root: LocalSigner
    certificate: bytes
    """The certificate (DER) of `signer`."""
    signer: LocalSigner
    operator_token: str

    @property
    def database(self) -> Path:
        return self.path / "authority.db"


def create(path: Path, account: Account, lab: bool) -> Folder:
    """Make the folder (0700) with new keys (0600) and anchor.pem. Raises OperatorError when there is one already."""
    if (path / "authority.json").exists():
        raise OperatorError(f"{path} holds an authority already; choose another folder")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        now = int(time.time())
        root, signer = LocalSigner.generate(), LocalSigner.generate()
        begin, end = _LAB_VALIDITY if lab else (now - 86_400, now + 20 * _YEAR)
        name = f"{account.smart_account} {'lab ' if lab else ''}licence authority"[:64]
        anchor = certificates.make_anchor(root, name, begin, end)
        signer_end = end if lab else now + 5 * _YEAR
        certificate = certificates.make_signer(anchor, root, "Document signer", signer.public_key, begin, signer_end)
        _write(path / "root.key", root.to_pem(), 0o600)
        _write(path / "signer.key", signer.to_pem(), 0o600)
        _write(path / "operator.token", secrets.token_urlsafe(32).encode("ascii"), 0o600)
        _write(path / "anchor.pem", certificates.to_pem(anchor), 0o644)
        _write(path / "signer.pem", certificates.to_pem(certificate), 0o644)
        about = {"format": FORMAT, "lab": lab, **account._asdict()}
        # Last, because its presence says that the folder is whole.
        _write(path / "authority.json", json.dumps(about, indent=2).encode(), 0o644)
    except OSError as error:
        raise OperatorError(f"{path} cannot be written: {error.strerror}") from None
    return load(path)


def load(path: Path) -> Folder:
    """Read a folder. Raises OperatorError that says what is missing or damaged."""
    try:
        about = json.loads((path / "authority.json").read_text("utf-8"))
        if about["format"] > FORMAT:
            raise OperatorError(f"{path} is from a newer release (format {about['format']}); use that one")
        (anchor,) = certificates.read_anchors((path / "anchor.pem").read_bytes())
        signer_pem = (path / "signer.pem").read_bytes()
        return Folder(
            path=path,
            account=Account(about["smart_account"], about["virtual_account"]),
            lab=about["lab"],
            anchor=anchor,
            root=LocalSigner.from_pem((path / "root.key").read_bytes()),
            certificate=certificates.from_pem(signer_pem),
            signer=LocalSigner.from_pem((path / "signer.key").read_bytes()),
            operator_token=(path / "operator.token").read_text("ascii").strip(),
        )
    except FileNotFoundError as error:
        raise OperatorError(f"{error.filename} is missing; make the folder with: slp-peer authority init") from None
    except OSError as error:
        raise OperatorError(f"{error.filename} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, DocumentError) as error:
        raise OperatorError(f"{path} is damaged ({error!r:.200}); restore it from a backup") from None


def clock_for(folder: Folder, rate: float | None, start: float | None) -> Clock:
    """The clock of this run; a lab clock goes on from where it stood when it is given the same two values again.

    Raises OperatorError for a lab clock in a production folder, or a rate that is not above 0.
    """
    if rate is None and start is None:
        return SystemClock()
    if not folder.lab:
        raise OperatorError(f"{folder.path} is a production authority; lab clocks need one made with --lab")
    rate = 1.0 if rate is None else rate
    if not rate > 0:
        raise OperatorError("--lab-clock-rate must be above 0")
    kept = folder.path / "lab-clock.json"
    asked = {"rate": rate, "start": start}
    try:
        stored = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
        if {name: stored.get(name) for name in asked} != asked:
            stored = {**asked, "wall_start": time.time()}
            _write(kept, json.dumps(stored).encode(), 0o644)
        wall_start = float(stored["wall_start"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OperatorError(f"{kept} cannot be used ({error}); remove it to begin lab time anew") from None
    return LabClock(start=wall_start if start is None else start, wall_start=wall_start, rate=rate)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file whole or not at all, never readable by more than `mode` allows."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
