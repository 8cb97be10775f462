"""What a run found, as a document and as a page for people."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from soak.ledger import UTTERANCE, Sent

from .run import Outcome

MOST_SHOWN = 20
CALM = "calm"


def summary(outcome: Outcome) -> dict[str, Any]:
    """Everything, as JSON can hold it."""
    ledger, watch = outcome.ledger, outcome.watch
    fates, lost = ledger.account()
    alone = watch.alone()
    kinds: dict[str, dict[str, int]] = defaultdict(dict)
    for (kind, fate), count in sorted(fates.items()):
        kinds[kind][fate] = count
    return {
        "seed": outcome.plan.seed,
        "satellites": outcome.plan.satellites,
        "seconds": round(outcome.seconds),
        "faults": dict(sorted(Counter(each.what for each in outcome.done).items())),
        "messages": len(ledger.sent),
        "deliveries": sum(len(sent.got) for sent in ledger.sent.values()),
        "connections": sum(map(len, ledger.stays.values())),
        "fates": kinds,
        "answer_ms": answers(outcome),
        "memory_kb": {"least": min(watch.memory_kb), "most": max(watch.memory_kb), "growth": watch.growth_kb()},
        "descriptors": dict(zip(("before", "after"), outcome.files, strict=True)),
        "creep": {"kb": watch.creep_kb, "seconds": watch.quiet_s},
        "traffic_alone": {
            "messages": alone[-1][0] - alone[0][0] if alone else 0,
            "seconds": len(alone),
            "kb_per_1000_messages": watch.slope(),
            "blocks_per_message": watch.kept_blocks(),
        },
        "memory_by_messages": watch.intervals(),
        "memory_kb_by_second": watch.memory_kb,
        "most_descriptors": max(watch.descriptors),
        "own_pauses": len(ledger.pauses),
        "alone": outcome.alone.done,
        "lost": lost,
        "wrong": [*outcome.wrong, *outcome.alone.failures],
    }


def has_failed(found: dict[str, Any]) -> bool:
    """Tell whether anything is in it that must not be."""
    return bool(found["lost"] or found["wrong"])


def answers(outcome: Outcome) -> dict[str, dict[str, float]]:
    """How long answers took, by what was being done to the hub when the question was asked."""
    times: dict[str, list[float]] = defaultdict(list)
    for sent in outcome.ledger.sent.values():
        if sent.kind == UTTERANCE and sent.got:
            (came,) = sent.got.values()
            times[_meanwhile(outcome, sent)].append((came - sent.at) * 1000)
    return {what: _spread(found) for what, found in sorted(times.items())}


def _meanwhile(outcome: Outcome, sent: Sent) -> str:
    return next((each.what for each in outcome.done if each.start <= sent.at <= each.end), CALM)


def _spread(times: list[float]) -> dict[str, float]:
    found = sorted(times)
    p99 = found[min(len(found) - 1, len(found) * 99 // 100)]
    return {"n": len(found), "p50": round(statistics.median(found), 1), "p99": round(p99, 1), "max": round(found[-1])}


def text(found: dict[str, Any]) -> str:
    """The same for a person."""
    memory, files = found["memory_kb"], found["descriptors"]
    lines = [
        f"seed {found['seed']}: {found['satellites']} satellites, {found['seconds']} s,"
        f" {sum(found['faults'].values())} faults, {found['connections']} connections,"
        f" {found['messages']} messages, {found['deliveries']} deliveries",
        "",
    ]
    for kind, fates in found["fates"].items():
        lines.append(f"  {kind:11}" + ", ".join(f"{fate} {count}" for fate, count in fates.items()))
    lines += [
        "",
        f"  memory {memory['least'] / 1024:.0f} to {memory['most'] / 1024:.0f} MB, growth {memory['growth']} kB,"
        f" {found['creep']['kb']} kB of it in {found['creep']['seconds']} s of nothing but traffic;"
        f" descriptors {files['before']} before, {files['after']} after, {found['most_descriptors']} at most;"
        f" this process stood still {found['own_pauses']} times",
        "",
        "  answers, ms:",
    ]
    if (alone := found["traffic_alone"])["messages"]:
        lines.insert(
            -2,
            f"  memory in {alone['messages']} messages of nothing but traffic, {alone['seconds']} s:"
            f" {alone['kb_per_1000_messages']:+g} kB a thousand, {alone['blocks_per_message']:+g} objects each",
        )
    lines += [
        f"  {what:24}{times['n']:7} times, p50 {times['p50']:g}, p99 {times['p99']:g}, max {times['max']}"
        for what, times in found["answer_ms"].items()
    ]
    lines += ["", "  hubs of their own:", *(f"  {line}" for line in found["alone"])]
    for title in ("lost", "wrong"):
        lines += ["", f"  {title}: {len(found[title])}", *(f"    {each}" for each in found[title][:MOST_SHOWN])]
    return "\n".join([*lines, "", "FAILED" if has_failed(found) else "passed"])


def save(found: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
