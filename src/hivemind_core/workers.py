"""Slow work off the loop: one thread for the database, a small rationed pool for key derivation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

KEY_THREADS = 2
MAX_WAITING_KEYS = 512


class Busy(Exception):
    """Too much of this work is waiting already."""


class Workers(Protocol):
    """Runs blocking calls for the hub."""

    async def database(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call in the database's one thread, in order."""

    async def derive(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a key derivation. Raises Busy when too many wait."""

    def stop(self) -> None:
        """Finish what was begun and end the threads."""


class ThreadWorkers:
    """`Workers` on threads."""

    def __init__(self, max_waiting_keys: int = MAX_WAITING_KEYS) -> None:
        self.waiting = {"database": 0, "keys": 0}
        """Calls that are not through yet, those under way included."""
        self._database = ThreadPoolExecutor(1, "hive-db")
        self._keys = ThreadPoolExecutor(KEY_THREADS, "hive-keys")
        self._room = max_waiting_keys + KEY_THREADS

    async def database(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.waiting["database"] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._database, lambda: call(*args, **kwargs))
        finally:
            self.waiting["database"] -= 1

    async def derive(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._room <= 0:
            raise Busy
        self._room -= 1
        self.waiting["keys"] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._keys, lambda: call(*args, **kwargs))
        finally:
            self._room += 1
            self.waiting["keys"] -= 1

    def stop(self) -> None:
        self._keys.shutdown(wait=False, cancel_futures=True)
        self._database.shutdown(wait=True)
