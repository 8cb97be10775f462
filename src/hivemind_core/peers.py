"""Peers: the connections of this hub, who they are and where they are reached (docs/protocol.md 10)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any, Protocol
from uuid import uuid4

from hivemind_bus_client.link import Link

from .clients import Client
from .fairness import LoopShare
from .limits import neighbourhood
from .proxies import is_loopback
from .rates import UNCOUNTED, Usage
from .sessions import namespace
from .shares import Share

REMEMBERED_REJECTIONS = 100
LATE_S = 10.0
"""What a satellite has said before it connected elsewhere may be read so much later; what comes after that is new."""


class Connection(Protocol):
    """A transport's half of a peer; nothing in it blocks or raises."""

    remote: str
    """Address of the other end, for the log."""

    def send(self, frames: list[bytes | str]) -> None:
        """Hand frames to the socket, or queue them within bounds."""

    def has_room(self, size: int) -> bool:
        """Tell whether so many bytes of others may be sent: what waits takes half of its bounds at most, then.

        The rest is for what this connection has asked for itself, since one that is too slow is closed.
        """

    @property
    def queued(self) -> int:
        """How many frames wait for the other end to take them."""

    def close(self, code: int, reason: str) -> None:
        """End the connection with a close frame."""


@dataclass(eq=False, slots=True)
class Peer:
    """One connection. Registered, it is in the table under its peer id and takes part in routing."""

    conn: Connection = field(repr=False)
    link: Link = field(repr=False)
    client: Client
    useragent: str
    namespace: str
    session: dict[str, Any] = field(default_factory=lambda: {"session_id": str(uuid4())}, repr=False)
    """What its HELLO announced: the baseline of every message's session."""
    site_id: str | None = None
    peer_id: str = ""
    registered: bool = False
    ended: bool = False
    """Its connection is closed or being closed; nothing more is taken from it or sent to it."""
    static_key: bytes | None = field(default=None, repr=False)
    """The device key it proved; None before its session."""
    password: str | None = field(default=None, repr=False)
    """The one it came in with; before its session the one that XXpsk2 goes by."""
    usage: Usage = field(default=UNCOUNTED, repr=False)
    """What it has sent since its session."""
    loop_share: LoopShare = field(default_factory=LoopShare, repr=False)
    """What reading it costs; from its session on, what reading all connections of its client does."""
    active_at: float = 0.0
    """When it was last heard (the hub's clock, seconds)."""
    address: str = ""
    """Where it comes from, as limits go by it."""
    misses_some: bool = False
    """Messages of others are not sent to it, since it does not keep up."""
    excused: bool = False
    """That it has no session yet is the hub's own doing, and no failure of the client."""
    timed_from: float = 0.0
    """Since when its handshake, or then the answer to what it asked, takes (the hub's clock); 0: nothing is timed."""

    @property
    def session_prefix(self) -> str | None:
        """The namespace its session ids carry on the agent's bus; None for an admin."""
        return None if self.client.is_admin else self.namespace


