"""What strangers may make the hub hold: bytes and sockets of connections that have no session yet.

aiohttp fixes the size of a frame when a connection is upgraded, by the access key it brings; but an access key proves
nothing. So what such a connection sends is counted as it comes off the socket, until its session opens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ..limits import neighbourhood
from ..proxies import TrustedProxies, is_loopback
from .turnstile import MANY, Turnstile

log = logging.getLogger(__name__)

MAX_STRANGER_BYTES = 256 * 1024
"""What one connection may send before its session; a handshake takes less than 16 KiB."""
MAX_STRANGERS_BYTES = 64 * 1024 * 1024
"""The same for all of them together; when it is reached, those that sent more than a handshake are cut."""
HANDSHAKE_BYTES = 16 * 1024
REQUEST_WITHIN_S = 10.0
"""How long a connection may take to say what it wants."""
MAX_SILENT = 1024
"""Connections that have not said yet; one more cuts the oldest of them."""
CUT_OFF = "cut_off"
"""What counts a connection that is cut: it is told nothing, since it has said nothing that a hub answers."""
KEPT_S = 75.0
"""How long a connection is kept for a next request."""
_OPTIONS: dict[str, Any] = {
    "access_log": None,  # the query carries access keys
    "lingering_time": 0.0,  # nobody's body is of interest
    "keepalive_timeout": KEPT_S,
    "auto_decompress": False,  # what is small on the wire must not become large here
}
NO_PROXIES = TrustedProxies()
Answer: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Strangers:
    """All connections of a server that have no session."""

    def __init__(
        self,
        told: Callable[[str], None] | None = None,
        turnstile: Turnstile | None = None,
        proxies: TrustedProxies = NO_PROXIES,
    ) -> None:
        """`told` counts each connection that is cut, by the code `cut_off`; `proxies` stand for many strangers each."""
        self.turnstile = turnstile or Turnstile()
        """Whose turn it is to be read for the first time."""
        self._proxies = proxies
        self.bytes_held = 0
        self.told = told
        self._silent: dict[Intake, None] = {}

    def enter(self, connection: Intake) -> None:
        if len(self._silent) >= MAX_SILENT:
            next(iter(self._silent)).cut("too many connections ask for nothing")
        self._silent[connection] = None

    def asked(self, connection: Intake) -> None:
        self._silent.pop(connection, None)

    def origin(self, transport: asyncio.BaseTransport) -> str:
        """Return what a connection shares its places with."""
        address = str((transport.get_extra_info("peername") or ("",))[0])
        return MANY if is_loopback(address) or self._proxies.trusts(address) else neighbourhood(address)


class Intake(web.RequestHandler):
    """One TCP connection of an `IntakeServer`."""

    __slots__ = ("_bytes", "_deadline", "_early", "_in_doubt", "_is_held", "_is_idle", "_strangers", "is_stranger")

    def __init__(self, server: IntakeServer, strangers: Strangers) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **_OPTIONS)
        self._strangers = strangers
        self._bytes = 0
        self._early: bytes | None = b""
        """What came before it was its turn; None from then on."""
        self._deadline: asyncio.TimerHandle | None = None
        self._is_held = False
        self._is_idle = False
        self._in_doubt = False
        self.is_stranger = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        turnstile, origin = self._strangers.turnstile, self._strangers.origin(transport)
        if not turnstile.has_room(origin):
            self.cut("too many come at once")
            return
        turn = turnstile.arrive(origin)
        if turn is None:
            self._await_request()
        else:
            self._hold(turn)

    def _hold(self, turn: asyncio.Future[None]) -> None:
        """Read nothing before it is its turn: it waits for us, not we for it."""
        self._is_held = True
        if self.transport is not None:
            self.transport.pause_reading()
        turn.add_done_callback(self._its_turn)

    def _await_request(self) -> None:
        self._strangers.enter(self)
        self.within(REQUEST_WITHIN_S, "it asks for nothing")

    def asked(self) -> None:
        """It said what it wants, a whole HTTP request."""
        self._is_idle = False
        self._strangers.asked(self)
        self.in_time()

    def answered(self) -> None:
        """It may ask for something else; where it has no session, soon."""
        self._is_idle = True
        if self.is_stranger:
            self._await_request()

    def within(self, seconds: float, why: str) -> None:
        """Cut the connection unless `in_time` is called within so many seconds."""
        self.in_time()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.cut, why)

    def in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def opened(self) -> None:
        """It has a session: what it sends is counted no more."""
        if self.is_stranger:
            self.is_stranger = False
            self._strangers.bytes_held -= self._bytes

    @contextmanager
    def in_doubt(self) -> Iterator[None]:
        """While it is asked whether it has a session it may send more: aiohttp stops reading before long."""
        self._in_doubt = True
        try:
            yield
        finally:
            self._in_doubt = False

    def data_received(self, data: bytes) -> None:
        if self.is_stranger and not self._take(len(data)):
            return
        if self._early is None:
            self._feed(data)
        else:
            self._come_in(data)

    def _come_in(self, data: bytes) -> None:
        """Keep the first that comes until it is its turn."""
        self._early = (self._early or b"") + data
        if self._is_held:  # asyncio of Python 3.10 reads on where it was told not to
            return
        if self._strangers.turnstile.is_full:
            self.cut("too many come at once")
            return
        turn = self._strangers.turnstile.take()
        if turn is None:
            self._feed_early()
        else:
            self._strangers.asked(self)
            self.in_time()
            self._hold(turn)

    def _its_turn(self, turn: asyncio.Future[None]) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        self._is_held = False
        self.transport.resume_reading()
        self._await_request()
        if self._early:
            self._feed_early()

    def _feed_early(self) -> None:
        early, self._early = self._early, None
        self._feed(early or b"")

    def _feed(self, data: bytes) -> None:
        if self._is_idle:
            self._is_idle = False
            self.within(REQUEST_WITHIN_S, "its request does not end")
        super().data_received(data)

    def _take(self, size: int) -> bool:
        """Count bytes; cut the connection where they are too many.

        The limit is looked at before they are added: they may hold the end of a handshake that opens the session.
        """
        crowded = self._strangers.bytes_held > MAX_STRANGERS_BYTES
        too_many = self._bytes > (HANDSHAKE_BYTES if crowded else MAX_STRANGER_BYTES)
        if too_many and (crowded or not self._in_doubt):
            self.cut(f"{self._bytes} bytes without a session")
            return False
        self._bytes += size
        self._strangers.bytes_held += size
        return True

    def cut(self, why: str) -> None:
        """End the connection at once."""
        if self.transport is not None:
            log.info("cutting %s: %s", self.transport.get_extra_info("peername"), why)
            if self._strangers.told is not None:
                self._strangers.told(CUT_OFF)
            self.transport.abort()

    def log_exception(self, *args: Any, **named: Any) -> None:
        """Log a failure; one of the other end without what it sent, which may hold an access key."""
        if isinstance(named.get("exc_info"), HttpProcessingError):
            peer = self.transport.get_extra_info("peername") if self.transport is not None else None
            log.info("what %s sent is no HTTP request", peer)
            return
        super().log_exception(*args, **named)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.asked()
        self.opened()
        super().connection_lost(exc)


class IntakeServer(web.Server):
    """Makes an `Intake` of each connection."""

    def __init__(
        self,
        handler: Answer,
        told: Callable[[str], None] | None = None,
        turnstile: Turnstile | None = None,
        *,
        proxies: TrustedProxies = NO_PROXIES,
        handler_cancellation: bool = False,
    ) -> None:
        """`told`, `turnstile` and `proxies` are for `Strangers`.

        With `handler_cancellation` an answer is given up when its connection is lost.
        """
        super().__init__(handler, handler_cancellation=handler_cancellation)
        self.strangers = Strangers(told, turnstile, proxies)

    def __call__(self) -> Intake:
        return Intake(self, self.strangers)
