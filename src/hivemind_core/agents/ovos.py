"""The agent is an OVOS message bus elsewhere, at the configured host and port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hivemind_bus_client.message import Message

from ..bus_frames import encode
from .busclient import BusAddress, BusConnection, BusTuning

if TYPE_CHECKING:
    from . import Deliver


class OvosAgent:
    """Joins the bus, and joins it again whenever it comes back."""

    name = "hivemind-ovos-agent-plugin"

    def __init__(self, address: BusAddress, tuning: BusTuning | None = None) -> None:
        self._bus = BusConnection(address, tuning or BusTuning())

    @property
    def available(self) -> bool:
        """The bus is connected."""
        return self._bus.connected

    @property
    def queued(self) -> int:
        """How many messages wait for the bus."""
        return self._bus.queued

    async def start(self, deliver: Deliver) -> None:
        """Begin to connect."""
        self._bus.start(deliver)

    async def stop(self) -> None:
        """Send what is queued and leave the bus."""
        await self._bus.stop()

    def emit(self, message: Message) -> bool:
        """Put a message on the bus; False while it is away or its queue is full."""
        return self._bus.connected and self._bus.send(encode(message))
