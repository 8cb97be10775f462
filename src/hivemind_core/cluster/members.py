"""Who is a member of the cluster, and who of them leads. Pure; times are monotonic seconds unless said otherwise.

A member says every second that it is there. The oldest leads; as long as all hear the same, all agree on which that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BEAT_S = 1.0
LEASE_S = 5.0
"""A member that was not heard for so long is gone."""
MAX_MEMBERS = 64
MAX_NAME = 100


@dataclass(frozen=True)
class Member:
    """A hub of the cluster, as it last told of itself."""

    hub: str
    """Its id, another one each time it starts."""
    name: str
    """What people call it."""
    since_ms: int
    """When it started, by the clock of Redis (Unix milliseconds)."""
    has_agent: bool = False
    """Its assistant can be reached."""
    has_parent: bool = False
    """It is joined to the hub above."""
    peers: int = 0
    """How many satellites are connected to it."""

    def told(self) -> dict[str, Any]:
        """Return what it says of itself."""
        return {
            "name": self.name,
            "since": self.since_ms,
            "agent": self.has_agent,
            "parent": self.has_parent,
            "peers": self.peers,
        }


def member_told(hub: str, told: Mapping[str, Any]) -> Member:
    """Read what a member says of itself; what is no value reads as none."""
    since, peers, name = told.get("since"), told.get("peers"), told.get("name")
    return Member(
        hub,
        name[:MAX_NAME] if isinstance(name, str) else "",
        since if isinstance(since, int) else 0,
        told.get("agent") is True,
        told.get("parent") is True,
        peers if isinstance(peers, int) else 0,
    )


class Members:
    """The members besides this one, and whether this one leads."""

    def __init__(self) -> None:
        self._others: dict[str, Member] = {}
        self._heard: dict[str, float] = {}

    def others(self) -> list[Member]:
        """Return them, the oldest first."""
        return sorted(self._others.values(), key=_age)

    def get(self, hub: str) -> Member | None:
        """Return the member with this id."""
        return self._others.get(hub)

    def beat(self, member: Member, now: float) -> bool:
        """Note that a member is there; True where it was not known."""
        if member.hub not in self._others and len(self._others) >= MAX_MEMBERS:
            return False
        is_new = member.hub not in self._others
        self._others[member.hub] = member
        self._heard[member.hub] = now
        return is_new

    def gone(self, hub: str) -> bool:
        """Forget a member; False where it was not known."""
        self._heard.pop(hub, None)
        return self._others.pop(hub, None) is not None

    def silent(self, now: float) -> list[str]:
        """Return those that were not heard for too long."""
        return [hub for hub, heard in self._heard.items() if now - heard >= LEASE_S]

    def wait_for_all(self, now: float) -> None:
        """Begin to count anew: nobody could be heard."""
        self._heard = dict.fromkeys(self._heard, now)

    def leader(self, me: Member) -> Member:
        """Return who leads."""
        return min((me, *self._others.values()), key=_age)


def _age(member: Member) -> tuple[int, str]:
    return member.since_ms, member.hub
