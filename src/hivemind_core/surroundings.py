"""What the mesh works with: parts of the hub, and the two others that it sends by or keeps messages in."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from hivemind_bus_client.link import Refused
from hivemind_bus_client.message import HiveMessage
from hivemind_bus_client.outgoing import Outgoing

from .actions import Action, Deny
from .agents import Agent
from .company import Company
from .hub_identity import HubIdentity
from .peers import Peer, Registry
from .reviews import Reviews
from .shares import Share
from .workers import Workers


class Parent(Protocol):
    """The hub above this one. Nothing in it blocks or raises."""

    @property
    def available(self) -> bool:
        """A message can go up right now."""

    @property
    def node_id(self) -> str:
        """The public key (PEM) that it announced; empty before the first session."""

    def send(self, message: HiveMessage) -> bool:
        """Send a message up. False: it cannot go up now, and went nowhere."""

    async def start(self, receive: Callable[[HiveMessage], None], lost: Callable[[], None]) -> None:
        """Begin to join it, and return soon; `receive` gets what comes down, `lost` is called when a session ends."""

    async def stop(self) -> None:
        """Leave it."""


class Mailbox(Protocol):
    """Keeps messages for those who are not here (docs/protocol.md 15)."""

    async def start(self) -> None:
        """Open it."""

    async def handle(self, owner_key: str, body: dict[str, Any], wall: float) -> dict[str, Any]:
        """Serve a request of the owner of an access key at a time (Unix time, seconds), and return the reply."""

    async def stop(self) -> None:
        """Close it."""


@dataclass
class Surroundings:
    """What the mesh works with; the callables are the hub's."""

    identity: HubIdentity
    peers: Registry
    agent: Agent
    reviews: Reviews
    workers: Workers
    monotonic: Callable[[], float]
    wall: Callable[[], float]
    send: Callable[[Peer, HiveMessage | Outgoing], None]
    deny: Callable[[Peer, Deny], None]
    end: Callable[[Peer, Refused], None]
    carry_out: Callable[[Peer, list[Action]], None]
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    company: Company
    parent: Parent | None = None
    mailbox: Mailbox | None = None

    def share_of(self, sender: str) -> Share:
        """Return whose share is taken by what a sender's message leaves here, as it is handled."""
        behind = self.company.behind()
        return Share(behind) if behind else self.peers.share_of(sender)
