"""What is wrong with Redis, told by a real one: a sentence that names the server and the cure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions as redis

from helpers.processes import Children, free_port
from helpers.redis_server import RedisServer, RedisSetup, make_certificate
from hivemind_core.cluster import vault
from hivemind_core.cluster.redis_errors import is_refusal, sentence
from hivemind_core.cluster.vault import Unavailable
from hivemind_core.cluster_config import ClusterConfig

PASSWORD = "r3dis-word"


def reaching(server: RedisServer, **other: Any) -> ClusterConfig:
    """How to reach a server, with something about it that is wrong."""
    setup = server.setup
    right = ClusterConfig(setup.host, server.port, password=setup.password or None, tls=setup.tls)
    return replace(right, ca_certs=str(server.certificate) if setup.tls else None, **other)


def why(config: ClusterConfig) -> Unavailable:
    with pytest.raises(Unavailable) as raised, vault.opened(config) as opened:
        opened.stored()
    said = str(raised.value)
    assert said.startswith(f"The cluster's Redis at {config.url} ")
    assert said.endswith(".")
    assert PASSWORD not in said
    assert "\n" not in said
    return raised.value


def test_a_wrong_password_is_told(children: Children) -> None:
    server = RedisServer(children, RedisSetup(password=PASSWORD))
    for wrong in ({"password": None}, {"password": "x"}, {"username": "nobody"}):
        error = why(reaching(server, **wrong))
        assert "`cluster.password`" in str(error)
        assert error.is_refusal


def test_a_user_without_the_rights_is_told(children: Children) -> None:
    server = RedisServer(children)
    server.call("ACL", "SETUSER", "guest", "on", f">{PASSWORD}", "~other:*", "+@all")
    error = why(reaching(server, username="guest", password=PASSWORD))
    assert "docs/clusters.md" in str(error)
    assert error.is_refusal


def test_tls_where_there_is_none_and_none_where_there_is(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "TIMEOUT_S", 1.0)
    plain, tls = RedisServer(children), RedisServer(children, RedisSetup(tls=True), name="tls")
    assert "speaks TLS" in str(why(reaching(plain, tls=True)))
    error = why(ClusterConfig(tls.setup.host, tls.port))
    assert "rediss://" in str(error)
    assert not error.is_refusal


def test_a_certificate_that_is_not_accepted_is_told(children: Children, tmp_path: Path) -> None:
    server = RedisServer(children, RedisSetup(tls=True))
    for others in (None, tmp_path / "other.crt"):
        if others is not None:
            make_certificate(tmp_path, "127.0.0.1", "other")
        error = why(replace(reaching(server), ca_certs=others and str(others)))
        assert "`cluster.ca_certs`" in str(error)
        assert error.is_refusal


def test_a_certificate_for_another_name_is_told(children: Children) -> None:
    server = RedisServer(children, RedisSetup(tls=True, settings={"bind": "127.0.0.1 127.0.0.2"}))
    config = replace(reaching(server), host="127.0.0.2")
    error = why(config)
    assert "`cluster.check_hostname`" in str(error)
    assert error.is_refusal
    with vault.opened(replace(config, check_hostname=False)) as opened:
        assert opened.stored() is None


def test_a_certificate_of_the_hub_that_is_missing_is_told(children: Children) -> None:
    server = RedisServer(children, RedisSetup(tls=True, client_certificates=True))
    assert "`cluster.certfile`" in str(why(reaching(server)))
    own = {"certfile": str(server.certificate), "keyfile": str(server.key)}
    with vault.opened(reaching(server, **own)) as opened:
        assert opened.stored() is None


def test_files_that_cannot_be_used_are_told(children: Children, tmp_path: Path) -> None:
    server = RedisServer(children, RedisSetup(tls=True))
    empty = tmp_path / "empty"
    empty.touch()
    for file in (tmp_path / "missing", empty):
        assert "`cluster.ca_certs`" in str(why(replace(reaching(server), ca_certs=str(file))))


def test_nobody_there_is_told(tmp_path: Path) -> None:
    gone = why(ClusterConfig(port=free_port()))
    assert "refuses connections" in str(gone)
    assert not gone.is_refusal
    assert "looked up" in str(why(ClusterConfig("redis.invalid")))
    socket = why(ClusterConfig(socket_path=str(tmp_path / "redis.sock")))
    assert "no such socket" in str(socket)
    assert not socket.is_refusal


def test_one_that_hangs_is_told(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "TIMEOUT_S", 0.2)
    server = RedisServer(children)
    server.pause()
    error = why(reaching(server))
    server.resume()
    assert "does not answer" in str(error)
    assert not error.is_refusal


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (redis.ReadOnlyError("READONLY"), "Name the primary"),
        (redis.BusyLoadingError("LOADING"), "still loading"),
        (redis.OutOfMemoryError("used memory > 'maxmemory'."), "is full. Raise its `maxmemory`."),
        (redis.RedisError("odd"), "(odd)"),
        (redis.RedisError(), "(RedisError)"),
    ],
)
def test_the_rest_is_told(error: Exception, said: str) -> None:
    assert said in sentence(error, ClusterConfig())
    assert not is_refusal(error, ClusterConfig())
