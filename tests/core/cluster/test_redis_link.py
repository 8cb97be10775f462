from __future__ import annotations

import pytest
from redis.exceptions import RedisError, ResponseError

from helpers.processes import Children, free_port
from helpers.redis_server import RedisServer
from hivemind_core.cluster.redis_link import RedisLink
from hivemind_core.cluster_config import ClusterConfig


async def test_commands_are_answered_in_order_and_one_that_fails_harms_no_other(children: Children) -> None:
    link = RedisLink(ClusterConfig(port=RedisServer(children).port), "test")
    await link.connect()
    set_, wrong, get, missing = await link.ask([("SET", "a", b"\xff"), ("LPOP", "a"), ("GET", "a"), ("GET", "b")])
    assert (set_, get, missing) == (b"OK", b"\xff", None)
    assert isinstance(wrong, ResponseError)
    await link.end()


async def test_a_lost_connection_raises(children: Children) -> None:
    server = RedisServer(children)
    link = RedisLink(ClusterConfig(port=server.port), "test")
    await link.connect()
    server.kill()
    with pytest.raises((RedisError, OSError)):
        await link.ask([("PING",)])
    await link.close()


async def test_where_nothing_listens_connecting_raises() -> None:
    link = RedisLink(ClusterConfig(port=free_port()), "test")
    with pytest.raises((RedisError, OSError)):
        await link.connect()
    await link.end()
