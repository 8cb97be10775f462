from __future__ import annotations

from typing import Any, cast

from hivemind_bus_client.link import Link
from hivemind_core.clients import Client
from hivemind_core.peers import LastSeen, Peer, Registry, Rejection, RejectionLog


class Wire:
    remote = "here"

    def send(self, frames: list[bytes | str]) -> None: ...
    def has_room(self, size: int) -> bool: ...
    def close(self, code: int, reason: str) -> None: ...


def new_peer(registry: Registry, session_id: str, client_id: int = 1, **columns: Any) -> Peer:
    client = Client(client_id, f"key{client_id}", "sat", **columns)
    peer = registry.new_peer(Wire(), cast(Link, None), client, "ua")
    peer.session = {"session_id": session_id}
    return peer


def test_a_peer_is_found_by_its_id_once_registered() -> None:
    registry = Registry("node")
    peer = new_peer(registry, "s")
    assert registry.get("ua::1::sat::s") is None
    assert registry.connections() == [peer]
    registry.register(peer)
    assert peer.peer_id == "ua::1::sat::s"
    assert registry.get(peer.peer_id) is peer
    assert list(registry) == [peer]


def test_two_connections_in_one_session_have_different_ids() -> None:
    registry = Registry("node")
    first, second = new_peer(registry, "s"), new_peer(registry, "s")
    registry.register(first)
    registry.register(second)
    assert second.peer_id.startswith("ua::1::sat::s::")
    assert len(second.peer_id.rsplit("::", 1)[1]) == 8
    assert registry.get(first.peer_id) is first
    assert registry.get(second.peer_id) is second


def test_registering_anew_forgets_the_old_id() -> None:
    registry = Registry("node")
    peer = new_peer(registry, "old")
    registry.register(peer)
    registry.register(peer)
    assert peer.peer_id == "ua::1::sat::old"
    peer.session = {"session_id": "new"}
    registry.register(peer)
    assert registry.get("ua::1::sat::old") is None
    assert registry.get("ua::1::sat::new") is peer
    assert len(registry) == 1


def test_removing_twice_says_so() -> None:
    registry = Registry("node")
    peer = new_peer(registry, "s")
    registry.register(peer)
    assert registry.remove(peer)
    assert not registry.remove(peer)
    assert registry.get(peer.peer_id) is None
    assert registry.connections() == []


def test_a_loser_of_a_collision_does_not_take_the_winner_along() -> None:
    registry = Registry("node")
    first, second = new_peer(registry, "s"), new_peer(registry, "s")
    registry.register(first)
    second.peer_id = first.peer_id  # never registered
    registry.remove(second)
    assert registry.get(first.peer_id) is first


def test_admins_have_no_session_prefix() -> None:
    registry = Registry("node")
    assert new_peer(registry, "s", is_admin=True).session_prefix is None
    assert new_peer(registry, "s").session_prefix == new_peer(registry, "t").namespace


def test_secrets_are_not_in_the_repr() -> None:
    peer = new_peer(Registry("node"), "s", password="hunter2", metadata={"noise_psk": "c0ffee"})
    assert "hunter2" not in repr(peer)
    assert "c0ffee" not in repr(peer)


def test_strangers_cannot_push_known_clients_out_of_the_rejections() -> None:
    log = RejectionLog(size=8)
    log.add(Rejection(1.0, "ours", "client_key_mismatch", ""))
    for moment in range(2, 50):
        log.add(Rejection(float(moment), "stranger", "invalid_key", ""), stranger=True)
    rows = log.recent()
    assert rows[0].time == 49.0
    assert rows[-1].peer == "ours"
    assert len(rows) == 3
    assert [row.time for row in log.recent(since=49.0)] == [49.0]


def test_connections_are_found_by_client() -> None:
    registry = Registry("node")
    first, second, other = new_peer(registry, "a"), new_peer(registry, "b"), new_peer(registry, "c", client_id=2)
    assert set(registry.of_client(1)) == {first, second}
    for peer in (first, second, other):
        registry.remove(peer)
    assert registry.of_client(1) == registry.of_client(2) == []


def test_a_client_is_due_once_an_interval_and_only_when_heard() -> None:
    registry, seen = Registry("node"), LastSeen(60.0)
    peer = new_peer(registry, "s")
    peer.active_at = 1000.0
    assert seen.due([peer, peer], 1000.0) == [1]
    assert seen.due([peer], 1030.0) == []
    peer.active_at = 1059.0
    assert seen.due([peer], 1060.0) == [1]
    assert seen.due([peer], 1200.0) == []


def test_without_an_interval_a_client_is_due_whenever_it_was_heard() -> None:
    registry, seen = Registry("node"), LastSeen(0.0)
    peer = new_peer(registry, "s")
    peer.active_at = 1000.0
    assert seen.due([peer], 1000.5) == [1]
    assert seen.due([peer], 1001.5) == []
    peer.active_at = 1002.0
    assert seen.due([peer], 1002.5) == [1]
