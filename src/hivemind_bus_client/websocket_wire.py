"""Frames over a WebSocket (docs/protocol.md 5)."""

from __future__ import annotations

import asyncio
import logging

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from .refusals import REFUSALS
from .wire import CLOSE_TIMEOUT_S, MAX_FRAME_BYTES, Dial, DialFailed, WireClosed, text_of, unreachable

_WIRE_LOG = logging.getLogger(f"{__name__}.library")
_WIRE_LOG.setLevel(logging.WARNING)  # below that the library writes the access key, which is in the URL

MAX_QUEUED = 16  # frames; of those that may be long one, for whoever answers may send 32 MiB before any handshake


class ConnectHere(connect):
    """Goes where it was sent and nowhere else: whoever answers there may name any address."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


async def open_websocket(plan: Dial) -> WebSocketWire:
    """Connect. Raises DialFailed."""
    try:
        socket = await ConnectHere(
            plan.address.url(plan.token),
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
        raise DialFailed(REFUSALS["not_a_hub"], text_of(error)) from error
    except (OSError, asyncio.TimeoutError) as error:
        raise unreachable(error, text_of(error)) from error
    return WebSocketWire(socket)


class WebSocketWire:
    """A `Wire` that is a WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def receive(self) -> bytes | str:
        """Wait for the next frame."""
        try:
            return await self._socket.recv()
        except ConnectionClosed as closed:
            raise _closed(closed) from None

    async def send(self, frame: bytes | str) -> None:
        """Write a frame into the socket."""
        try:
            await self._socket.send(frame)
        except ConnectionClosed as closed:
            raise _closed(closed) from None

    async def confirm(self) -> None:
        """Wait for the answer to a ping."""
        try:
            await (await self._socket.ping())
        except ConnectionClosed as closed:
            raise _closed(closed) from None

    def agreed(self, version: int) -> None:
        """Nothing depends on it."""

    async def close(self) -> None:
        """Close the socket; one whose other end reads nothing, so that not even a close frame leaves, is cut."""
        try:
            await asyncio.wait_for(self._socket.close(), CLOSE_TIMEOUT_S + 0.5)
        except asyncio.TimeoutError:
            self._socket.transport.abort()


def _closed(closed: ConnectionClosed) -> WireClosed:
    code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (0, "")
    return WireClosed(code, reason, text_of(closed))
