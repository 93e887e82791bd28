"""What the figures of `scripts/bench netconf` are held against, and how they are printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bench_netconf import ROWS

Figures = dict[str, Any]
PEERS = ("yuma", "pypi")
NAMES = {"agent": "agent", "ceiling": "ceiling", "yuma": "yuma123", "pypi": "PyPI netconf"}
ELSEWHERE = {
    10: {"small": 2605, "sessions": 60, "at once": 4236, "edit": 1880, "commit": 683},
    10_000: {"small": 10.6, "sessions": 60, "edit": 1880, "commit": 683, "list": 5.5},
}
"""A second, by entries: the better of netopeer2 2.7.0 with sysrepo and clixon, measured once on another machine of 2
cores (November 2026, none of their writes durable). Debian has no packages of them, so no run here has them."""

ELSEWHERE_IDLE = 154
"""KiB for each of netopeer2's idle sessions, from the same measurement."""

OF_CEILING = {"small": 0.5, "list": 0.8}


def aims(report: Figures) -> Iterator[Figures]:
    """Each aim of the project with the figure that it asks for: `ratio` is at least `wanted` where it is met."""
    stored = report["stored"]
    few, many = min(stored), max(stored)
    for row, share in OF_CEILING.items():
        yield _aim(f"{ROWS[row]}, {many:,} stored: of the ceiling", _rate(stored[many], "agent", row),
                   _rate(stored[many], "ceiling", row), share)  # fmt: skip
    yield _aim(f"{ROWS['small']}: {many:,} stored to {few:,}", _rate(stored[many], "agent", "small"),
               _rate(stored[few], "agent", "small"), 0.9)  # fmt: skip
    for count, found in stored.items():
        for row, words in ROWS.items():
            for peer in PEERS:
                if row in found.get(peer, ()):
                    yield _aim(f"{words}, {count:,} stored: {NAMES[peer]}", _rate(found, "agent", row),
                               _rate(found, peer, row), 1)  # fmt: skip
            if rate := ELSEWHERE.get(count, {}).get(row):
                yield _aim(f"{words}, {count:,} stored: the better of netopeer2 and clixon elsewhere",
                           _rate(found, "agent", row), rate, 1)  # fmt: skip
    idle = report["idle"]
    for peer, each in [(NAMES[name], idle[name]["kib_each"]) for name in PEERS if name in idle] + [
        ("netopeer2 elsewhere", ELSEWHERE_IDLE)
    ]:
        # the smaller the better: so the peer's figure is divided by ours
        yield _aim(f"an idle session: {peer}", each, idle["agent"]["kib_each"], 1)


def _rate(found: Figures, name: str, row: str) -> float:
    return float(found[name][row]["per_s"])


def _aim(text: str, one: float, other: float, wanted: float) -> Figures:
    ratio = one / other if other > 0 else float("inf")
    return {"aim": text, "ratio": ratio, "wanted": wanted, "met": ratio >= wanted}


def show(report: Figures, table: Callable[..., None]) -> None:
    """As text, by `table(title, rows, *columns)`."""
    for count, found in report["stored"].items():
        names = [name for name in NAMES if name in found]
        rows = []
        for row, words in ROWS.items():
            best = max((_rate(found, peer, row) for peer in PEERS if row in found.get(peer, ())), default=0.0)
            own, top = _rate(found, "agent", row), _rate(found, "ceiling", row)
            cells = [f"{_rate(found, name, row):,.1f}" if row in found[name] else "-" for name in names]
            rows.append((words, *cells, f"{own / best:.2f}" if best else "-", f"{own / top:.2f}"))
        table(f"{count:,} reports stored: a second", rows, "", *(NAMES[name] for name in names), "to best peer",
              "to ceiling")  # fmt: skip
        small = found["agent"]["small"]
        print(f"  a small get of the agent: {small['ms']:.2f} ms; {small['cpu_ms']:.2f} ms of its processor time, "
              f"{small['client_cpu_ms']:.2f} of the client's")  # fmt: skip
    table("Idle sessions", [(NAMES[name], one["sessions"], f"{one['kib_each']:,.0f}", f"{one['seconds']:.2f}",
                             f"{one['before_mib']:.1f}") for name, one in report["idle"].items()],
          "", "sessions", "KiB each", "s to open", "MiB before")  # fmt: skip
    for name, reason in report["absent"].items():
        print(f"{NAMES[name]} was not measured: {reason}")
    table("What others feel meanwhile, ms", [
        (name, *(f"{one[f'{what}_{key}_ms']:.1f}" for what in ("get", "edit") for key in ("p50", "p99", "max")),
         f"{one['growth_mib']:.1f}", one["done"]) for name, one in report["attacks"].items()],
        "", "get p50", "p99", "max", "edit p50", "p99", "max", "growth MiB", "attacks")  # fmt: skip
    table("Aims", [(one["aim"], f"{one['ratio']:.2f}", f"{one['wanted']:g}", "met" if one["met"] else "missed")
                   for one in report["aims"]], "the agent to", "ratio", "wanted", "")  # fmt: skip
