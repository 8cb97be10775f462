"""A client's connection to an OVOS message bus: kept up, and never in the way of the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp

from hivemind_bus_client.exceptions import InvalidJson
from hivemind_bus_client.tasks import end_tasks

from ..bus_frames import MAX_FRAME_BYTES, decode, message_of
from ..config import ConfigError
from ..fairness import LONG_S
from .queues import Outbox, QueueLimits, hand_over

if TYPE_CHECKING:
    from . import Deliver

    Socket = aiohttp.ClientWebSocketResponse[Any]

log = logging.getLogger(__name__)

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux alone has it

FLUSH_S = 1.0
"""How long `stop` waits for what is queued."""

CLIENT_QUEUE = QueueLimits(frames=1_000, bytes=32 * 1024 * 1024)

FRAMES_PER_TURN = 64
"""Frames taken from one connection before everything else gets its turn."""


@dataclass(frozen=True)
class BusAddress:
    """Where a message bus is."""

    host: str = "127.0.0.1"
    port: int = 8181
    route: str = "/core"
    ssl: bool = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BusAddress:
        """Read host, port, route and ssl; what is absent keeps its default. Raises ConfigError."""
        host = config.get("host") or cls.host
        route = config.get("route") or cls.route
        if not isinstance(host, str) or not isinstance(route, str):
            raise ConfigError("The agent's host and route must be strings.")
        port = _port(config.get("port", cls.port))
        return cls(host, port, "/" + route.strip("/"), bool(config.get("ssl", cls.ssl)))

    @property
    def url(self) -> str:
        """The address as a WebSocket URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self.ssl else 'ws'}://{host}:{self.port}{self.route}"


def _port(value: Any) -> int:
    digits = str(value)
    if isinstance(value, bool) or not digits.isdecimal() or not 0 < int(digits) < 65536:
        raise ConfigError(f"The agent's port must be a number between 1 and 65535, not {value!r}.")
    return int(digits)


@dataclass(frozen=True)
class BusTuning:
    """Limits and times of a connection."""

    queue: QueueLimits = CLIENT_QUEUE
    connect_s: float = 5.0
    """Longest a connection attempt may take."""
    heartbeat_s: float = 15.0
    """Silence before a ping; the bus is given up when no answer comes within half of that."""
    stall_s: float = 10.0
    """Longest one frame may take to leave."""
    keep_s: float = 5.0
    """Frames that were queued when the connection broke are still sent if it is back within this time."""
    retry_first_s: float = 0.2
    retry_longest_s: float = 5.0

    def backoff(self) -> Backoff:
        """The pauses between attempts to connect."""
        return Backoff(self.retry_first_s, self.retry_longest_s)


