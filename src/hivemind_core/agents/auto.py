"""The default agent: an OVOS message bus as soon as there is one, the built-in assistant until then.

It never opens the bus's port itself: a hub that starts before OVOS at boot must not take it away.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hivemind_bus_client.message import Message

from ..bus_frames import encode
from .builtin import BuiltinAgent
from .busclient import Backoff, BusAddress, BusConnection, BusTuning

if TYPE_CHECKING:
    from . import Deliver, Peers

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class AutoAgent:
    """Looks for the bus; once it was found, the built-in assistant is silent for good."""

    name = "auto"

    def __init__(self, address: BusAddress, peers: Peers, tuning: BusTuning | None = None) -> None:
        self._address = address
        self._tuning = tuning or BusTuning()
        self._builtin = BuiltinAgent(
            peers,
            f"Start OVOS: this hub joins its message bus at {address.host}, port {address.port}, by itself.",
        )
        self._bus = BusConnection(address, self._tuning, self._found_bus)
        self._bus.backoff = Backoff(LOOK_EVERY_S, LOOK_EVERY_S)
        self._bus.quiet = True
        self._found = False

    @property
    def available(self) -> bool:
        """The bus is connected, or none has ever been found."""
        return self._bus.connected or not self._found

    @property
    def queued(self) -> int:
        """How many messages wait for the bus."""
        return self._bus.queued

    async def start(self, deliver: Deliver) -> None:
        """Begin to look for the bus."""
        await self._builtin.start(deliver)
        log.info("The built-in assistant answers until an OVOS message bus appears at %s", self._address.url)
        self._bus.start(deliver)

    async def stop(self) -> None:
        """Send what is queued and leave the bus."""
        await self._builtin.stop()
        await self._bus.stop()

    def emit(self, message: Message) -> bool:
        """Put a message on the bus, or let the built-in assistant answer it while no bus was ever found."""
        if self._found:
            return self._bus.connected and self._bus.send(encode(message))
        return self._builtin.emit(message)

    def _found_bus(self) -> None:
        if not self._found:
            self._found = True
            self._bus.backoff = self._tuning.backoff()
            log.info("An OVOS message bus is there: the built-in assistant is silent from now on")
