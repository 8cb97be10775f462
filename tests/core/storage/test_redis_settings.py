"""The Redis database in server.json: released names and defaults, and what is wrong with a value."""

from __future__ import annotations

from typing import Any

import pytest

from hivemind_core.config_values import ConfigError
from hivemind_core.known_keys import unknown_keys
from hivemind_core.storage.redis_settings import (
    DEFAULTS,
    OPTIONAL,
    REDIS_MODULE,
    UNUSED,
    RedisSettings,
    RedisTLS,
    read_settings,
)

RELEASED: dict[str, Any] = {
    "name": "clients",
    "subfolder": "hivemind-core",
    "host": "redis.example",
    "port": 6380,
    "db": 1,
    "username": "default",
    "password": "",
    "index_prefix": "client",
    "cluster_nodes": None,
    "cluster_hash_tag": None,
    "max_connections": 10,
    "retry_attempts": 3,
    "retry_delay": 0.1,
    "use_ssl": False,
    "ssl_certfile": None,
    "ssl_keyfile": None,
    "ssl_ca_certs": None,
    "ssl_cert_reqs": "required",
    "ssl_check_hostname": True,
    "admission_record_ttl": 60,
    "api_key_cache_ttl": 0.0,
    "api_key_cache_size": 2048,
}
"""As the documentation of the released plugin has it."""


def test_the_defaults_are_the_released_ones() -> None:
    assert read_settings({}) == RedisSettings("127.0.0.1", 6379, None, None, 0, (), None, "client", None)
    assert read_settings({}).prefix == "client"


def test_a_released_block_is_read_as_it_is() -> None:
    assert read_settings(RELEASED) == RedisSettings("redis.example", 6380, db=1)


def test_every_key_is_known_to_server_json() -> None:
    keys = {*DEFAULTS, *OPTIONAL, *UNUSED}
    assert keys >= RELEASED.keys()
    assert unknown_keys({"database": {REDIS_MODULE: dict.fromkeys(keys)}}) == []
    misspelt = {"database": {REDIS_MODULE: {"cluster_node": []}}}
    assert unknown_keys(misspelt) == [
        (f"database.{REDIS_MODULE}.cluster_node", f"database.{REDIS_MODULE}.cluster_nodes")
    ]


@pytest.mark.parametrize(
    ("options", "user"),
    [
        ({}, (None, None)),
        ({"username": "default"}, (None, None)),
        ({"password": ""}, (None, None)),
        ({"password": "p"}, ("default", "p")),
        ({"username": "hive", "password": "p"}, ("hive", "p")),
        ({"username": "hive"}, ("hive", None)),
    ],
)
def test_a_user_is_named_where_there_is_something_to_prove(
    options: dict[str, Any], user: tuple[str | None, str | None]
) -> None:
    settings = read_settings(options)
    assert (settings.username, settings.password) == user


def test_a_hash_tag_is_part_of_every_key() -> None:
    assert read_settings({"cluster_hash_tag": "hive", "index_prefix": "x"}).prefix == "x:{hive}"


def test_a_cluster_is_named_by_some_of_its_nodes() -> None:
    settings = read_settings({"cluster_nodes": [{"host": "a"}, {"host": "::1", "port": 7000}]})
    assert settings.nodes == (("a", 6379), ("::1", 7000))
    assert str(settings) == "in the Redis Cluster at a:6379, [::1]:7000"


@pytest.mark.parametrize(
    ("options", "tls"),
    [
        ({"use_ssl": True}, RedisTLS()),
        ({"ssl": True}, RedisTLS()),
        ({"ssl_ca_certs": "/ca"}, None),
        ({"ssl": True, "ssl_ca_certs": "/ca"}, RedisTLS(authorities="/ca")),
        ({"ssl": True, "ssl_certfile": "/c", "ssl_keyfile": "/k"}, RedisTLS("/c", "/k")),
        ({"ssl": True, "ssl_check_hostname": False}, RedisTLS(check_host=False)),
        ({"ssl": True, "ssl_cert_reqs": "none"}, RedisTLS(check="none", check_host=False)),
    ],
)
def test_tls(options: dict[str, Any], tls: RedisTLS | None) -> None:
    assert read_settings(options).tls == tls


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"host": ""}, "`database.hivemind-redis-db-plugin.host` must be an address"),
        ({"port": "6379"}, "port` must be a whole number from 1 to 65535"),
        ({"port": 0}, "port` must be a whole number from 1 to 65535, not 0"),
        ({"db": -1}, "db` must be a whole number"),
        ({"password": 5}, "password` must be a text"),
        ({"index_prefix": ""}, "index_prefix` must be a text"),
        ({"cluster_nodes": "a:1"}, 'cluster_nodes` must be an array of objects like {"host"'),
        ({"cluster_nodes": [{"port": 1}]}, "cluster_nodes` must be an array of objects"),
        ({"cluster_hash_tag": "{a}"}, "without braces"),
        ({"use_ssl": "yes"}, "use_ssl` must be true or false"),
        ({"ssl": True, "ssl_cert_reqs": "maybe"}, "ssl_cert_reqs` must be one of required, optional, none"),
        ({"ssl": True, "ssl_keyfile": "/k"}, "`ssl_keyfile` of the Redis database needs `ssl_certfile`"),
    ],
)
def test_a_value_that_cannot_be_is_told(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_settings(options)
    assert reason in str(raised.value)


def test_the_password_is_in_no_text() -> None:
    settings = read_settings({"password": "s3cret"})
    assert "s3cret" not in f"{settings} {settings!r}"
    with pytest.raises(ConfigError) as raised:
        read_settings({"password": "s3cret", "port": "x"})
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "in Redis at 127.0.0.1:6379"),
        ({"host": "::1", "db": 3}, "in Redis at [::1]:6379, database 3"),
        ({"unix_socket_path": "/run/redis.sock"}, "in Redis at /run/redis.sock"),
    ],
)
def test_people_are_told_where_it_is(options: dict[str, Any], text: str) -> None:
    assert str(read_settings(options)) == text
