"""The cluster, at a real Redis."""

from __future__ import annotations

import json
import shutil
import time

import pytest

from helpers.hub_commands import hub_command
from helpers.processes import free_port
from helpers.redis_server import RedisServer
from hivemind_bus_client.doctor.findings import Finding
from hivemind_core.config import default_path, load_config
from hivemind_core.doctor.case import HubCase
from hivemind_core.doctor.shared import look
from hivemind_core.hub_identity import identity_path, load_identity


def found(off_s: float = 0.0) -> list[Finding]:
    return list(look(HubCase(config=load_config(), wall=lambda: time.time() + off_s)))


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    """A Redis, and a hub that names it."""
    default_path().parent.mkdir(parents=True, exist_ok=True)
    default_path().write_text(json.dumps({"cluster": {"url": redis_server.url, "hub_name": "attic"}}), "utf-8")
    return redis_server


def test_without_a_cluster_nothing_is_said() -> None:
    assert found() == list(look(HubCase())) == []


def test_a_cluster_without_an_identity(server: RedisServer) -> None:
    redis, told = found()
    assert (redis.verdict, told.verdict) == ("ok", "FAIL")
    assert "hivemind-core cluster create" in told.cure


def test_a_member(server: RedisServer) -> None:
    assert hub_command("cluster", "create").code == 0
    assert [each.verdict for each in found()] == ["ok", "ok"]


@pytest.mark.parametrize("has_another", [True, False])
def test_a_hub_that_is_no_member(server: RedisServer, has_another: bool) -> None:
    assert hub_command("cluster", "create").code == 0
    for path in identity_path().parent.iterdir():
        if path != default_path():
            path.unlink()
    if has_another:
        load_identity()
    told = found()[-1]
    assert (told.verdict, "hivemind-core cluster join" in told.cure) == ("FAIL", True)
    assert identity_path().exists() is has_another


def test_clocks_that_disagree(server: RedisServer) -> None:
    ahead = found(60)[0]
    assert (ahead.verdict, "60 s ahead of" in ahead.reason) == ("warn", True)
    assert "60 s behind" in found(-60)[0].reason


def test_redis_that_is_away() -> None:
    default_path().parent.mkdir(parents=True)
    url = f"redis://:geheim@127.0.0.1:{free_port()}"
    default_path().write_text(json.dumps({"cluster": {"url": url}}), "utf-8")
    (told,) = found()
    assert (told.verdict, bool(told.cure)) == ("FAIL", True)
    assert "geheim" not in told.reason + told.cure


def test_nothing_is_made(server: RedisServer) -> None:
    case = HubCase(config=load_config())
    shutil.rmtree(identity_path().parent)
    assert [each.verdict for each in look(case)] == ["ok", "FAIL"]
    assert not identity_path().parent.exists()
    assert server.client().keys("*") == []
