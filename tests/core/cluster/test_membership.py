"""A hub's place in its cluster: the check at its start, now or when Redis comes, and its record while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from helpers.processes import PATIENCE_S, Children, wait_until
from helpers.redis_server import RedisServer, RedisSetup
from hivemind_core.cluster import membership, vault
from hivemind_core.cluster.members import Member
from hivemind_core.cluster.membership import Membership, check_identity
from hivemind_core.cluster.records import TTL_MS, Listed
from hivemind_core.cluster.shared_identity import SharedIdentity, seal
from hivemind_core.cluster.vault import Unavailable
from hivemind_core.cluster_config import ClusterConfig
from hivemind_core.config import ConfigError
from hivemind_core.hub_identity import HubIdentity

HUB = "a" * 16
IDENTITY = HubIdentity("PUBLIC PEM", bytes(range(32)))
LISTED = Listed(Member(HUB, "attic", 1_700_000_000_000))
KEY = f"hivemind:{{hivemind}}:member:{HUB}"
PASSWORD = "r3dis-word"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do often what is done every other second."""
    monkeypatch.setattr(membership, "EVERY_S", 0.05)


@pytest.fixture
def server(children: Children) -> RedisServer:
    return RedisServer(children, RedisSetup(password=PASSWORD))


@pytest.fixture
def config(server: RedisServer) -> ClusterConfig:
    return ClusterConfig(port=server.port, password=PASSWORD)


def create(config: ClusterConfig, identity: HubIdentity = IDENTITY) -> None:
    """Give the cluster an identity."""
    shared = SharedIdentity(identity.node_id, "PRIVATE PEM", identity.noise_key)
    with vault.opened(config) as opened:
        opened.put(seal(shared, b"secret", config.name), opened.stored())


async def until(condition: Callable[[], Any]) -> None:
    """Wait in a thread, so that the loop goes on meanwhile."""
    await asyncio.to_thread(wait_until, condition, PATIENCE_S, "what was waited for")


# --- the check


async def test_a_member_passes(config: ClusterConfig) -> None:
    create(config)
    await check_identity(config, IDENTITY)


async def test_a_stranger_is_told_to_join(config: ClusterConfig) -> None:
    create(config)
    for other in (replace(IDENTITY, node_id="OTHER"), replace(IDENTITY, noise_key=bytes(32))):
        with pytest.raises(ConfigError, match="hivemind-core cluster join"):
            await check_identity(config, other)


async def test_before_there_is_a_cluster_it_tells_to_create_one(config: ClusterConfig) -> None:
    with pytest.raises(ConfigError, match="hivemind-core cluster create"):
        await check_identity(config, IDENTITY)


async def test_a_wrong_password_is_a_wrong_configuration(config: ClusterConfig) -> None:
    with pytest.raises(ConfigError, match=r"`cluster\.password`") as raised:
        await check_identity(replace(config, password="another"), IDENTITY)
    assert "another" not in str(raised.value)


async def test_redis_that_is_away_or_hangs_says_nothing_about_the_hub(
    server: RedisServer, config: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "TIMEOUT_S", 0.3)
    server.pause()
    with pytest.raises(Unavailable, match="does not answer"):
        await check_identity(config, IDENTITY)
    server.resume()
    await asyncio.to_thread(server.stop)
    monkeypatch.setattr(membership, "TIMEOUT_S", PATIENCE_S)
    with pytest.raises(Unavailable, match="refuses connections"):
        await check_identity(config, IDENTITY)


# --- while it runs


async def test_its_record_is_there_while_it_runs_and_not_afterwards(
    server: RedisServer, config: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "CLOSE_S", PATIENCE_S)
    create(config)
    refusals: list[str] = []
    running = Membership(config, IDENTITY, lambda: LISTED, refusals.append)
    running.start()
    await until(lambda: server.call("EXISTS", KEY))
    assert 0 < server.call("PTTL", KEY) <= TTL_MS
    server.call("DEL", KEY)
    await until(lambda: server.call("EXISTS", KEY))
    await running.stop()
    assert server.call("EXISTS", KEY) == 0
    assert refusals == []


async def test_it_goes_on_after_redis_was_away(server: RedisServer, config: ClusterConfig) -> None:
    create(config)
    running = Membership(config, IDENTITY, lambda: LISTED, pytest.fail)
    running.start()
    await until(lambda: server.call("EXISTS", KEY))
    await asyncio.to_thread(server.restart)  # with nothing in it
    await until(lambda: server.call("EXISTS", KEY))
    await running.stop()


async def test_it_is_checked_when_redis_comes(server: RedisServer, config: ClusterConfig) -> None:
    await asyncio.to_thread(server.stop)
    refusals: list[str] = []
    running = Membership(config, replace(IDENTITY, node_id="OTHER"), lambda: LISTED, refusals.append)
    running.start()
    await asyncio.sleep(0.1)
    assert refusals == []
    await asyncio.to_thread(server.start)
    await asyncio.to_thread(create, config)
    await until(lambda: refusals)
    assert len(refusals) == 1
    assert server.call("EXISTS", KEY) == 0
    await running.stop()


async def test_it_ends_soon_though_redis_hangs(server: RedisServer, config: ClusterConfig) -> None:
    create(config)
    running = Membership(config, IDENTITY, lambda: LISTED, pytest.fail)
    running.start()
    await until(lambda: server.call("EXISTS", KEY))
    server.pause()
    await asyncio.wait_for(running.stop(), PATIENCE_S / 2)
    server.resume()


async def test_it_goes_on_after_something_failed_in_it(
    server: RedisServer, config: ClusterConfig, caplog: pytest.LogCaptureFixture
) -> None:
    create(config)
    problems = [RuntimeError("of its own")]

    def listed() -> Listed:
        if problems:
            raise problems.pop()
        return LISTED

    running = Membership(config, IDENTITY, listed, pytest.fail)
    running.start()
    await until(lambda: server.call("EXISTS", KEY))
    await running.stop()
    assert "of its own" in caplog.text
