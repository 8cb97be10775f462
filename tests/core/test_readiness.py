"""Whether the hub is ready, and why not."""

from __future__ import annotations

import pytest

from hivemind_core import readiness
from hivemind_core.readiness import SILENT_S, Part

READY = [
    readiness.database("", 0.4),
    readiness.agent("ovos", available=True),
    readiness.transports(serving=True, unbound=[]),
    readiness.upstream(available=True),
    readiness.cluster(available=True),
]
NOT_READY = [
    (readiness.database("the disk is gone", 0.4), "the disk is gone"),
    (readiness.database("", SILENT_S + 2), "has not answered for 12 s"),
    (readiness.database("", 0.4, "it is read-only"), "it is read-only"),
    (readiness.database("the disk is gone", 0.4, "it is read-only"), "the disk is gone"),
    (readiness.agent("ovos", available=False), "(ovos) cannot be reached"),
    (readiness.transports(serving=False, unbound=[]), "starting or stopping"),
    (readiness.transports(serving=True, unbound=["Port 1 is in use.", "Port 2 is, too."]), "Port 1 is in use. Port 2"),
]
WITHOUT = [(readiness.upstream(available=False), "not joined"), (readiness.cluster(available=False), "Redis")]


def test_with_all_parts_it_is_ready() -> None:
    assert readiness.is_ready(READY)
    told = readiness.document(READY)
    assert told["ready"] is True
    assert list(told["parts"]) == ["database", "agent", "transports", "upstream", "cluster"]
    assert {part["reason"] for part in told["parts"].values()} == {""}


@pytest.mark.parametrize(("part", "why"), NOT_READY)
def test_without_one_it_is_not_and_says_why(part: Part, why: str) -> None:
    told = readiness.document([*(each for each in READY if each.name != part.name), part])
    assert told["ready"] is False
    assert why in told["parts"][part.name]["reason"]
    assert [name for name, each in told["parts"].items() if not each["ready"]] == [part.name]


@pytest.mark.parametrize(("part", "why"), WITHOUT)
def test_satellites_are_served_without_these(part: Part, why: str) -> None:
    told = readiness.document([*READY[:3], part])
    assert told["ready"] is True
    assert told["parts"][part.name] == {"ready": False, "required": False, "reason": part.reason}
    assert why in part.reason
