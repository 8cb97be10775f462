"""A real hub without a disk, a socket or a clock, for one input: its clients are given, its agent is a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from helpers import vectors
from hivemind_bus_client.link import Refused
from hivemind_bus_client.message import Message
from hivemind_core.clients import CLIENT_FIELDS, Client, numbered, tombstone
from hivemind_core.clocks import Clocks
from hivemind_core.config import Config
from hivemind_core.database import ClientDatabase
from hivemind_core.hub import Hub
from hivemind_core.hub_identity import HubIdentity
from hivemind_core.peers import Peer
from hivemind_core.storage import Change, DuplicateKey
from hivemind_core.testing import InlineWorkers, RecordingAgent, quick_psk

from .still_loop import VISITOR, StillLoop, still_loop
from .watched_log import watched_log

NOISE_KEY = bytes(range(32))
PASSWORD, OTHER_PASSWORD = "walnut lantern orbit cipher", "velvet quasar mango thicket"
KEY, RSA_CLIENT, OLD_CLIENT, ADMIN = "key-of-the-kitchen", "key-of-the-cellar", "key-of-the-attic", "key-of-the-study"
CRYPTO_KEY = "0123456789abcdef"
TYPES = ("recognizer_loop:utterance", "speak", "test:message")


def clients() -> list[Client]:
    """Return a client of each kind: with a password, without one, with a pre-shared key, and an administrator."""
    rows = (
        Client(1, KEY, "kitchen", password=PASSWORD, allowed_types=TYPES),
        Client(2, RSA_CLIENT, "cellar", allowed_types=TYPES),
        Client(3, OLD_CLIENT, "attic", password=OTHER_PASSWORD, metadata={"crypto_key": CRYPTO_KEY}),
        Client(4, ADMIN, "study", password=PASSWORD, is_admin=True, allowed_types=TYPES),
    )
    return list(rows)


class MemoryStore:
    """Rows in memory."""

    name = "memory"

    def __init__(self, rows: Iterable[Client]) -> None:
        self._rows = {row.client_id: row for row in rows}

    def load(self) -> list[Client]:
        return [self._rows[key] for key in sorted(self._rows)]

    def version(self) -> int:
        return 0

    def insert(self, client: Client) -> Client:
        for row in self._rows.values():
            if row.api_key == client.api_key:
                raise DuplicateKey(row)
        stored = numbered(client, max(self._rows, default=0) + 1)
        self._rows[stored.client_id] = stored
        return stored

    def restore(self, clients: Iterable[Client]) -> None:
        self._rows = {row.client_id: row for row in clients}

    def edit(self, client_id: int, change: Change) -> Client | None:
        row = self._rows.get(client_id)
        if row is None or row.is_revoked:
            return None
        columns = dict(change(row))
        assert columns.keys() <= set(CLIENT_FIELDS)
        self._rows[client_id] = replace(row, **columns)
        return self._rows[client_id]

    def touch(self, seen: Mapping[int, float]) -> None:
        for client_id, last_seen in seen.items():
            self._rows[client_id] = replace(self._rows[client_id], last_seen=last_seen)

    def delete(self, client_id: int) -> bool:
        known = client_id in self._rows
        self._rows[client_id] = tombstone(client_id)
        return known

    def close(self) -> None:
        return None


class Wire:
    """The hub's `Connection`: what it sends is kept."""

    def __init__(self, remote: str = VISITOR[0]) -> None:
        self.remote = remote
        self.frames: list[bytes | str] = []
        self.ends: list[tuple[int, str]] = []

    def send(self, frames: list[bytes | str]) -> None:
        assert not self.ends, "a frame after the end"
        self.frames += frames

    def has_room(self, size: int) -> bool:
        return True

    @property
    def queued(self) -> int:
        return 0

    def close(self, code: int, reason: str) -> None:
        assert not self.ends, "one connection is ended twice"
        assert 1000 <= code < 5000
        assert len(reason.encode()) <= 123, "a reason that no close frame holds"
        self.ends.append((code, reason))


def make_hub(loop: StillLoop, rows: Sequence[Client], agent: RecordingAgent | None = None, **changes: Any) -> Hub:
    """Return a hub on a loop."""
    rsa = vectors.load("rsa_handshake")
    identity = HubIdentity(rsa["server_public_pem"], NOISE_KEY, "house", rsa["server_private_pem"])
    config = Config(path=Path("server.json"), runtime_password_strength_check=False, **changes)
    parts: dict[str, Any] = {"workers": InlineWorkers(), "clocks": Clocks(loop.time, loop.time), "derive": quick_psk}
    return Hub(config, identity, ClientDatabase(MemoryStore(rows)), agent or RecordingAgent(), **parts)


async def knock(hub: Hub, token: str) -> tuple[Wire, Peer | None]:
    """Come to a hub with a token, as over a transport."""
    wire = Wire()
    found = await hub.identify(token, wire.remote)
    if isinstance(found, Refused):
        hub.turn_away(wire, found)
        return wire, None
    return wire, hub.connect(wire, found)


def said(messages: Iterable[Message]) -> list[str]:
    """Return the types of messages."""
    return [message.msg_type for message in messages]


class SmallHub:
    """A hub with these clients, to knock at from outside any loop."""

    def __init__(self, rows: Sequence[Client]) -> None:
        self._rows = rows

    def visits(self, tokens: Iterable[str]) -> None:
        """Each comes, is greeted or turned away, and leaves."""
        with watched_log(), still_loop() as loop:
            hub = make_hub(loop, self._rows, min_protocol_version=0)
            for token in tokens:
                loop.run_until_complete(self._visit(hub, token))

    async def _visit(self, hub: Hub, token: str) -> None:
        wire, peer = await knock(hub, token)
        assert (peer is None) == bool(wire.ends), "neither greeted nor turned away"
        if peer is not None:
            assert not peer.link.is_open
            hub.receive(peer, '{"msg_type": "shake", "payload": {}}')
            hub.closed(peer)
            hub.tick()
