"""One connection to a hub, from dialling to its end: it carries a `Link`'s frames over a `Wire` and tells its
events.

Reading, writing and the admission ping are three tasks, so nothing that waits holds up another: the writer
alone touches the wire's sending side, which keeps frames in the order in which they were encrypted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .exceptions import NotConnected, NotOpen
from .link import ClientTerms, Event, KeyNeeded, Link, Malformed, Opened, Received, Refused
from .reconnect import NO_STATUS, Ended, read_close
from .refusals import REFUSALS, Refusal
from .tasks import end_tasks
from .wire import DialFailed, Wire, WireClosed, text_of

if TYPE_CHECKING:
    from .message import HiveMessage

LOG = logging.getLogger(__name__)

LONG_MESSAGE = 64 * 1024
ADMISSION_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Reports:
    """Who is told of what happens; all are called on the loop."""

    derive: Callable[[str], Awaitable[bytes | None]]
    """Asked for the pre-shared key that belongs to a hub's node id."""
    admitted: Callable[[Opened], Awaitable[None]]
    """The hub has accepted this satellite."""
    received: Callable[[HiveMessage, int], None]
    """A message came in that takes so many bytes."""


class Connection:
    """Made for one attempt; `run` tells how it ended."""

    def __init__(self, dial: Callable[[], Awaitable[Wire]], terms: ClientTerms, reports: Reports) -> None:
        self._dial = dial
        self._terms = terms
        self._reports = reports
        self._wire: Wire | None = None
        self._link: Link | None = None
        self._pattern = ""
        self._opened = False
        self._admitted_at: float | None = None
        self._refused: tuple[Refusal, str] | None = None
        self._unsent: deque[tuple[bytes | str, asyncio.Future[None] | None]] = deque()
        self._something_to_send = asyncio.Event()
        self._helpers: list[asyncio.Task[None]] = []

    async def run(self) -> Ended:
        """Connect and carry messages until the connection ends."""
        try:
            self._wire = await self._dial()
        except DialFailed as failed:
            return Ended(refusal=failed.refusal, detail=failed.detail)
        try:
            return await self._carry(self._wire)
        finally:
            await self._finish()

    async def _carry(self, wire: Wire) -> Ended:
        self._link = Link.client(self._terms, time.monotonic())
        self._start(self._write(wire))
        try:
            while self._refused is None:
                await self._handle(await self._next_events(wire, self._link))
        except WireClosed as closed:
            refusal = read_close(closed.code, closed.reason, self._pattern, self._opened, self._admitted_at is not None)
            if refusal is None and closed.code == NO_STATUS and not self._link.is_greeted:
                refusal = REFUSALS["no_greeting"]
            return self._ended(closed.code, refusal, closed.reason or text_of(closed))
        return self._ended(0, *self._refused)

    def _ended(self, code: int, refusal: Refusal | None, detail: str) -> Ended:
        stood_s = 0.0 if self._admitted_at is None else time.monotonic() - self._admitted_at
        admitted = self._admitted_at is not None
        return Ended(admitted, self._opened, self._pattern, code, refusal, detail, stood_s=stood_s)

    @property
    def _wire_in_use(self) -> Wire:
        if self._wire is None:
            raise NotConnected("the connection is not open")
        return self._wire

    def _start(self, work: Awaitable[None]) -> None:
        self._helpers.append(asyncio.ensure_future(self._until_closed(work)))

    async def _until_closed(self, work: Awaitable[None]) -> None:
        """Run a helper; that the connection has closed is the reader's business, any other failure closes it."""
        try:
            await work
        except (WireClosed, NotConnected):
            return
        except Exception:
            LOG.exception("the connection fails")
            await self.close()

    async def _next_events(self, wire: Wire, link: Link) -> list[Event]:
        """Wait for a frame or for the link's deadline, whichever is first."""
        deadline = link.deadline()
        try:
            if deadline is None:
                frame = await wire.receive()
            else:
                frame = await asyncio.wait_for(wire.receive(), max(0.0, deadline - time.monotonic()))
        except asyncio.TimeoutError:
            return link.tick(time.monotonic())
        return link.receive(frame, time.monotonic())

    async def _handle(self, events: list[Event]) -> None:
        waiting = deque(events)
        while waiting:
            event = waiting.popleft()
            if isinstance(event, Received):
                self._reports.received(event.message, event.weight)
                if event.weight > LONG_MESSAGE:
                    await asyncio.sleep(0)  # with more of them at hand nobody else would have a turn
            elif isinstance(event, KeyNeeded):
                waiting.extend(await self._answer(event))
            elif isinstance(event, Opened):
                self._opened, self._pattern = True, event.pattern
                self._wire_in_use.agreed(event.version)
                self._start(self._admission(event, self._queue()))
            elif isinstance(event, Refused):
                self._refused = (REFUSALS[event.code], event.reason)
            elif isinstance(event, Malformed):
                LOG.warning("a message from the hub could not be read: %s", event.reason)
        if self._admitted_at is None:
            self._queue()

    async def _answer(self, event: KeyNeeded) -> list[Event]:
        link = self._link
        if link is None:
            return []
        self._pattern = link.pattern
        if event.compute is not None:
            key: bytes | None = await asyncio.to_thread(event.compute)
        else:
            key = await self._reports.derive(event.node_id)
        return link.key_derived(key, time.monotonic())

    def _queue(self) -> asyncio.Future[None] | None:
        """Give what the link has to send to the writer; the future resolves when all of it was sent."""
        frames = self._link.frames_to_send() if self._link is not None else []
        if not frames:
            return None
        done = asyncio.get_running_loop().create_future()
        self._unsent.extend((frame, None) for frame in frames[:-1])
        self._unsent.append((frames[-1], done))
        self._something_to_send.set()
        return done

    async def _write(self, wire: Wire) -> None:
        while True:
            while self._unsent:
                frame, done = self._unsent[0]
                await wire.send(frame)
                self._unsent.popleft()
                if done is not None and not done.done():
                    done.set_result(None)
            self._something_to_send.clear()
            await self._something_to_send.wait()

    async def _admission(self, opened: Opened, hello_sent: asyncio.Future[None] | None) -> None:
        """After HELLO: make sure that the hub has not refused us (docs/protocol.md 7.9)."""
        if hello_sent is not None:
            await hello_sent
        wire = self._wire_in_use
        try:
            await asyncio.wait_for(wire.confirm(), ADMISSION_TIMEOUT_S)
        except asyncio.TimeoutError:
            await wire.close()
            return
        self._admitted_at = time.monotonic()
        await self._reports.admitted(opened)

    async def send(self, message: HiveMessage) -> None:
        """Encrypt a message and wait until it was handed over, which happens even if the wait is cancelled.

        Raises NotConnected if the connection ends before that; what the link cannot encode raises as it says
        there.
        """
        if self._link is None:
            raise NotConnected("the connection is not open")
        try:
            self._link.send(message)
        except NotOpen as error:
            raise NotConnected(str(error)) from None
        done = self._queue()
        if done is not None:
            await asyncio.shield(done)

    async def ping(self) -> None:
        """Wait until the hub has read all that was sent before. Raises NotConnected if the connection ends."""
        try:
            await self._wire_in_use.confirm()
        except WireClosed as error:
            raise NotConnected(f"the connection was lost: {error}") from None

    async def close(self) -> None:
        """End the connection, in order if the hub takes part in it within 2 s; `run` returns then."""
        if self._wire is not None:
            await self._wire.close()

    async def _finish(self) -> None:
        await end_tasks(self._helpers)
        for _, done in self._unsent:
            if done is not None and not done.done():
                done.set_exception(NotConnected("the connection was lost before the message was sent"))
                done.exception()
        self._unsent.clear()
        self._link = None
        await self.close()