class Backoff:
    """Pauses between attempts: each twice the one before, up to the longest, less a random quarter."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def pause(self) -> float:
        """The next pause in seconds."""
        pause_s, self._next_s = self._next_s, min(self._next_s * 2, self._longest_s)
        return pause_s * random.uniform(0.75, 1.0)

    def reset(self) -> None:
        """Begin again with the shortest."""
        self._next_s = self._first_s


class BusConnection:
    """One WebSocket to a bus. It connects again for as long as it is started."""

    def __init__(self, address: BusAddress, tuning: BusTuning, on_up: Callable[[], None] | None = None) -> None:
        self.connected = False
        """Frames can be sent right now."""
        self.backoff = tuning.backoff()
        """Pauses between attempts; may be replaced at any time."""
        self.quiet = False
        """The present outage needs no (further) report."""
        self._address = address
        self._tuning = tuning
        self._on_up = on_up
        self._outbox = Outbox(tuning.queue)
        self._task: asyncio.Task[None] | None = None
        self._ws: Socket | None = None
        self._down_since = 0.0

    @property
    def queued(self) -> int:
        """How many frames wait to be sent."""
        return len(self._outbox)

    def start(self, deliver: Deliver) -> None:
        """Begin to connect; ``deliver`` gets every message of the bus."""
        self._task = asyncio.create_task(self._run(deliver), name=f"message bus {self._address.url}")

    async def stop(self) -> None:
        """Send what is queued, within a second, and disconnect."""
        self.quiet = True
        if self.connected and self._ws is not None:
            await self._outbox.drained(FLUSH_S)
            await _say_goodbye(self._ws)
        if self._task is not None:
            await end_tasks([self._task])
        self._outbox.clear()

    def send(self, frame: bytes) -> bool:
        """Queue a frame; False while disconnected, when the queue is full, or when no bus takes its size."""
        if len(frame) > MAX_FRAME_BYTES:
            log.warning("A frame of %d bytes is more than a message bus takes; it was not sent", len(frame))
            return False
        return self.connected and self._outbox.put(frame)

    async def _run(self, deliver: Deliver) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    await self._connection(session, deliver)
                except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
                    self._report_down(str(error) or "no answer in time")
                except Exception:
                    log.exception("The connection to the message bus at %s failed", self._address.url)
                await asyncio.sleep(self.backoff.pause())

    async def _connection(self, session: aiohttp.ClientSession, deliver: Deliver) -> None:
        opening = session.ws_connect(
            self._address.url, heartbeat=self._tuning.heartbeat_s, max_msg_size=MAX_FRAME_BYTES + 1
        )
        self._ws = ws = await asyncio.wait_for(opening, self._tuning.connect_s)
        with _own_handle(ws) as link:
            send = partial(ws.send_frame, opcode=aiohttp.WSMsgType.TEXT)
            writer = asyncio.create_task(self._outbox.pump(send, partial(_cut, link), self._tuning.stall_s))
            try:
                self._up()
                await self._read(ws, deliver, link)
            finally:
                self._down()
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
                _cut(link)
        self._report_down("it does not answer" if ws.exception() else f"closed with code {ws.close_code}")

    async def _read(self, ws: Socket, deliver: Deliver, link: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        turn, time, acknowledgement = 0, loop.time, _Acknowledgement(link, loop)
        async for frame in ws:
            acknowledgement.send()
            began = time()
            if frame.type is aiohttp.WSMsgType.TEXT or frame.type is aiohttp.WSMsgType.BINARY:
                _take(frame.data, deliver)
            turn += 1
            if turn % FRAMES_PER_TURN == 0 or time() - began >= LONG_S:
                await asyncio.sleep(0)

    def _up(self) -> None:
        if asyncio.get_running_loop().time() - self._down_since > self._tuning.keep_s:
            lost = self._outbox.clear()
            if lost:
                log.warning("The message bus was away too long: %d queued messages were dropped", lost)
        self.connected = True
        self.quiet = False
        self.backoff.reset()
        log.info("Connected to the message bus at %s", self._address.url)
        if self._on_up is not None:
            self._on_up()

    def _down(self) -> None:
        self.connected = False
        self._down_since = asyncio.get_running_loop().time()

    def _report_down(self, reason: str) -> None:
        if not self.quiet:
            log.warning("The message bus at %s is away (%s); trying again", self._address.url, reason)
        self.quiet = True


def _take(data: str | bytes, deliver: Deliver) -> None:
    try:
        message = message_of(decode(data))
    except InvalidJson as error:
        log.debug("Ignored a frame of the message bus: %s", error)
        return
    if message is None:
        log.debug("Ignored a frame of the message bus that is no message")
        return
    hand_over(deliver, message)


def _own_handle(ws: Socket) -> socket.socket:
    """A second handle on the socket: shutting it down ends a send that waits for a stopped peer."""
    link = ws.get_extra_info("socket")
    if link is None:
        raise ConnectionResetError("closed at once")
    return socket.socket(fileno=os.dup(link.fileno()))


class _Acknowledgement:
    """Lets the other end know at once that something came: the bus of OVOS sends by Nagle's rule, which keeps back its
    next frame until then, and a kernel takes 40 ms. It must be asked each time; once for all that came together.
    """

    def __init__(self, link: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self._link = link
        self._loop = loop
        self._is_sent = _QUICKACK is None

    def send(self) -> None:
        """Acknowledge what has come, unless that was done in this turn of the loop."""
        if self._is_sent or _QUICKACK is None:
            return
        self._is_sent = True
        self._loop.call_soon(self._turned)
        try:
            self._link.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        except OSError:
            log.debug("The connection was gone already")

    def _turned(self) -> None:
        self._is_sent = False


def _cut(link: socket.socket) -> None:
    try:
        link.shutdown(socket.SHUT_RDWR)
    except OSError:
        log.debug("The connection was gone already")


async def _say_goodbye(ws: Socket) -> None:
    try:
        await asyncio.wait_for(ws.close(), FLUSH_S)
    except asyncio.TimeoutError:
        log.debug("The message bus did not answer the close frame")
