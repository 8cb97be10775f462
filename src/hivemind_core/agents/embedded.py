"""The agent is an OVOS-compatible message bus that the hub serves itself; OVOS services join it.

Where something answers at that address already, the hub joins that bus as a client, and stays a client of
it: it connects again when that bus comes back, and never takes its port over.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import TYPE_CHECKING

from hivemind_bus_client.message import Message

from ..bus_frames import MAX_FRAME_BYTES, decode, encode, message_of
from ..config import ConfigError
from .builtin import Assistant
from .busclient import BusAddress, BusConnection, BusTuning
from .busserver import LOOPBACK, BusServer
from .queues import Inbox, QueueLimits

if TYPE_CHECKING:
    from . import Deliver, Peers

log = logging.getLogger(__name__)

PROBE_S = 1.0
SERVER_QUEUE = QueueLimits(frames=10_000, bytes=64 * 1024 * 1024)


class EmbeddedAgent:
    """Serves the bus and takes part in it; the built-in assistant answers while no other client is there."""

    name = "embedded"

    def __init__(self, address: BusAddress, peers: Peers, tuning: BusTuning | None = None) -> None:
        self._address = address
        self._assistant = Assistant(
            peers, f"Start OVOS on this machine: its services join this hub's message bus at {address.url}."
        )
        self._tuning = tuning
        self._server: BusServer | None = None
        self._joined: BusConnection | None = None
        self._inbox: Inbox | None = None

    @property
    def available(self) -> bool:
        """The bus is served, or the one that was there is connected."""
        return self._server is not None or (self._joined is not None and self._joined.connected)

    @property
    def queued(self) -> int:
        """How many messages wait for the bus, or for those who are on it."""
        bus = self._joined or self._server
        return 0 if bus is None else bus.queued

    async def start(self, deliver: Deliver) -> None:
        """Open the bus, or begin to join the one that is there. Raises ConfigError when neither can be."""
        self._inbox = Inbox(deliver)
        if await _answers(self._address) or not await self._serve():
            log.info("Something serves %s already: joining it as a client", self._address.url)
            self._joined = BusConnection(self._address, self._tuning or BusTuning())
            self._joined.start(deliver)

    async def _serve(self) -> bool:
        server = BusServer(self._address, self._tuning or BusTuning(queue=SERVER_QUEUE), self._heard)
        try:
            await server.start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise ConfigError(f"The message bus cannot be served at {self._address.url}: {error}") from None
        self._server = server
        log.info("Serving an OVOS message bus at %s", self._address.url)
        if self._address.host not in LOOPBACK:
            log.warning("Anyone who reaches %s controls this hub's assistant", self._address.url)
        return True

    async def stop(self) -> None:
        """Send what is queued and close the bus, or leave it."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop()
        if self._joined is not None:
            await self._joined.stop()
        if self._inbox is not None:
            self._inbox.clear()

    def emit(self, message: Message) -> bool:
        """Put a message on the bus; on a served one it comes back as to any client."""
        frame = encode(message)
        if self._joined is not None:
            return self._joined.connected and self._joined.send(frame)
        if self._server is None or self._inbox is None or len(frame) > MAX_FRAME_BYTES:
            return False
        self._put(frame, self._server, self._inbox)
        self._answer(message)
        return True

    def _heard(self, message: Message) -> None:
        """Take in what was said on the served bus; only a visitor can have said it while nobody else is there."""
        if self._inbox is not None:
            self._inbox.put(message)
        self._answer(message)

    def _answer(self, message: Message) -> None:
        if self._server is None or self._inbox is None or self._server.client_count:
            return
        for reply in self._assistant.answers_to(message):
            self._put(encode(reply), self._server, self._inbox)

    @staticmethod
    def _put(frame: bytes, server: BusServer, inbox: Inbox) -> None:
        server.broadcast(frame)
        echo = message_of(decode(frame))
        if echo is not None:
            inbox.put(echo)


async def _answers(address: BusAddress) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address.host, address.port), PROBE_S)
    except (OSError, asyncio.TimeoutError):
        return False
    writer.close()
    return True
