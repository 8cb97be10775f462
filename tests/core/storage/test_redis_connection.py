"""Redis that is away, deaf, locked, full or not as told: a StorageError with what to do, and never a secret."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.processes import PATIENCE_S, Children, free_port, wait_until
from helpers.redis_server import RedisServer, RedisSetup, make_certificate
from helpers.stores import dump
from hivemind_core.clients import Client, tombstone
from hivemind_core.config import ConfigError
from hivemind_core.storage import DuplicateKey, StorageError
from hivemind_core.storage.redis import RedisStore, read_redis
from hivemind_core.storage.redis_connection import TIMEOUT_S
from hivemind_core.storage.redis_settings import RedisSettings, read_settings

PASSWORD = "s3cret of Redis"
CLIENTS_PASSWORD = "s3cret of a client"
BOUND_S = 4 * TIMEOUT_S
"""No call may take longer, on a machine that has much to do."""
COMMANDS = (
    *("+eval", "+exists", "+get", "+mget", "+set", "+del", "+incr", "+type", "+scan"),
    *("+smembers", "+scard", "+sadd", "+srem", "+hset", "+info|cluster", "+client"),
)
"""What docs/hub.md tells to allow the user of Redis."""

HUB_PAGE = Path(__file__).parents[3] / "docs" / "hub.md"
Options = dict[str, Any]


def store_at(options: Options) -> RedisStore:
    return RedisStore(read_settings(options))


def failure(call: Callable[[], Any]) -> str:
    """Return why a call failed: soon, with the address, and without a password."""
    begun = time.monotonic()
    with pytest.raises(StorageError) as raised:
        call()
    assert time.monotonic() - begun < BOUND_S
    text = str(raised.value)
    assert "the client database in Redis at 127.0.0.1:" in text
    assert PASSWORD not in text
    assert CLIENTS_PASSWORD not in text
    return text


def writes(store: RedisStore) -> dict[str, Callable[[], Any]]:
    return {
        "insert": lambda: store.insert(Client(0, "b", password=CLIENTS_PASSWORD)),
        "edit": lambda: store.edit(1, lambda row: {"password": f"{CLIENTS_PASSWORD}, another"}),
        "touch": lambda: store.touch({1: 5}),
        "delete": lambda: store.delete(1),
    }


def calls(store: RedisStore) -> dict[str, Callable[[], Any]]:
    return {"load": store.load, "version": store.version, "restore": lambda: store.restore([]), **writes(store)}


@pytest.fixture
def start(children: Children) -> Callable[..., RedisServer]:
    return lambda **setup: RedisServer(children, RedisSetup(**setup))


@pytest.fixture
def server(start: Callable[..., RedisServer]) -> RedisServer:
    return start(password=PASSWORD, appendonly=True)


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    with closing(store_at(server.options())) as store:
        store.insert(Client(0, "a", "kitchen", password=CLIENTS_PASSWORD))
        yield store


# who may in


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"password": None}, "Set `username` and `password` in server.json"),
        ({"password": "another"}, "Set `username` and `password` in server.json"),
        ({"username": "nobody"}, "Set `username` and `password` in server.json"),
        ({"host": "127.0.0.1", "port": 1}, "See whether Redis runs there"),
        ({"use_ssl": True}, "use_ssl"),
        ({"db": 99}, "database 99: DB index is out of range."),
    ],
)
def test_what_server_json_has_wrong_is_told(server: RedisServer, given: Options, reason: str) -> None:
    assert reason in failure(lambda: store_at({**server.options(), **given}))


def test_a_user_of_its_own_needs_the_commands_that_are_documented(server: RedisServer) -> None:
    server.call("ACL", "SETUSER", "hive", "on", f">{PASSWORD}", "~client:*", *COMMANDS)
    options = server.options(username="hive")
    with closing(store_at(options)) as store:
        store.restore([Client(1, "a", "kitchen")])
        store.insert(Client(0, "b"))
        store.edit(1, lambda row: {"name": "x", "api_key": "c"})
        store.touch({1: 5})
        store.delete(2)
        assert len(store.load()) == len(read_redis(read_settings(options))) == 2
        server.call("ACL", "SETUSER", "hive", "-eval")
        for call in writes(store).values():
            assert "Let this user of Redis run the commands" in failure(call)


def test_the_documented_commands_are_these() -> None:
    assert f"`~client:* {' '.join(COMMANDS)}`" in HUB_PAGE.read_text("utf-8")


@pytest.mark.parametrize("key", ["client:*", "other:*"])
def test_a_user_that_may_not_ask_whether_it_is_a_cluster_is_let_go_on(server: RedisServer, key: str) -> None:
    server.call("ACL", "SETUSER", "hive", "on", f">{PASSWORD}", f"~{key}", *COMMANDS, "-info")
    options = server.options(username="hive")
    if key == "client:*":
        store_at(options).close()
    else:
        assert "Let this user of Redis" in failure(lambda: store_at(options))


def test_a_unix_socket(start: Callable[..., RedisServer], tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    start(settings={"unixsocket": path}, password=PASSWORD)
    with closing(store_at({"unix_socket_path": path, "password": PASSWORD})) as store:
        assert store.insert(Client(0, "a")).client_id == 1
    with pytest.raises(StorageError, match=f"in Redis at {path}x: .*See whether Redis runs there"):
        store_at({"unix_socket_path": f"{path}x"})


# TLS


def test_tls_with_a_certificate_that_is_vouched_for(start: Callable[..., RedisServer]) -> None:
    server = start(tls=True, password=PASSWORD)
    with closing(store_at(server.options())) as store:
        assert store.insert(Client(0, "a")).client_id == 1
    unchecked = {**server.options(), "ssl_ca_certs": None, "ssl_cert_reqs": "none"}
    assert len(read_redis(read_settings(unchecked))) == 1


def test_tls_that_goes_wrong_is_told(start: Callable[..., RedisServer], tmp_path: Path) -> None:
    server = start(tls=True, settings={"bind": "0.0.0.0"})
    make_certificate(tmp_path, "127.0.0.1", "another")
    refused: list[Options] = [{"ssl_ca_certs": None}, {"ssl_ca_certs": str(tmp_path / "another.crt")}]
    for given in [*refused, {"host": "127.0.0.2"}]:
        with pytest.raises(StorageError, match=r"CERTIFICATE_VERIFY_FAILED.*Check `use_ssl` and the `ssl_` keys"):
            store_at({**server.options(), **given})
    store_at(server.options(host="127.0.0.2", ssl_check_hostname=False)).close()
    assert "`use_ssl`" in failure(lambda: store_at({**server.options(), "ssl": False}))


def test_a_certificate_of_the_hubs_own(start: Callable[..., RedisServer]) -> None:
    server = start(tls=True, client_certificates=True)
    store_at(server.options()).close()
    without = {**server.options(), "ssl_certfile": None, "ssl_keyfile": None}
    assert "`ssl_" in failure(lambda: store_at(without))


@pytest.mark.parametrize("key", ["ssl_certfile", "ssl_ca_certs"])
def test_a_file_that_is_not_there_is_an_error_of_the_configuration(key: str, tmp_path: Path) -> None:
    options = {"ssl": True, key: str(tmp_path / "none.pem")}
    with pytest.raises(ConfigError, match=f"`{key}` of the Redis database is .*none.pem, which cannot be read"):
        store_at(options)


# Redis fails


def test_while_it_is_away_every_call_fails_and_afterwards_none(server: RedisServer, store: RedisStore) -> None:
    before = store.load()
    server.kill()
    for call in calls(store).values():
        assert "Connection refused. See whether Redis runs there" in failure(call)
    server.start()
    assert store.load() == before
    assert store.edit(1, lambda row: {"name": "x"}) is not None


@pytest.mark.parametrize("doing", ["load", "version", "insert", "edit", "touch", "delete", "restore"])
def test_while_it_is_deaf_a_call_fails_in_time(server: RedisServer, store: RedisStore, doing: str) -> None:
    server.pause()
    try:
        assert f"Redis must answer within {TIMEOUT_S:g} s" in failure(calls(store)[doing])
    finally:
        server.resume()
    assert [row.client_id for row in store.load()] == [1]


def test_a_write_that_was_not_answered_is_read_again(server: RedisServer, store: RedisStore) -> None:
    """It may have been done; what is told to the hub afterwards is what Redis says then."""
    stamp = store.version()

    def deafened(row: Client) -> dict[str, Any]:
        server.pause()
        return {"name": "done or not"}

    failure(lambda: store.edit(1, deafened))
    server.resume()
    assert server.client().ping()
    done = json.loads(server.call("GET", "client:client:1"))["name"] == "done or not"
    assert (store.version() != stamp) is done


def test_a_replica_is_read_and_not_written(server: RedisServer, store: RedisStore) -> None:
    before = dump(server.client())
    server.call("REPLICAOF", "127.0.0.1", free_port())
    assert len(store.load()) == 1
    for call in writes(store).values():
        assert "This is a replica; name its primary" in failure(call)
    assert dump(server.client()) == before
    server.call("REPLICAOF", "NO", "ONE")
    assert store.delete(1)


def test_where_it_is_full_nothing_is_written(server: RedisServer, store: RedisStore) -> None:
    before = dump(server.client())
    server.configure("maxmemory", "1")
    assert len(store.load()) == 1
    for call in writes(store).values():
        assert "Raise `maxmemory` of Redis, and keep its policy at `noeviction`" in failure(call)
    assert dump(server.client()) == before
    server.configure("maxmemory", "0")
    assert store.insert(Client(0, "b")).client_id == 2


def test_while_it_loads_it_is_waited_for(server: RedisServer) -> None:
    with closing(store_at(server.options())) as store:
        store.restore([Client(number, f"key-{number}") for number in range(1, 301)])
        server.call("BGREWRITEAOF")  # one command for each key, each of which may take its time
        wait_until(lambda: not server.client().info("persistence")["aof_rewrite_in_progress"], BOUND_S, "it is written")
        server.kill()
        server.start(loaded=False, **{"key-load-delay": "20000", "loading-process-events-interval-bytes": "1024"})
        for call in (store.load, store.version):
            assert "Redis reads its data from the disk; wait" in failure(call)


def test_a_command_that_it_does_not_know_is_told_without_its_words(start: Callable[..., RedisServer]) -> None:
    server = start(settings={"rename-command": "EVAL "})
    with closing(store_at(server.options())) as store:
        text = failure(lambda: store.insert(Client(0, "a", password=CLIENTS_PASSWORD)))
    assert text.endswith("unknown command 'EVAL'.")


def test_killed_in_the_middle_of_writes_it_has_all_that_it_acknowledged(server: RedisServer, store: RedisStore) -> None:
    acknowledged: list[Client] = []

    def add() -> None:
        with suppress(StorageError):
            while True:
                acknowledged.append(store.insert(Client(0, f"key-{len(acknowledged)}")))
                store.edit(acknowledged[-1].client_id, lambda row: {"name": f"{row.name}, renamed"})

    writer = threading.Thread(target=add)
    writer.start()
    wait_until(lambda: len(acknowledged) >= 50, PATIENCE_S, "clients are added")
    server.kill()
    writer.join(BOUND_S)
    assert not writer.is_alive()
    server.start()

    rows = {row.client_id: row for row in store.load()}
    assert rows.keys() >= {row.client_id for row in acknowledged}
    assert len(rows) <= len(acknowledged) + 2
    found = dump(server.client())
    for row in rows.values():
        assert found[f"client:api_key:{row.api_key}"] == {str(row.client_id)}
        assert found[f"client:name:{row.name}"] == {str(row.client_id)}
        assert found[f"client:idx:{row.client_id}"] == {"name": row.name, "api_key": row.api_key}
    assert found["client:count"] == str(max(rows))
    assert sum(key.startswith("client:name:") for key in found) == len(rows)


# a Redis Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with Children(tmp_path_factory.mktemp("cluster")) as children:
        yield RedisServer(children, RedisSetup(cluster=True, password="s3cret", appendonly=True))


@pytest.mark.parametrize("named", ["by its nodes", "by host and port"])
def test_a_cluster_keeps_clients_under_a_hash_tag(cluster: RedisServer, named: str) -> None:
    cluster.call("FLUSHALL")
    options = cluster.options(cluster_hash_tag="hive")
    if named == "by its nodes":
        nodes = [{"host": cluster.setup.host, "port": cluster.port}]
        options = {**options, "port": 1, "cluster_nodes": nodes}
    settings = read_settings(options)
    with closing(RedisStore(settings)) as store, closing(RedisStore(settings)) as other:
        store.restore([Client(2, "b", "kitchen"), tombstone(4)])
        assert other.insert(Client(0, "a")).client_id == 5
        with pytest.raises(DuplicateKey):
            store.insert(Client(0, "a"))
        other.edit(2, lambda row: {"is_admin": True})
        other.touch({2: 7.0, 5: 7.0})
        stamp = store.version()
        assert other.delete(5)
        assert store.version() != stamp
        assert (
            store.load()
            == read_redis(settings)
            == [
                Client(2, "b", "kitchen", is_admin=True, last_seen=7.0),
                tombstone(4),
                tombstone(5),
            ]
        )
        cluster.restart()
        assert [row.client_id for row in after_a_while(store)] == [2, 4, 5]
    assert all(key.startswith("client:{hive}:") for key in cluster.call("KEYS", "*"))


def after_a_while(store: RedisStore) -> list[Client]:
    """Read the clients of a cluster that was away: the first answer may be that it is not there."""

    def answered() -> list[Client] | None:
        with suppress(StorageError):
            return store.load()
        return None

    rows: list[Client] = wait_until(answered, PATIENCE_S, "the cluster is there again")
    return rows


def test_a_cluster_without_a_hash_tag_is_refused_with_what_to_do(cluster: RedisServer) -> None:
    with pytest.raises(ConfigError, match=r"is in a Redis Cluster.*`cluster_hash_tag`.*hivemind-redis-migrate-cluster"):
        RedisStore(read_settings(cluster.options()))


def test_settings_of_a_cluster_that_is_none_are_told(server: RedisServer) -> None:
    settings = RedisSettings(password=PASSWORD, nodes=(("127.0.0.1", server.port),), hash_tag="x")
    with pytest.raises(StorageError, match=r"This is no Redis Cluster; name it by `host` and `port`"):
        RedisStore(settings)
    with pytest.raises(StorageError, match=r"Redis Cluster at 127.0.0.1:1: .*See whether Redis runs there"):
        RedisStore(replace(settings, nodes=(("127.0.0.1", 1),)))


def test_one_node_is_told_that_it_is_of_a_cluster(start: Callable[..., RedisServer]) -> None:
    """Its user may not ask for that, so that the first write tells."""
    server = start(cluster=True)
    server.call("ACL", "SETUSER", "hive", "on", "nopass", "~client:*", *COMMANDS, "-info")
    with closing(store_at(server.options(username="hive"))) as store:
        assert "set `cluster_nodes` and `cluster_hash_tag`" in failure(lambda: store.insert(Client(0, "a")))
