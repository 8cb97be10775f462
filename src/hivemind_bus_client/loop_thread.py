"""An event loop in a thread of its own, for callers that are threads themselves."""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from .helper_threads import HelperThreads
from .tasks import end_tasks

T = TypeVar("T")

PARTING_S = 1.0
"""How long the end waits for connections that are being closed: over TLS the other side has a word in that."""
PARTING_LOOK_S = 0.005
OWN_SOCKETS = 1
"""A loop watches one itself, by which other threads wake it."""


class LoopThread:
    """Runs coroutines for other threads; runs from the moment it is made until `stop`."""

    def __init__(self, name: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        self._loop.set_default_executor(HelperThreads())
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and return its result; it is cancelled if the caller is interrupted.

        Raises RuntimeError when called on the loop's own thread, where waiting would never end.
        """
        if threading.current_thread() is self.thread:
            work.close()
            raise RuntimeError("this would wait for itself: use the asyncio client in coroutines")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self, timeout_s: float) -> None:
        """End the loop and its thread."""
        if self.thread.is_alive():
            self._loop.call_soon_threadsafe(self._begin_stop)
            if threading.current_thread() is not self.thread:
                self.thread.join(timeout_s)

    def _begin_stop(self) -> None:
        self._stopping = self._loop.create_task(self._wind_up())

    async def _wind_up(self) -> None:
        current = asyncio.current_task()
        await end_tasks(task for task in asyncio.all_tasks() if task is not current)
        await self._loop.shutdown_default_executor()
        await self._see_off()
        self._loop.stop()

    async def _see_off(self) -> None:
        """Wait a little until no connection is left: nobody could close it later."""
        until = self._loop.time() + PARTING_S
        while len(self._selector.get_map()) > OWN_SOCKETS and self._loop.time() < until:  # noqa: ASYNC110 - a selector tells nobody
            await asyncio.sleep(PARTING_LOOK_S)
        await asyncio.sleep(0)
