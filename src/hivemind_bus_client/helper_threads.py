"""Threads for what would hold up an event loop: a password's key, a file, the name of a host."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class HelperThreads(ThreadPoolExecutor):
    """Runs each call in a daemon thread of its own.

    The pools of the standard library take no call any more once the main thread has ended, though a program may live on
    in its other threads; and a loop that is given a pool wants it to be one of them.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self._busy: set[threading.Thread] = set()

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Begin a call; its result will be in what is returned."""
        future: Future[R] = Future()
        call = partial(fn, *args, **kwargs)
        thread = threading.Thread(target=self._run, args=(future, call), name="hivemind-helper", daemon=True)
        self._busy.add(thread)
        thread.start()
        return future

    def _run(self, future: Future[Any], call: Callable[[], Any]) -> None:
        try:
            if future.set_running_or_notify_cancel():
                future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - whoever waits for the call is told
            future.set_exception(error)
        finally:
            self._busy.discard(threading.current_thread())

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the calls that run, if ``wait``."""
        super().shutdown(wait=wait, cancel_futures=cancel_futures)
        for thread in list(self._busy) if wait else ():
            thread.join()
