from __future__ import annotations

import asyncio

from hivemind_bus_client.tasks import end_tasks


async def forever() -> None:
    await asyncio.Event().wait()


async def loses_a_cancellation() -> None:
    """Goes on once, as a `wait_for` can make a task do."""
    try:
        await forever()
    except asyncio.CancelledError:
        await forever()


async def fails() -> None:
    raise LookupError


async def test_all_tasks_end() -> None:
    tasks = [asyncio.create_task(work()) for work in (forever, loses_a_cancellation, fails)]
    await asyncio.sleep(0)
    await end_tasks(tasks, ask_again_s=0.01)
    assert all(task.done() for task in tasks)


async def test_nothing_to_end() -> None:
    await end_tasks([])
