"""What is fuzzed: a module for each target, of the shape of `Target`."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Protocol, cast

TARGETS = {
    "bus": "what a satellite sends in its session, and what the agent says to it",
    "clear_frames": "frames before there is a session, at the hub and at the satellite",
    "clients_json": "the file clients.json",
    "cluster_frames": "what members of a cluster read in Redis",
    "commands": "the command lines of all three programs",
    "frames": "binary frames, JSON, the parts of long messages",
    "http": "the HTTP transport, byte by byte",
    "identity_file": "the identity file of a satellite and of the hub",
    "intercom": "sealed messages",
    "link": "a whole course between a hub and a satellite, of which the wire makes what it likes",
    "server_json": "the file server.json, and the environment",
    "upgrade": "the WebSocket transport, byte by byte",
}


class Target(Protocol):
    """One module here."""

    WORDS: tuple[str, ...]
    """What inputs are likely to hold, besides what is in ``words/``."""

    def run(self, data: bytes) -> None:
        """Do with an input what the product would; raise where an invariant is broken."""

    def seeds(self) -> Iterable[bytes]:
        """Return inputs that get far."""


def load(name: str) -> Target:
    return cast("Target", import_module(f"{__name__}.{name}"))
