"""What to do with the result of a call that may have been a coroutine function, where nobody can await it."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any

LOG = logging.getLogger(__name__)

_tasks: set[asyncio.Task[None]] = set()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop of this thread, if one runs."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def settle(result: Any, home: asyncio.AbstractEventLoop | None = None) -> None:
    """See to it that a coroutine runs; other results are none of its business.

    It becomes a task of this thread's loop, else of the loop ``home``, else it is run to its end here. Failures are
    logged.
    """
    if not inspect.iscoroutine(result):
        return
    loop = running_loop()
    if loop is not None:
        _tasks.add(task := loop.create_task(_logged(result)))
        task.add_done_callback(_tasks.discard)
    elif home is not None and home.is_running():
        asyncio.run_coroutine_threadsafe(_logged(result), home)
    else:
        asyncio.run(_logged(result))


def call_at(home: asyncio.AbstractEventLoop | None, func: Callable[..., Any], *args: Any) -> None:
    """Call a function in the loop ``home``, soon if this is another thread; without a running one, here and now."""
    if home is None or running_loop() is home or not home.is_running():
        func(*args)
    else:
        home.call_soon_threadsafe(func, *args)


async def _logged(coroutine: Coroutine[Any, Any, Any]) -> None:
    try:
        await coroutine
    except Exception:
        LOG.exception("a coroutine failed")
