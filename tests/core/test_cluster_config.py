"""The block `cluster` of server.json: where Redis is, what is kept secret, and which client database goes with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.cluster_machine import cluster_block
from helpers.processes import Children
from helpers.redis_server import RedisServer, RedisSetup
from hivemind_core.clients import Client
from hivemind_core.cluster_config import DEFAULTS, REDIS_MODULE, ClusterConfig, settle
from hivemind_core.config import Config, ConfigError, load_config
from hivemind_core.database import open_database
from hivemind_core.known_keys import unknown_keys

SECRET = "s3cret-word"
URL = "redis://redis.lan"


def settled(**block: Any) -> ClusterConfig:
    """What the hub makes of a block."""
    found = settle("server.json", {"cluster": block}, {}, "box")
    assert found is not None
    return found


def wrong(**block: Any) -> str:
    """Why a block is refused; a secret is never shown."""
    with pytest.raises(ConfigError) as raised:
        settled(**block)
    assert SECRET not in str(raised.value)
    return str(raised.value)


# --- where it is


@pytest.mark.parametrize("block", [None, False, {}])
def test_without_a_block_a_hub_stands_alone(block: Any) -> None:
    document = {"cluster": block, "database": {"module": "x"}}
    assert settle("server.json", document, {}, "box") is None
    assert document["database"] == {"module": "x"}


def test_an_address_is_enough() -> None:
    assert settled(url=URL) == ClusterConfig("redis.lan", hub_name="box")
    assert settled(url=URL).connection() == {
        "host": "redis.lan",
        "port": 6379,
        "db": 0,
        "username": None,
        "password": None,
    }


@pytest.mark.parametrize(
    ("url", "expected", "shown"),
    [
        ("redis://h:1/2", {"host": "h", "port": 1, "db": 2}, "redis://h:1/2"),
        ("redis://h/", {"host": "h"}, "redis://h:6379/0"),
        ("rediss://[fd00::1]:7", {"host": "fd00::1", "port": 7, "tls": True}, "rediss://[fd00::1]:7/0"),
        ("unix:///run/redis.sock", {"socket_path": "/run/redis.sock"}, "unix:///run/redis.sock"),
        ("unix:///r/a%20b?db=3", {"socket_path": "/r/a b", "db": 3}, "unix:///r/a b?db=3"),
        (f"redis://u%40x:{SECRET}@h", {"host": "h", "username": "u@x", "password": SECRET}, "redis://h:6379/0"),
        (f"redis://:{SECRET}%2F@h", {"host": "h", "password": f"{SECRET}/"}, "redis://h:6379/0"),
        (f"unix://:{SECRET}@/r.sock", {"socket_path": "/r.sock", "password": SECRET}, "unix:///r.sock"),
    ],
)
def test_an_address_is_read_and_shown_without_its_secrets(url: str, expected: dict[str, Any], shown: str) -> None:
    found = settled(url=url)
    assert found == ClusterConfig(**expected, hub_name="box")
    assert found.url == shown
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        f"http://:{SECRET}@h",
        f"redis://:{SECRET}@",
        f"redis://:{SECRET}@h:port",
        f"redis://:{SECRET}@h:70000",
        f"redis://:{SECRET}@h/name",
        f"redis://:{SECRET}@h/0?db=1",
        f"redis://[{SECRET}",
        f"unix://:{SECRET}@host/r.sock",
        f"unix://:{SECRET}@/r.sock?database=1",
        f"unix://:{SECRET}@/r.sock?db",
        "unix://",
    ],
)
def test_an_address_that_cannot_be_used_is_told_without_showing_it(url: str) -> None:
    assert "`cluster.url` must be written as redis://HOST" in wrong(url=url)


def test_what_stands_beside_the_address_counts_more_than_what_is_in_it() -> None:
    found = settled(url="redis://u:p@h", username="v", password=SECRET)
    assert (found.username, found.password) == ("v", SECRET)


def test_tls_has_its_files_and_always_checks_the_certificate() -> None:
    found = settled(url="rediss://h", ca_certs="/ca", certfile="/c", keyfile="/k", check_hostname=False)
    assert found.connection() == {
        "host": "h",
        "port": 6379,
        "db": 0,
        "username": None,
        "password": None,
        "ssl": True,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": False,
        "ssl_ca_certs": "/ca",
        "ssl_certfile": "/c",
        "ssl_keyfile": "/k",
    }


def test_all_keys_of_a_cluster_are_in_one_slot() -> None:
    assert settled(url=URL, name="home").key("inbox", "0a") == "hivemind:{home}:inbox:0a"


@pytest.mark.parametrize(
    ("block", "name"),
    [
        ({"name": "home"}, "url"),
        ({"url": 7}, "url"),
        ({"url": URL, "name": "a b"}, "name"),
        ({"url": URL, "name": "a*"}, "name"),
        ({"url": URL, "name": "x" * 65}, "name"),
        ({"url": URL, "hub_name": ""}, "hub_name"),
        ({"url": URL, "hub_name": "a\nb"}, "hub_name"),
        ({"url": URL, "password": [SECRET]}, "password"),
        ({"url": URL, "username": [SECRET]}, "username"),
        ({"url": URL, "ca_certs": 1}, "ca_certs"),
        ({"url": URL, "check_hostname": "no"}, "check_hostname"),
    ],
)
def test_what_is_wrong_is_named(block: dict[str, Any], name: str) -> None:
    assert wrong(**block).startswith(f"server.json: `cluster.{name}` ")


def test_a_block_that_is_no_object_is_wrong() -> None:
    with pytest.raises(ConfigError, match="`cluster` must be an object"):
        settle("server.json", {"cluster": URL}, {}, "box")


@pytest.mark.parametrize(("host_name", "called"), [("box", "box"), ("x" * 80, "x" * 64), ("", "hub"), ("a\0", "hub")])
def test_a_hub_is_called_like_its_machine(host_name: str, called: str) -> None:
    found = settle("server.json", {"cluster": {"url": URL}}, {}, host_name)
    assert found is not None
    assert found.hub_name == called
    assert settled(url=URL, hub_name="attic").hub_name == "attic"


# --- in the whole configuration


def load(tmp_path: Path, document: Any, **environ: str) -> Config:
    file = tmp_path / "server.json"
    file.write_text(json.dumps(document), "utf-8")
    return load_config(file, environ)


def test_the_client_database_is_at_the_same_server(tmp_path: Path) -> None:
    config = load(tmp_path, {"cluster": {"url": f"rediss://u:{SECRET}@h:1/2", "name": "home", "ca_certs": "/ca"}})
    assert (config.database_module, config.database_is_open) == (REDIS_MODULE, False)
    assert config.database == {
        "host": "h",
        "port": 1,
        "db": 2,
        "username": "u",
        "password": SECRET,
        "ssl": True,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_ca_certs": "/ca",
        "index_prefix": "hivemind:{home}:clients",
    }
    assert config.raw["database"] == {"module": REDIS_MODULE, REDIS_MODULE: config.database}


@pytest.mark.parametrize("module", [{}, {"module": REDIS_MODULE}])
def test_settings_that_name_no_server_are_added_to(tmp_path: Path, module: dict[str, Any]) -> None:
    block = {**module, REDIS_MODULE: {"index_prefix": "client", "retry_attempts": 1}}
    config = load(tmp_path, {"cluster": {"url": URL}, "database": block})
    assert config.database_module == REDIS_MODULE
    expected = {"host": "redis.lan", "port": 6379, "db": 0, "index_prefix": "client", "retry_attempts": 1}
    assert config.database == expected


def test_a_database_that_has_a_server_is_left_alone(tmp_path: Path) -> None:
    block = {"module": REDIS_MODULE, REDIS_MODULE: {"host": "other"}}
    assert load(tmp_path, {"cluster": {"url": URL}, "database": block}).database == {"host": "other"}


@pytest.mark.parametrize("way", ["password", "socket", "tls"])
def test_the_client_database_is_reached_as_the_cluster_is(tmp_path: Path, children: Children, way: str) -> None:
    socket = tmp_path / "redis.sock"
    setups = {
        "password": RedisSetup(password=SECRET),
        "socket": RedisSetup(settings={"unixsocket": str(socket)}),
        "tls": RedisSetup(tls=True, client_certificates=True, password=SECRET),
    }
    server = RedisServer(children, setups[way])
    block = cluster_block(server, **({"url": f"unix://{socket}"} if way == "socket" else {}))
    db = open_database(load(tmp_path, {"cluster": block}))
    db.add(Client(0, "a-key", name="kitchen"))
    db.close()
    assert server.call("EXISTS", "hivemind:{hivemind}:clients:client:1") == 1


def test_another_kind_of_database_is_refused_with_the_way_out(tmp_path: Path) -> None:
    block = {"module": "hivemind-json-db-plugin"}
    with pytest.raises(ConfigError, match=r"migrate-db --from hivemind-json-db-plugin --to hivemind-redis-db-plugin"):
        load(tmp_path, {"cluster": {"url": URL}, "database": block})


def test_the_effective_document_has_secrets_under_their_own_keys_alone(tmp_path: Path) -> None:
    config = load(tmp_path, {"cluster": {"url": f"redis://:{SECRET}@h"}})
    assert config.raw["cluster"] == DEFAULTS | {"url": "redis://h:6379/0", "password": SECRET}
    assert SECRET not in repr(config)
    assert unknown_keys(config.raw) == []


def test_the_environment_may_say_it_all(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        {"cluster": False},
        HIVEMIND_CLUSTER_URL="rediss://h",
        HIVEMIND_CLUSTER_PASSWORD=SECRET,
        HIVEMIND_CLUSTER_HUB_NAME="attic",
        HIVEMIND_CLUSTER_CHECK_HOSTNAME="0",
    )
    expected = ClusterConfig("h", tls=True, password=SECRET, check_hostname=False, hub_name="attic")
    assert config.cluster == expected
