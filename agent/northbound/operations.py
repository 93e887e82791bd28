"""The RPCs of slp-agent as kernel commands, input and output through their binding classes. Decides nothing.

Refused requests are normal replies whose return-code says why; which one is the kernel's table (docs/licensing.md).
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.core.access import Access
from agent.core.aside import Steps, Together
from agent.core.providers import Operation
from agent.core.sessions import Session
from agent.core.tree import Tree
from agent.errors import refuse
from agent.formats.udi import Udi
from agent.licensing.commands import CloseReports, ImportContent, RecordUsage
from agent.licensing.engine import Reply
from agent.licensing.profile import Profile
from agent.licensing.refusals import SUCCESS
from agent.northbound.access import ADMIN
from agent.northbound.bound import Bindings
from agent.northbound.calls import Call, answered, through
from agent.northbound.commit import Committer
from agent.northbound.settings import SettingsProvider

LONG = 64 * 1024
"""Bytes of a file: checking them takes 3 ms."""


class Operations:
    """The three RPCs. All run on the core thread."""

    def __init__(
        self, bindings: Bindings, committer: Committer, settings: SettingsProvider, profile: Profile, access: Access
    ) -> None:
        self._bindings = bindings
        self._committer = committer
        self._settings = settings
        self._profile = profile
        self._access = access

    def table(self) -> Mapping[str, Operation]:
        """By schema path, for `agent.core.dispatch.Providers`."""
        calls: dict[str, Call] = {
            "/slp-agent:record-usage": self._record_usage,
            "/slp-agent:close-reports": self._close_reports,
            "/slp-agent:import-code": self._import_code,
        }
        return {path: through(self._bindings, path, call) for path, call in calls.items()}

    def _record_usage(self, given: Tree, session: Session) -> Steps:
        user, name = session.user, given["license"]
        if ADMIN not in self._access.groups(user):
            licence = self._profile.find(name)
            names = {name} if licence is None else {licence.name, licence.feature_name, licence.entitlement_tag}
            if not self._settings.recorders.permits(user.name, *names):
                raise refuse(
                    "access-denied",
                    f"local user {user.name} may not record {name}: an administrator can add it to the user's "
                    "slp-agent:recorder entry in the configuration",
                    type="protocol",
                )
        added, removed = (
            tuple(Udi.from_key(key) for key in given.get(f"{which}-peripheral", ())) for which in ("added", "removed")
        )
        command = RecordUsage(name, given["count"], user.name, added, removed)
        reply: Reply = yield Together(command, self._committer.serve_all)
        return answered(reply)

    def _close_reports(self, given: Tree, session: Session) -> Tree:  # noqa: ARG002 - it has no input
        reply = self._committer.serve(CloseReports(session.user.name))
        keys = list(reply.report_keys)
        message = f"{len(keys)} report{'' if len(keys) == 1 else 's'} closed"
        return {"return-code": reply.code, "message": message, "closed-count": len(keys), "rum-report-key": keys}

    def _import_code(self, given: Tree, session: Session) -> Steps:
        return importing(self._committer, given["content"].encode(), session)


def importing(committer: Committer, content: bytes, session: Session) -> Steps:
    """Install a file of the authority; a long one is checked beside the core thread first."""
    checked = None
    if len(content) > LONG:
        checked = yield lambda: committer.check(content)
    return imported(committer.serve(ImportContent(content, session.user.name, checked)))


def imported(reply: Reply) -> Tree:
    """The output of an import."""
    documents = [
        {"index": index, "type": each.kind, "return-code": each.code, "message": each.message}
        for index, each in enumerate(reply.documents)
    ]
    tree: Tree = {"return-code": reply.code, "document": documents}
    if reply.code != SUCCESS:
        tree["message"] = reply.message
    if reply.confirmation_codes:
        tree["confirmation-codes"] = ", ".join(reply.confirmation_codes)
    return tree
