"""The verdict as text for people, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
import json

from tests.coverage.judge import PARTS, Verdict
from tests.coverage.libyang import OURS
from tests.coverage.seen import ACCEPTED

_WORDS = {"data": "data nodes", "rpc": "RPCs with input and output", "notification": "notifications with members"}


def as_json(verdict: Verdict) -> str:
    """Everything that the text says."""
    modules = {
        module: {
            kind: {"covered": part.covered, "constants": part.constants, "uncovered": part.uncovered}
            for kind in PARTS
            for part in [verdict.parts[module, kind]]
        }
        for module in OURS
    }
    document = {
        "complete": verdict.complete,
        "modules": modules,
        "rpcs": verdict.codes,
        "stale-constants": verdict.stale,
        "enum-values-never-seen": verdict.never,
        "validated": verdict.replies,
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def as_text(verdict: Verdict) -> Iterator[str]:
    """Lines: counts first, then what stands behind them, and the result last."""
    for (module, kind), part in verdict.parts.items():
        counts = f"{part.covered} covered, {len(part.constants)} constant, {len(part.uncovered)} uncovered"
        yield f"{module}, {_WORDS[kind]}: {counts}"
    validated = ", ".join(f"{number} {what}" for what, number in sorted(verdict.replies.items()))
    yield f"validated by libyang and against the published facts: {validated}"
    yield ""
    yield "How the calls ended:"
    for path, codes in verdict.codes.items():
        yield f"  {path}: {', '.join(sorted(codes, key=lambda code: (code not in ACCEPTED, code)))}"
    yield ""
    yield "Constant, with the reason:"
    for part in verdict.parts.values():
        yield from (f"  {path}: {reason}" for path, reason in part.constants.items())
    yield ""
    yield "Values of enumerations that did not occur (not an error):"
    yield from (f"  {path}: {', '.join(values)}" for path, values in verdict.never.items())
    yield ""
    for part in verdict.parts.values():
        yield from (f"uncovered: {path}: {lack}" for path, lack in part.uncovered.items())
    yield from (f"wrong constant: {path} {why}" for path, why in verdict.stale.items())
    yield "Everything is covered or constant." if verdict.complete else "Not everything is covered: see above."
