"""The answer to a command, as a frozen value; what it says is decided elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from agent.licensing.permission import Permission
from agent.licensing.refusals import SUCCESS, code


@dataclass(frozen=True, slots=True)
class DocumentResult:
    """What became of one document. `kind` is `file` when the whole file was refused; `reason` is None on success.

    `confirmation_code` is there when the document overwrote an authorization code.
    """

    kind: str
    code: str
    message: str
    reason: str | None = None
    confirmation_code: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a command. `code` is a name of error-enum; `reason` is the table's slug when it was refused.

    `report_ids` and `report_keys` are the reports that the command closed, `documents` what became of an import's,
    `content` a file that the command made, `return_string` that of returned authorization codes.
    """

    code: str = SUCCESS
    message: str = ""
    reason: str | None = None
    report_ids: tuple[int, ...] = ()
    report_keys: tuple[str, ...] = ()
    documents: tuple[DocumentResult, ...] = ()
    content: bytes | None = None
    return_string: str | None = None
    permission: Permission | None = None

    @property
    def confirmation_codes(self) -> tuple[str, ...]:
        """Those of the authorization codes that an import overwrote."""
        return tuple(each.confirmation_code for each in self.documents if each.confirmation_code is not None)


def refusal(reason: str, message: str) -> Reply:
    """A refused command's answer."""
    return Reply(code(reason), message, reason)
