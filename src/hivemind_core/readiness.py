"""Whether the hub can serve a satellite now, part by part, and why not where it can not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SILENT_S = 10.0
"""The database is read twice a second; one that was not for so long does not answer."""


@dataclass(frozen=True)
class Part:
    """A part of the hub, and what keeps it from working; an empty reason: nothing does."""

    name: str
    reason: str = ""
    required: bool = True
    """Without it the hub is not ready."""

    @property
    def ready(self) -> bool:
        return not self.reason


def database(problem: str, silent_s: float, write_problem: str = "") -> Part:
    """Judge the database by what is wrong with it, if anything, and by the seconds since it was last read.

    One that cannot be written serves satellites, but what it is to keep is gone when the hub ends: keys of new devices.
    """
    if not problem and silent_s > SILENT_S:
        problem = f"the client database has not answered for {silent_s:.0f} s"
    return Part("database", problem or write_problem)


def agent(name: str, *, available: bool) -> Part:
    """Judge the agent."""
    return Part("agent", "" if available else f"the assistant's bus ({name}) cannot be reached")


def transports(*, serving: bool, unbound: Iterable[str]) -> Part:
    """Judge the transports; `unbound` says of each that could not listen why."""
    reason = " ".join(unbound) if serving else "the hub does not take connections: it is starting or stopping"
    return Part("transports", reason)


def cluster(*, available: bool) -> Part:
    """Judge the way to the other hubs; satellites here are served without it."""
    return Part("cluster", "" if available else "Redis cannot be reached, and with it the other hubs", required=False)


def upstream(*, available: bool) -> Part:
    """Judge the way to the hub above; satellites here are served without it."""
    return Part("upstream", "" if available else "this hub is not joined to the hub above", required=False)


def is_ready(parts: Iterable[Part]) -> bool:
    """Tell whether every part works that has to."""
    return all(part.ready for part in parts if part.required)


def document(parts: Iterable[Part]) -> dict[str, Any]:
    """Return what is answered."""
    told = list(parts)
    return {
        "ready": is_ready(told),
        "parts": {part.name: {"ready": part.ready, "required": part.required, "reason": part.reason} for part in told},
    }
