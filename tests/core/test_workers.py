from __future__ import annotations

import asyncio
import threading

import pytest

from hivemind_core.workers import Busy, ThreadWorkers


async def test_database_calls_run_in_one_thread_in_order() -> None:
    workers = ThreadWorkers()
    seen: list[int] = []
    threads = await asyncio.gather(
        *(workers.database(lambda n=n: (seen.append(n), threading.get_ident())[1]) for n in range(20))
    )
    assert seen == list(range(20))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()
    workers.stop()


async def test_derivations_are_rationed() -> None:
    workers = ThreadWorkers(max_waiting_keys=1)
    gate = threading.Event()
    running = [asyncio.ensure_future(workers.derive(gate.wait, 10)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await workers.derive(gate.wait, 10)
    gate.set()
    assert await asyncio.gather(*running) == [True, True, True]
    assert await workers.derive(lambda: "room again") == "room again"
    workers.stop()


async def test_an_error_comes_back_and_frees_the_place() -> None:
    workers = ThreadWorkers(max_waiting_keys=0)

    def fails() -> None:
        raise LookupError("no")

    for _ in range(5):
        with pytest.raises(LookupError):
            await workers.derive(fails)
    workers.stop()
