"""The hub's door: how many may stand in it and come through at once, and what is held against whom (limits.py)."""

from __future__ import annotations

from dataclasses import replace

from hivemind_bus_client.link import Opened, Refused
from hivemind_bus_client.noise import NOISE_PATTERN_XX

from . import grace, greeting, rates
from .admission import Admission, Visitor, refused
from .clients import Client
from .keys import ClientKeys
from .limits import Rations, neighbourhood
from .meter import Meter
from .peers import Peer, Registry
from .proxies import is_loopback
from .rates import Rates

MAX_HANDSHAKES = 2048
"""Connections without a session at once; with 64 KiB each this caps what strangers can make the hub hold."""
MAX_HANDSHAKES_OF_ONE, MAX_HANDSHAKES_OF_KEY = 16, 256
"""The same for one access key from one address, and from all of them: who only knows it cannot take every place."""
MAX_CONNECTIONS_OF_KEY = 64
"""Sessions at once with one access key."""
NEW_SESSIONS_PER_S, NEW_SESSIONS_AT_ONCE = 1.0, 5
"""How often one client may change a session, by all its connections; the first of each is none."""
ADDRESS_NEW_SESSIONS_PER_S, ADDRESS_NEW_SESSIONS_AT_ONCE = 5.0, 25
"""The same for all clients of one address, this machine's own excepted."""
NO_FAULT = frozenset({"busy", "database_unavailable", "internal_error", "client_removed"})
"""Refusals that say nothing against the client."""


class Door:
    """Asked before a connection becomes a peer, and told how that went on."""

    def __init__(self, admission: Admission, peers: Registry, keys: ClientKeys, meter: Meter) -> None:
        self.handshaking: set[Peer] = set()
        """The peers that have no session yet."""
        self._admission = admission
        self._limits = admission.limits
        self._rates = Rates()
        self._changes: Rations[int] = Rations(NEW_SESSIONS_PER_S, NEW_SESSIONS_AT_ONCE)
        self._changes_at: Rations[str] = Rations(ADDRESS_NEW_SESSIONS_PER_S, ADDRESS_NEW_SESSIONS_AT_ONCE)
        self._peers = peers
        self._keys = keys
        self._clock = meter.clock
        self._meter = meter

    async def identify(self, token: str, remote: str) -> Visitor | Refused:
        """Find out whose access key a connection from an address brings, and whether it may begin a handshake."""
        found = await self._identify(token, remote)
        if isinstance(found, Refused):
            self._meter.handshakes.count(found.code)
        return found

    async def _identify(self, token: str, remote: str) -> Visitor | Refused:
        if len(self.handshaking) >= MAX_HANDSHAKES:
            return refused("busy")
        address, most = neighbourhood(remote), self._keys.config.max_connections_per_address
        if most and self._peers.count_from(address) >= most and not is_loopback(remote):
            return refused("too_many_connections")
        wait_s = self._rates.address_waits(address, self._clock())
        if wait_s:
            return rates.refused(wait_s)
        found = await self._admission.identify(token, address)
        return self._look_at(found, address) if isinstance(found, Visitor) else found

    def _look_at(self, visitor: Visitor, address: str) -> Visitor | Refused:
        client, floor = visitor.client, self._keys.config.min_protocol_version
        pinned = self._keys.pinned_key(client)
        if not greeting.can_join(client, floor, pinned):
            self._limits.failed(client.client_id, address, self._clock())
            return refused("no_password")
        wait_s = self._rates.client_waits(client.client_id, self._clock())
        if wait_s:
            return rates.refused(wait_s)
        same = self._peers.of_client(client.client_id)
        unfinished = [peer.address for peer in same if peer in self.handshaking]
        if len(same) - len(unfinished) >= MAX_CONNECTIONS_OF_KEY:
            return refused("too_many_connections")
        crowded = len(unfinished) >= MAX_HANDSHAKES_OF_KEY and not self._limits.is_home(client.client_id, address)
        if crowded or unfinished.count(address) >= MAX_HANDSHAKES_OF_ONE:
            return refused("busy")
        return replace(visitor, max_frame_bytes=greeting.max_frame_bytes(client, floor, pinned))

    def entered(self, peer: Peer) -> None:
        """Note a connection that begins its handshake."""
        self.handshaking.add(peer)
        self._meter.entered(peer)
        previous = self._keys.previous(peer.client, peer.address)
        peer.password = grace.password_of(peer.client, previous=previous is not None and previous.first)

    def accepted(self, peer: Peer, opened: Opened) -> None:
        """Note that a device proved itself and is the one that its access key is bound to."""
        self.handshaking.discard(peer)
        self._meter.accepted(peer, opened)
        self._limits.succeeded(peer.client.client_id, peer.address)
        same = (other for other in self._peers.of_client(peer.client.client_id) if other not in self.handshaking)
        peer.loop_share = next((other.loop_share for other in same if other is not peer), peer.loop_share)
        address = "" if is_loopback(peer.conn.remote) else peer.address
        peer.usage = self._rates.usage(peer.client.client_id, address, self._keys.config.limits, self._clock())
        peer.password = grace.password_of(peer.client, previous=opened.previous)
        anew = opened.pattern == NOISE_PATTERN_XX and "noise_pubkey" in peer.client.metadata
        self._keys.choices.came_in(peer.client, peer.address, peer.password or "", anew=anew)

    def may_change_session(self, peer: Peer) -> bool:
        """Count a session that is announced in place of another; False when there were too many."""
        now = self._clock()
        if not self._changes.take(peer.client.client_id, now):
            return False
        return is_loopback(peer.conn.remote) or self._changes_at.take(peer.address, now)

    def reconsider(self, peer: Peer, row: Client | None) -> str:
        """Return why a connection must end now that its client's row is this one; empty where it may stay."""
        if row is None or row.api_key != peer.client.api_key:
            return "client_removed"
        if peer.static_key is None and greeting.secrets_in(row) != greeting.secrets_in(peer.client):
            return "busy"
        if peer.static_key == b"" and not greeting.still_proves(peer.password, peer.client, row, self._keys.grace(row)):
            return "wrong_password"  # nothing else says who it is
        pinned = self._keys.pinned_key(row)
        return "client_key_mismatch" if pinned is not None and peer.static_key not in (None, pinned) else ""

    def refused(self, peer: Peer, refusal: Refused) -> None:
        """Note why a connection is going to be closed."""
        peer.excused = peer.excused or refusal.code in NO_FAULT
        if peer in self.handshaking:
            self._meter.failed(peer, refusal.code)

    def left(self, peer: Peer) -> None:
        """Note the end of a connection; one that never was accepted counts as a failure, unless it is excused."""
        peer.usage.settle(self._clock())
        if peer in self.handshaking:
            self._meter.failed(peer)
        if peer in self.handshaking and not peer.excused:
            self._limits.failed(peer.client.client_id, peer.address, self._clock())
            if peer.link.pattern == NOISE_PATTERN_XX and peer.password and self._keys.grace(peer.client) is not None:
                self._keys.choices.failed(peer.client, peer.address, peer.password)
        self.handshaking.discard(peer)
