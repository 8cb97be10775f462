"""`cluster status`: who runs, from what the members wrote themselves."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from helpers.cluster_machine import Machine, cluster_block
from helpers.processes import Children
from helpers.redis_server import RedisServer
from hivemind_core.cluster.members import Member
from hivemind_core.cluster.records import Listed
from hivemind_core.cluster.vault import cluster_secret, member_record
from hivemind_core.config import load_config
from hivemind_core.hub_identity import load_identity

YOUNG = Listed(Member("b" * 16, "attic", 1_700_000_060_000, False, False, 3))
OLD = Listed(Member("a" * 16, "cellar", 1_700_000_000_000, True, True, 12), True, "wss://cellar.lan:5678")


@pytest.fixture
def server(children: Children) -> RedisServer:
    return RedisServer(children)


@pytest.fixture
def member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: RedisServer) -> Machine:
    """A machine whose hub has created the cluster."""
    made = Machine(tmp_path / "one", monkeypatch)
    made.configure(cluster=cluster_block(server))
    assert made.run("cluster", "create").code == 0
    return made


def tell(server: RedisServer, *members: Listed, secret: bytes = b"") -> None:
    """Write records as running hubs do."""
    config = load_config().cluster
    assert config is not None
    with server.client() as client:
        for listed in members:
            key, value, ttl_ms = member_record(config, secret or cluster_secret(load_identity()), listed)
            client.set(key, value, px=ttl_ms)


def test_members_are_listed_the_oldest_first(member: Machine, server: RedisServer) -> None:
    tell(server, YOUNG, OLD)
    ran = member.run("cluster", "status", "--json")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert (found["name"], found["url"], found["this_hub"]) == ("hivemind", server.url, "box")
    first, second = found["members"]
    last = first.pop("last_beat_s")
    assert 0 <= last <= 5
    assert first.pop("since").startswith("2023-11-1")
    assert first == {
        "name": "cellar",
        "id": "a" * 16,
        "address": "wss://cellar.lan:5678",
        "leader": True,
        "satellites": 12,
        "agent": True,
        "upstream": True,
    }
    assert (second["name"], second["leader"], second["address"]) == ("attic", False, None)


def test_people_get_a_table(member: Machine, server: RedisServer) -> None:
    tell(server, OLD)
    out = member.run("cluster", "status").out
    assert out.startswith(f"Cluster 'hivemind' at {server.url}\n")
    (line,) = [line for line in out.splitlines() if "cellar" in line and "wss" in line]
    assert "12" in line
    assert "s ago" in line


def test_a_member_that_is_gone_is_not_listed_for_long(member: Machine, server: RedisServer) -> None:
    tell(server, OLD)
    (key,) = server.call("KEYS", "*:member:*")
    assert 0 < server.call("PTTL", key) <= 5000
    server.call("PEXPIRE", key, 1)
    time.sleep(0.01)
    assert "No hub of it runs." in member.run("cluster", "status").out


def test_what_no_member_wrote_is_not_listed(member: Machine, server: RedisServer) -> None:
    tell(server, OLD, secret=b"x" * 32)
    server.call("SET", "hivemind:{hivemind}:member:zzz", "forged")
    assert json.loads(member.run("cluster", "status", "--json").out)["members"] == []


def test_only_a_member_can_read_it(
    member: Machine, server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Machine(tmp_path / "two", monkeypatch)
    stranger.configure(cluster=cluster_block(server))
    ran = stranger.run("cluster", "status")
    assert ran.code == 1
    assert "not a member" in ran.error
    assert stranger.identity() == {}
