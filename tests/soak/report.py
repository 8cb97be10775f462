"""What a run found, for people and as JSON."""

from __future__ import annotations

import itertools
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .faults import Done
from .ledger import CUT, REDIS, Fault, Ledger
from .run import HUBS, Outcome

MOST_SHOWN = 40
AFTER_S = 60.0
"""What happens later is not the end of a fault."""


def summary(outcome: Outcome) -> dict[str, Any]:
    """Everything, as JSON can hold it."""
    ledger, plan = outcome.ledger, outcome.plan
    fates, lost = ledger.account()
    kinds: dict[str, dict[str, int]] = defaultdict(dict)
    for (kind, fate), count in sorted(fates.items()):
        kinds[kind][fate] = count
    return {
        "seed": plan.seed,
        "satellites": plan.satellites,
        "seconds": round(outcome.seconds),
        "faults": len(outcome.done),
        "messages": len(ledger.sent),
        "deliveries": sum(len(sent.got) for sent in ledger.sent.values()),
        "connections": sum(map(len, ledger.stays.values())),
        "fates": kinds,
        "reported_and_delivered": ledger.reported_and_got,
        "timeline": [_line(each) for each in outcome.done],
        "recovery_s": recovery(outcome.done, ledger),
        "lost": lost,
        "wrong": ledger.failures,
        "refused": outcome.refusals,
        "tracebacks": outcome.tracebacks,
    }


def has_failed(found: dict[str, Any]) -> bool:
    """Tell whether anything is in it that must not be."""
    return bool(found["lost"] or found["wrong"] or found["refused"] or found["tracebacks"])


def recovery(done: Iterable[Done], ledger: Ledger) -> dict[str, dict[str, Any]]:
    """For each kind of fault: until satellites were elsewhere, and from its end until hubs reached each other again."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for each in done:
        found[each.what]["number"].append(1)
        found[each.what]["reconnected"] += _reconnected(each.fault, ledger)
        found[each.what]["crossing"] += _crossing(each.fault, ledger)
    return {
        what: {"number": len(times["number"]), **{key: _spread(times[key]) for key in ("reconnected", "crossing")}}
        for what, times in sorted(found.items())
    }


def _reconnected(fault: Fault, ledger: Ledger) -> list[float]:
    """From its begin, for each satellite that lost its hub by it."""
    times: list[float] = []
    if fault.kind in (CUT, REDIS):
        return times
    for stays in ledger.stays.values():
        for before, after in itertools.pairwise(stays):
            if before.hub in fault.hubs and fault.start <= before.down <= fault.end:
                times.append(after.up - fault.start)
    return times


def _crossing(fault: Fault, ledger: Ledger) -> list[float]:
    """From its end until something came from each hub to each other one, where the fault lay between them."""
    firsts: dict[tuple[int, int], float] = {}
    for sent in ledger.sent.values():
        for receiver, at in sent.got.items():
            if fault.end <= at <= fault.end + AFTER_S:
                stay = ledger.stay(receiver, at)
                if stay is not None and stay.hub != sent.hub:
                    pair = (sent.hub, stay.hub)
                    firsts[pair] = min(at, firsts.get(pair, at))
    touched = [pair for pair in firsts if not fault.hubs or fault.hubs & set(pair)]
    return [firsts[pair] - fault.end for pair in touched]


def _line(done: Done) -> str:
    fault = done.fault
    hubs = ", ".join(f"hub {hub}" for hub in sorted(fault.hubs))
    return f"{fault.start % 10_000:.2f}-{fault.end % 10_000:.2f} {done.what} {hubs}".rstrip()


def _spread(times: list[float]) -> dict[str, float] | None:
    if not times:
        return None
    return {"p50": round(statistics.median(times), 2), "max": round(max(times), 2)}


def text(found: dict[str, Any]) -> str:
    """The same for a person."""
    lines = [
        f"seed {found['seed']}: {found['satellites']} satellites at {HUBS} hubs, {found['seconds']} s,"
        f" {found['faults']} faults, {found['connections']} connections,"
        f" {found['messages']} messages, {found['deliveries']} deliveries",
        "",
    ]
    for kind, fates in found["fates"].items():
        lines.append(f"  {kind:11}" + ", ".join(f"{fate} {count}" for fate, count in fates.items()))
    lines += ["", f"  reported, though it came: {found['reported_and_delivered']}", "", "  recovery, s (p50, max):"]
    for what, times in found["recovery_s"].items():
        spans = [f"{key} {_pair(times[key])}" for key in ("reconnected", "crossing") if times[key]]
        lines.append(f"  {what} ({times['number']} times): {'; '.join(spans)}")
    lines += ["", *(f"  {line}" for line in found["timeline"])]
    for title in ("lost", "wrong", "refused", "tracebacks"):
        lines += ["", f"  {title}: {len(found[title])}", *(f"    {each}" for each in found[title][:MOST_SHOWN])]
    return "\n".join(lines)


def _pair(times: dict[str, float]) -> str:
    return f"{times['p50']:g}, {times['max']:g}"


def save(found: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
