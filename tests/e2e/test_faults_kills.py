"""`kill -9` at random moments, while everything is written that a hub keeps: what was acknowledged is there.

`make soak` goes on with this for as long as asked.
"""

from __future__ import annotations

import random

import pytest

from helpers.fault_scene import JSON, SQLITE, FaultScene, answered
from helpers.kill_rounds import KillRounds
from helpers.processes import Children

ROUNDS = 2
SEEDS = {SQLITE: 1, JSON: 2}


@pytest.mark.parametrize("store", SEEDS)
async def test_what_was_acknowledged_is_there(store: str, children: Children) -> None:
    scene = FaultScene(children, store=store, rendezvous={"enabled": True, "max_pending_per_sender": 100_000}).start()
    rounds = KillRounds(scene, random.Random(SEEDS[store]))
    for _ in range(ROUNDS):
        await rounds.one()
        assert rounds.lost == []
    assert rounds.added
    assert rounds.deposited
    assert rounds.pins
    await answered(await rounds.session("key-4"))
    await scene.hang_up()
