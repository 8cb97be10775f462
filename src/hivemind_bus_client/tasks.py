"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

ASK_AGAIN_S = 3.0


async def end_tasks(tasks: Iterable[asyncio.Task[Any]], ask_again_s: float = ASK_AGAIN_S) -> None:
    """Cancel tasks and wait until all have ended; what they raise is dropped.

    One that goes on is cancelled again: before Python 3.12 `asyncio.wait_for` loses a cancellation that comes in the
    same moment as its result.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=ask_again_s)
        for task in done:
            if not task.cancelled():
                task.exception()
