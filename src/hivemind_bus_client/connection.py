"""One WebSocket connection to a hub, from dialling to its end: it carries a `Link`'s frames and tells its
events.

Reading, writing and the admission ping are three tasks, so nothing that waits holds up another: the writer
alone touches the socket's sending side, which keeps frames in the order in which they were encrypted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .exceptions import NotConnected, NotOpen
from .link import ClientTerms, Event, KeyNeeded, Link, Malformed, Opened, Received, Refused
from .reconnect import Ended, read_close
from .refusals import REFUSALS, Refusal
from .tasks import end_tasks

if TYPE_CHECKING:
    import ssl

    from websockets.asyncio.client import ClientConnection

    from .message import HiveMessage

LOG = logging.getLogger(__name__)
_WIRE_LOG = logging.getLogger(f"{__name__}.wire")
_WIRE_LOG.setLevel(logging.WARNING)  # below that the library writes the access key, which is in the URL

MAX_FRAME_BYTES = 1 << 20  # docs/protocol.md 7.6: v3 frames hold 65,535 bytes; the clear offer is small too
MAX_LEGACY_FRAME_BYTES = 32 << 20  # below v3 a message is one frame, and no released hub bounds it
MAX_QUEUED = 16  # frames; of those that may be long one, for whoever answers may send 32 MiB before any handshake
LONG_MESSAGE = 64 * 1024
NO_STATUS = 1005  # RFC 6455 7.4.1: a close frame without a code
_WRONG_TIME = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
CLOSE_TIMEOUT_S = 2.0
ADMISSION_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Dial:
    """How to reach the hub."""

    url: str = field(repr=False)
    """Holds the access key."""
    ssl: ssl.SSLContext | None
    keepalive: Mapping[str, float | None]
    """``ping_interval`` and ``ping_timeout`` in seconds."""
    timeout_s: float
    """How long the TCP, TLS and WebSocket handshakes may take together."""
    max_frame_bytes: int = MAX_FRAME_BYTES


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

    def __init__(self, dial: Dial, terms: ClientTerms, reports: Reports) -> None:
        self._dial_plan = dial
        self._terms = terms
        self._reports = reports
        self._socket: ClientConnection | None = None
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
        dialled = await self._dial()
        if dialled is not None:
            return dialled
        try:
            return await self._carry()
        finally:
            await self._finish()

    async def _dial(self) -> Ended | None:
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake, InvalidURI

        class ConnectHere(connect):
            """Goes where it was sent and nowhere else: whoever answers there may name any address."""

            def process_redirect(self, exc: Exception) -> Exception:
                return exc

        plan = self._dial_plan
        try:
            self._socket = await ConnectHere(
                plan.url,
                ssl=plan.ssl,
                compression=None,
                proxy=None,
                user_agent_header=None,
                open_timeout=plan.timeout_s,
                close_timeout=CLOSE_TIMEOUT_S,
                max_size=plan.max_frame_bytes,
                max_queue=MAX_QUEUED if plan.max_frame_bytes <= MAX_FRAME_BYTES else 1,
                logger=_WIRE_LOG,
                ping_interval=plan.keepalive.get("ping_interval") or None,
                ping_timeout=plan.keepalive.get("ping_timeout"),
            )
        except (InvalidHandshake, InvalidURI, UnicodeError) as error:
            return Ended(refusal=REFUSALS["not_a_hub"], detail=_text(error))
        except (OSError, asyncio.TimeoutError) as error:
            return Ended(refusal=REFUSALS[_why_unreachable(error)], detail=_text(error))
        return None

    async def _carry(self) -> Ended:
        from websockets.exceptions import ConnectionClosed

        self._link = Link.client(self._terms, time.monotonic())
        self._start(self._write(self._socket_in_use))
        try:
            while self._refused is None:
                await self._handle(await self._next_events(self._link))
        except ConnectionClosed as closed:
            code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (0, "")
            refusal = read_close(code, reason, self._pattern, self._opened, self._admitted_at is not None)
            if refusal is None and code == NO_STATUS and not self._link.is_greeted:
                refusal = REFUSALS["no_greeting"]
            return self._ended(code, refusal, reason or _text(closed))
        return self._ended(0, *self._refused)

    def _ended(self, code: int, refusal: Refusal | None, detail: str) -> Ended:
        stood_s = 0.0 if self._admitted_at is None else time.monotonic() - self._admitted_at
        admitted = self._admitted_at is not None
        return Ended(admitted, self._opened, self._pattern, code, refusal, detail, stood_s=stood_s)

    @property
    def _socket_in_use(self) -> ClientConnection:
        if self._socket is None:
            raise NotConnected("the connection is not open")
        return self._socket

    def _start(self, work: Awaitable[None]) -> None:
        self._helpers.append(asyncio.ensure_future(self._until_closed(work)))

    async def _until_closed(self, work: Awaitable[None]) -> None:
        """Run a helper; that the connection has closed is the reader's business, any other failure closes it."""
        from websockets.exceptions import ConnectionClosed

        try:
            await work
        except (ConnectionClosed, NotConnected):
            return
        except Exception:
            LOG.exception("the connection fails")
            await self.close()

    async def _next_events(self, link: Link) -> list[Event]:
        """Wait for a frame or for the link's deadline, whichever is first."""
        socket, deadline = self._socket_in_use, link.deadline()
        try:
            if deadline is None:
                frame = await socket.recv()
            else:
                frame = await asyncio.wait_for(socket.recv(), max(0.0, deadline - time.monotonic()))
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
        """Give what the link has to send to the writer; the future resolves when all of it is in the socket."""
        frames = self._link.frames_to_send() if self._link is not None else []
        if not frames:
            return None
        done = asyncio.get_running_loop().create_future()
        self._unsent.extend((frame, None) for frame in frames[:-1])
        self._unsent.append((frames[-1], done))
        self._something_to_send.set()
        return done

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            while self._unsent:
                frame, done = self._unsent[0]
                await socket.send(frame)
                self._unsent.popleft()
                if done is not None and not done.done():
                    done.set_result(None)
            self._something_to_send.clear()
            await self._something_to_send.wait()

    async def _admission(self, opened: Opened, hello_sent: asyncio.Future[None] | None) -> None:
        """After HELLO, a ping: its answer says that the hub has not refused us (docs/protocol.md 7.9)."""
        if hello_sent is not None:
            await hello_sent
        socket = self._socket_in_use
        try:
            await asyncio.wait_for(await socket.ping(), ADMISSION_TIMEOUT_S)
        except asyncio.TimeoutError:
            await socket.close()
            return
        self._admitted_at = time.monotonic()
        await self._reports.admitted(opened)

    async def send(self, message: HiveMessage) -> None:
        """Encrypt a message and wait until it is in the socket, which happens even if the wait is cancelled.

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
        from websockets.exceptions import ConnectionClosed

        try:
            await (await self._socket_in_use.ping())
        except ConnectionClosed as error:
            raise NotConnected(f"the connection was lost: {_text(error)}") from None

    async def close(self) -> None:
        """End the connection, in order if the hub takes part in it within 2 s; `run` returns then."""
        if self._socket is None:
            return
        try:
            await asyncio.wait_for(self._socket.close(), CLOSE_TIMEOUT_S + 0.5)
        except asyncio.TimeoutError:  # the hub reads nothing, so not even a close frame leaves
            self._socket.transport.abort()

    async def _finish(self) -> None:
        await end_tasks(self._helpers)
        for _, done in self._unsent:
            if done is not None and not done.done():
                done.set_exception(NotConnected("the connection was lost before the message was sent"))
                done.exception()
        self._unsent.clear()
        self._link = None
        await self.close()


def _why_unreachable(error: Exception) -> str:
    """Return the refusal that fits a failed dial."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return "clock_wrong" if error.verify_code in _WRONG_TIME else "tls_untrusted"
    return "tls_mismatch" if isinstance(error, ssl.SSLError) else "unreachable"


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
