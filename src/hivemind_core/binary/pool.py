"""Threads for calls that may block for long, or for ever: unlike an executor's, they never keep the hub from ending."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger(__name__)

Call = Callable[[], None]
"""Must not raise."""


class DaemonPool:
    """At most so many threads; they are started when there is work for them, and wait for more."""

    def __init__(self, threads: int, name: str) -> None:
        self._most = threads
        self._name = name
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._started = 0
        self._busy = 0
        self._lock = threading.Lock()

    def submit(self, call: Call) -> None:
        """Run a call as soon as a thread is free, in the order of these calls."""
        with self._lock:
            self._busy += 1
            if self._busy > self._started < self._most:
                self._started += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()
        self._calls.put(call)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - SystemExit and its kin of a plugin would end this thread
                log.warning("a call in the thread %s ended with %r", threading.current_thread().name, error)
            finally:
                with self._lock:
                    self._busy -= 1

    def stop(self) -> None:
        """Let the threads end as soon as their calls have; nothing is waited for."""
        for _ in range(self._started):
            self._calls.put(None)
