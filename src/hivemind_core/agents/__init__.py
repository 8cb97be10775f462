"""Agents: who answers what satellites say. The interface, and the table of the agents there are.

To add one: a module here with a class of the shape of `Agent`, and a line in `AGENTS`. Only the agent that is
asked for is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from hivemind_bus_client.message import Message

Deliver = Callable[[Message], None]
"""Takes every message seen on the agent's bus; called on the event loop."""

Peers = Callable[[], list[str]]
"""Names of the satellites connected now, for "who is connected"."""


class Agent(Protocol):
    """One agent. All of it runs on the hub's event loop; nothing in it may block."""

    @property
    def name(self) -> str:
        """Its name in `agent_protocol.module`."""

    @property
    def available(self) -> bool:
        """A message can be emitted right now."""

    @property
    def queued(self) -> int:
        """How many messages wait for the bus to take them."""

    async def start(self, deliver: Deliver) -> None:
        """Begin, and return soon: whatever has to be connected is connected afterwards."""

    async def stop(self) -> None:
        """Send what is queued, within about a second, and let go of everything."""

    def emit(self, message: Message) -> bool:
        """Put a message on the bus. False: unavailable or its queue is full, and the message went nowhere."""


Factory = Callable[[Mapping[str, Any], Peers], Agent]


def _ovos(config: Mapping[str, Any], peers: Peers) -> Agent:
    from .busclient import BusAddress
    from .ovos import OvosAgent

    return OvosAgent(BusAddress.from_config(config))


def _embedded(config: Mapping[str, Any], peers: Peers) -> Agent:
    from .busclient import BusAddress
    from .embedded import EmbeddedAgent

    return EmbeddedAgent(BusAddress.from_config(config), peers)


def _auto(config: Mapping[str, Any], peers: Peers) -> Agent:
    from .auto import AutoAgent
    from .busclient import BusAddress

    return AutoAgent(BusAddress.from_config(config), peers)


def _builtin(config: Mapping[str, Any], peers: Peers) -> Agent:
    from .builtin import BuiltinAgent

    return BuiltinAgent(peers)


AGENTS: dict[str, Factory] = {
    "auto": _auto,
    "embedded": _embedded,
    "builtin": _builtin,
    "hivemind-ovos-agent-plugin": _ovos,
    "ovos": _ovos,
}


def _nobody() -> list[str]:
    return []


def create_agent(module: str, config: Mapping[str, Any], peers: Peers = _nobody) -> Agent:
    """The agent that `agent_protocol.module` names, with its own sub-object of the configuration.

    Raises ConfigError for a name that is not in `AGENTS` and for settings that cannot be.
    """
    factory = AGENTS.get(module)
    if factory is None:
        from ..config import ConfigError

        raise ConfigError(f"There is no agent named {module!r}. The known ones are: {', '.join(AGENTS)}.")
    return factory(config, peers)