class Registry:
    """All connections, and the registered ones by peer id; one dict lookup from a destination to its peer."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._by_id: dict[str, Peer] = {}
        self._displaced: dict[Peer, float] = {}
        self._all: set[Peer] = set()
        self._by_client: dict[int, set[Peer]] = {}
        self._from: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Peer]:
        """Iterate over the registered peers; safe against changes meanwhile."""
        return iter(list(self._by_id.values()))

    def connections(self) -> list[Peer]:
        """Return every connection, registered or not."""
        return list(self._all)

    def of_client(self, client_id: int) -> list[Peer]:
        """Return the connections of one client, registered or not."""
        return list(self._by_client.get(client_id, ()))

    def count_from(self, address: str) -> int:
        """Return how many connections come from an address (see `limits.neighbourhood`)."""
        return self._from[address]

    def get(self, peer_id: str) -> Peer | None:
        """Return the registered peer with this id."""
        return self._by_id.get(peer_id)

    def share_of(self, sender: str) -> Share:
        """Return whose share a sender takes: its client's, however many connections that has, and its address's."""
        peer = self._by_id.get(sender)
        if peer is None:
            return Share(sender)
        return Share(f"client {peer.client.client_id}", "" if is_loopback(peer.conn.remote) else peer.address)

    def peer_id_for(self, client: Client, useragent: str, session_id: str) -> str:
        """Return a peer id that no other live connection has."""
        peer_id = f"{useragent}::{client.client_id}::{client.name}::{session_id}"
        return peer_id if peer_id not in self._by_id else f"{peer_id}::{token_hex(4)}"

    def add(self, peer: Peer) -> None:
        """Take in a connection that has no session yet."""
        self._all.add(peer)
        self._by_client.setdefault(peer.client.client_id, set()).add(peer)
        self._from[peer.address] += 1

    def new_peer(self, conn: Connection, link: Link, client: Client, useragent: str) -> Peer:
        """Make and take in the peer of a new connection."""
        peer = Peer(conn, link, client, useragent, namespace(self._node_id, client.client_id))
        peer.address = neighbourhood(conn.remote)
        self.add(peer)
        return peer

    def register(self, peer: Peer, is_elsewhere: Callable[[str], bool] = lambda peer_id: False) -> None:
        """Enter a peer, or enter it anew under the session its HELLO announced now.

        A connection that was displaced gets another id where its own is still at another hub (``is_elsewhere``).
        """
        if self._by_id.get(peer.peer_id) is peer:
            del self._by_id[peer.peer_id]
        peer_id = self.peer_id_for(peer.client, peer.useragent, str(peer.session["session_id"]))
        was_displaced = self._displaced.pop(peer, None) is not None and peer_id == peer.peer_id
        peer.peer_id = f"{peer_id}::{token_hex(4)}" if was_displaced and is_elsewhere(peer_id) else peer_id
        peer.registered = True
        self._by_id[peer.peer_id] = peer

    def displace(self, peer_id: str, now: float) -> None:
        """Let go of an id that another hub of the cluster has now; for the time being nothing reaches the connection.

        Most often it is dead, also when that other hub is gone: entered anew, it would draw what is for the satellite.
        Where it is not, since a client has two that call themselves the same, it shows that (`lives_on`).
        """
        peer = self._by_id.pop(peer_id, None)
        if peer is not None:
            self._displaced[peer] = now

    def lives_on(self, peer: Peer, now: float) -> bool:
        """Tell whether a connection of which something is heard now was displaced: it is alive, then."""
        since = self._displaced.get(peer)
        return since is not None and now - since >= LATE_S

    def remove(self, peer: Peer) -> bool:
        """Forget a connection; False when it was forgotten before."""
        if peer not in self._all:
            return False
        self._all.discard(peer)
        self._displaced.pop(peer, None)
        same = self._by_client[peer.client.client_id]
        same.discard(peer)
        if not same:
            del self._by_client[peer.client.client_id]
        self._from[peer.address] -= 1
        if not self._from[peer.address]:
            del self._from[peer.address]
        if self._by_id.get(peer.peer_id) is peer:
            del self._by_id[peer.peer_id]
        return True


@dataclass(frozen=True)
class Rejection:
    """A connection that was refused or kicked."""

    time: float
    """Seconds since the epoch."""
    peer: str
    code: str
    """Row of refusals.REFUSALS."""
    reason: str


class RejectionLog:
    """The last rejections; those of strangers are rationed so that they cannot push the others out."""

    def __init__(self, size: int = REMEMBERED_REJECTIONS) -> None:
        self._rows: deque[Rejection] = deque(maxlen=size)
        self._strangers: deque[Rejection] = deque(maxlen=max(1, size // 4))

    def add(self, row: Rejection, *, stranger: bool = False) -> None:
        """Remember a rejection; a stranger is a connection without a known access key."""
        (self._strangers if stranger else self._rows).append(row)

    def recent(self, since: float = 0.0) -> list[Rejection]:
        """Return what happened since a time (seconds since the epoch), newest first."""
        rows = [row for row in (*self._rows, *self._strangers) if row.time >= since]
        return sorted(rows, key=lambda row: row.time, reverse=True)


class LastSeen:
    """Says whose `last_seen` is to be written: of who was heard since, and of each at most once an interval."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._written: dict[int, float] = {}

    def due(self, peers: Iterable[Peer], now: float, *, leaving: bool = False) -> list[int]:
        """Return the ids of the clients that are due, and count them as written; who leaves does not wait."""
        due = {peer.client.client_id for peer in peers if self._is_due(peer, now, 0 if leaving else self._interval_s)}
        self._written.update(dict.fromkeys(due, now))
        return sorted(due)

    def _is_due(self, peer: Peer, now: float, interval_s: float) -> bool:
        written = self._written.get(peer.client.client_id)
        return written is None or (peer.active_at > written and now - written >= interval_s)
