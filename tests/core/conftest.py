"""What tests of the hub share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.processes import Children
from helpers.redis_server import RedisServer


@pytest.fixture(scope="session")
def common_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for all tests of a run that do nothing to it but write."""
    with Children(tmp_path_factory.mktemp("redis")) as children:
        yield RedisServer(children)


@pytest.fixture
def redis_server(common_redis: RedisServer) -> RedisServer:
    """The same, with nothing in it."""
    common_redis.call("FLUSHALL")
    return common_redis
