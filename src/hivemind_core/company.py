"""The other hubs of a cluster, as the hub sees them. A hub that runs alone has no company: `Alone`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hivemind_bus_client.message import HiveMessage, Message


@dataclass(frozen=True)
class Reception:
    """What the hub does with what comes from the others. None of it blocks or raises.

    Another hub is named by its way (`actions.member`).
    """

    reply: Callable[[str, list[str], Message], None]
    """An answer of its assistant to satellites that are here."""
    message: Callable[[str, HiveMessage], None]
    """A message that travels, for the satellites here; or an answer."""
    direct: Callable[[str, HiveMessage], None]
    """A message for one satellite here (its peer id)."""
    lift: Callable[[str, HiveMessage], None]
    """A message for the hub above."""
    above: Callable[[HiveMessage], None]
    """An answer of the hub above."""
    displaced: Callable[[str], None]
    """A satellite (its peer id) is at another hub by now, whatever its connection here looks like."""
    undelivered: Callable[[str, Mapping[str, Any]], None]
    """The type of something that may not have arrived, and its context."""
    client: Callable[[str], str]
    """A name for the client that a satellite here (its peer id) belongs to; empty where it is not here."""


class Company(Protocol):
    """The other hubs. Nothing in it blocks or raises; False says that somebody was not reached."""

    async def start(self, reception: Reception) -> None:
        """Join them, and return soon."""

    async def stop(self) -> None:
        """Leave them."""

    def has(self, peer_id: str) -> bool:
        """Tell whether a satellite is at another hub."""

    def came(self, peer_id: str) -> None:
        """Note that a satellite is here now."""

    def left(self, peer_id: str) -> None:
        """Note that a satellite is here no more."""

    def reply(self, peer_ids: Iterable[str], message: Message) -> bool:
        """Pass an answer of the assistant to satellites at other hubs that do not hear it themselves."""

    def repeats(self, way: str, message: Message) -> bool:
        """Tell whether an answer that came by a way was taken from another before; ask once for each."""

    def send(self, peer_id: str, message: HiveMessage) -> bool:
        """Send a message to a satellite at another hub."""

    def tell(self, way: str, message: HiveMessage) -> bool:
        """Send a message to another hub, which knows what to do with it."""

    def not_for(self) -> frozenset[str]:
        """Return the satellites here that are not to get the message that is being taken from another hub: they came
        after it was sent, or sent it."""

    def behind(self) -> str:
        """Return a name for the client of another hub whose message is being taken; empty where there is none.

        All hubs have the same clients, so it is the name that this one has for it (`Registry.share_of`).
        """

    def relay(self, message: HiveMessage, sender: str = "", *, unheard: bool = False) -> list[str] | None:
        """Pass a message to the satellites of all other hubs; return the ways to them, None if one was not reached.

        It does not go to `sender`, should that be there by then. `unheard` leaves out the hubs that share this one's
        assistant.
        """

    def hears(self, message: Message) -> bool:
        """Take a message of the assistant's bus that hubs say to each other there; False where it is none."""

    def speaks_for_bus(self) -> bool:
        """Tell whether, of all hubs that share its assistant, this is the one to answer for all."""

    def shares_bus(self, peer_id: str) -> bool:
        """Tell whether a satellite is at a hub that hears this one's assistant itself."""


class Alone:
    """No other hub."""

    async def start(self, reception: Reception) -> None:
        return None

    async def stop(self) -> None:
        return None

    def has(self, peer_id: str) -> bool:
        return False

    def came(self, peer_id: str) -> None:
        return None

    def left(self, peer_id: str) -> None:
        return None

    def reply(self, peer_ids: Iterable[str], message: Message) -> bool:
        return True

    def repeats(self, way: str, message: Message) -> bool:
        return False

    def send(self, peer_id: str, message: HiveMessage) -> bool:
        return False

    def tell(self, way: str, message: HiveMessage) -> bool:
        return False

    def not_for(self) -> frozenset[str]:
        return frozenset()

    def behind(self) -> str:
        return ""

    def relay(self, message: HiveMessage, sender: str = "", *, unheard: bool = False) -> list[str] | None:
        return []

    def hears(self, message: Message) -> bool:
        return False

    def speaks_for_bus(self) -> bool:
        return True

    def shares_bus(self, peer_id: str) -> bool:
        return False
