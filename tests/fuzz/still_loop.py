"""An event loop without a clock and without sockets: time passes when everybody waits, at once, and work is counted."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

MAX_TURNS = 20_000
"""Turns of the loop for one input: far more than any needs."""
SERVER = ("192.0.2.1", 5678)
VISITOR = ("203.0.113.7", 40_000)


class TooMuchWork(AssertionError):
    """An input keeps the loop busy, or leaves somebody waiting for what never comes."""


class _Selector(selectors.SelectSelector):
    """Nothing ever happens outside; waiting makes the time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.turns = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.turns += 1
        if timeout is None:
            raise TooMuchWork("everybody waits, and nobody ever wakes them")
        if self.turns > MAX_TURNS:
            raise TooMuchWork(f"more than {MAX_TURNS} turns of the loop")
        self.now += max(0.0, timeout)
        return []


class _Listening:
    """What a transport that listens is given."""

    def getsockname(self) -> tuple[str, int]:
        return SERVER

    @property
    def sockets(self) -> list[_Listening]:
        return [self]

    def close(self) -> None:
        return None


class StillLoop(asyncio.SelectorEventLoop):
    """See the module; `server` makes the protocol of a connection to whoever listens."""

    def __init__(self) -> None:
        self._still = _Selector()
        super().__init__(self._still)
        self.server: Callable[[], asyncio.Protocol]
        self.problems: list[BaseException] = []
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self._still.now

    async def create_server(self, protocol_factory: Any, *args: Any, **kwargs: Any) -> Any:
        self.server = protocol_factory
        return _Listening()

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.problems.append(context.get("exception") or AssertionError(context["message"]))

    def check(self) -> None:
        """Raise what was raised where nobody awaited it."""
        if self.problems:
            raise self.problems[0]


@contextmanager
def still_loop() -> Iterator[StillLoop]:
    """A loop for one input; what is left on it at the end is cancelled."""
    loop = StillLoop()
    asyncio.set_event_loop(loop)
    try:
        yield loop
        _cancel_all(loop)
        loop.check()
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _cancel_all(loop: StillLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    for result in loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True)):
        if isinstance(result, Exception):
            loop.problems.append(result)


def run_still(work: Callable[[StillLoop], Awaitable[None]]) -> None:
    """Run a coroutine on a loop of its own."""
    with still_loop() as loop:
        loop.run_until_complete(work(loop))  # type: ignore[arg-type]


class MemoryTransport(asyncio.Transport):
    """One end of a TCP connection; what is written to it is kept."""

    def __init__(self, loop: StillLoop, remote: tuple[str, int] = VISITOR) -> None:
        super().__init__({"peername": remote, "sockname": SERVER})
        self._loop = loop
        self._closing = False
        self._paused = False
        self._pending: list[bytes] = []
        self.lost = False
        self.written = bytearray()
        self.protocol: Any = loop.server()
        self.protocol.connection_made(self)

    def feed(self, data: bytes) -> None:
        """The other end sends."""
        if self._closing:
            return
        if self._paused:
            self._pending.append(data)
        else:
            self.protocol.data_received(data)

    def hang_up(self) -> None:
        """The other end is gone."""
        if not self._closing:
            self.protocol.eof_received()
            self.close()

    def write(self, data: Any) -> None:
        if not self._closing:
            self.written += data

    def writelines(self, list_of_data: Any) -> None:
        for data in list_of_data:
            self.write(data)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lose)

    abort = close

    def _lose(self) -> None:
        self.lost = True
        self.protocol.connection_lost(None)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        while self._pending and not self._paused and not self._closing:
            self.protocol.data_received(self._pending.pop(0))

    def is_reading(self) -> bool:
        return not self._paused

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol
