"""The settings of the Redis database in server.json: names and defaults are those of the released plugin.

Those that need no counterpart here are accepted and do nothing: `UNUSED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config_values import ConfigError, Values, is_whole

REDIS_MODULE = "hivemind-redis-db-plugin"
DEFAULT_PORT = 6379
DEFAULT_USER = "default"
DEFAULTS: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": DEFAULT_PORT,
    "username": DEFAULT_USER,
    "db": 0,
    "index_prefix": "client",
    "use_ssl": False,
    "ssl": False,
    "ssl_cert_reqs": "required",
    "ssl_check_hostname": True,
}
OPTIONAL = (
    *("password", "unix_socket_path", "cluster_nodes", "cluster_hash_tag"),
    *("ssl_certfile", "ssl_keyfile", "ssl_ca_certs"),
)
UNUSED = (
    *("name", "subfolder", "max_connections", "retry_attempts", "retry_delay"),
    *("admission_record_ttl", "api_key_cache_ttl", "api_key_cache_size"),
)
"""The hub has one connection, looks again every second by itself, and keeps all clients in memory."""
CERTIFICATE_CHECKS = ("required", "optional", "none")
MOST_DATABASES = 1_000_000


@dataclass(frozen=True)
class RedisTLS:
    """How the connection to Redis is encrypted."""

    certificate: str | None = None
    """File with the certificate the hub shows, if Redis wants one."""
    key: str | None = None
    authorities: str | None = None
    """File with those that may vouch for Redis; None: the system's."""
    check: str = "required"
    """Whether Redis must be vouched for: one of `CERTIFICATE_CHECKS`."""
    check_host: bool = True

    @property
    def files(self) -> dict[str, str]:
        """The files it needs, by their key in server.json."""
        named = {"ssl_certfile": self.certificate, "ssl_keyfile": self.key, "ssl_ca_certs": self.authorities}
        return {key: path for key, path in named.items() if path}


@dataclass(frozen=True)
class RedisSettings:
    """Where the Redis with the clients is, and under which keys they are there."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    username: str | None = None
    """None: Redis's own default user."""
    password: str | None = field(default=None, repr=False)
    db: int = 0
    nodes: tuple[tuple[str, int], ...] = ()
    """Hosts and ports of a Redis Cluster, any of which leads to the others; empty: `host` and `port` alone."""
    hash_tag: str | None = None
    """What keeps all keys on one node of a Redis Cluster."""
    index_prefix: str = "client"
    tls: RedisTLS | None = None
    socket: str | None = None
    """A Unix socket; then `host` and `port` mean nothing."""

    @property
    def prefix(self) -> str:
        """What all keys begin with, without the colon that follows."""
        return f"{self.index_prefix}:{{{self.hash_tag}}}" if self.hash_tag else self.index_prefix

    def __str__(self) -> str:
        """Where it is, for people."""
        if self.nodes:
            return f"in the Redis Cluster at {', '.join(_address(*node) for node in self.nodes)}"
        where = self.socket or _address(self.host, self.port)
        return f"in Redis at {where}{f', database {self.db}' if self.db else ''}"


def read_settings(options: Mapping[str, Any]) -> RedisSettings:
    """Read the block of the database in server.json. Raises ConfigError."""
    given = {**DEFAULTS, **{key: value for key, value in options.items() if value is not None}}
    values = _Block("server.json", {"database": {REDIS_MODULE: given}})
    username, password = values.optional("username"), values.optional("password")
    return RedisSettings(
        values.text(*values.at("host"), expected="an address"),
        values.whole(*values.at("port"), least=1, most=65535),
        None if username == DEFAULT_USER and password is None else username,
        password,
        values.whole(*values.at("db"), most=MOST_DATABASES),
        _nodes(values),
        _hash_tag(values),
        values.text(*values.at("index_prefix"), expected="a text"),
        _tls(values) if values.flag(*values.at("use_ssl")) or values.flag(*values.at("ssl")) else None,
        values.optional("unix_socket_path"),
    )


class _Block(Values):
    @staticmethod
    def at(key: str) -> tuple[str, str, str]:
        return "database", REDIS_MODULE, key

    def optional(self, key: str) -> str | None:
        """Return a text; an empty one is as if absent."""
        found = self.get(self.at(key), "a text", lambda value: isinstance(value, str), "")
        return found or None


def _tls(values: _Block) -> RedisTLS:
    expected = f"one of {', '.join(CERTIFICATE_CHECKS)}"
    check = str(values.get(values.at("ssl_cert_reqs"), expected, lambda value: value in CERTIFICATE_CHECKS))
    tls = RedisTLS(
        values.optional("ssl_certfile"),
        values.optional("ssl_keyfile"),
        values.optional("ssl_ca_certs"),
        check,
        values.flag(*values.at("ssl_check_hostname")) and check != "none",
    )
    if tls.key and not tls.certificate:
        raise ConfigError("server.json: `ssl_keyfile` of the Redis database needs `ssl_certfile` beside it.")
    return tls


def _hash_tag(values: _Block) -> str | None:
    tag = values.optional("cluster_hash_tag")
    if tag and ("{" in tag or "}" in tag):
        raise ConfigError("server.json: `cluster_hash_tag` of the Redis database is written without braces.")
    return tag


def _nodes(values: _Block) -> tuple[tuple[str, int], ...]:
    expected = 'an array of objects like {"host": "redis-1", "port": 6379}'
    found = values.get(values.at("cluster_nodes"), expected, _are_nodes, [])
    return tuple((node["host"], node.get("port", DEFAULT_PORT)) for node in found)


def _are_nodes(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(node, dict)
        and isinstance(node.get("host"), str)
        and node["host"] != ""
        and is_whole(node.get("port", DEFAULT_PORT), 65535)
        for node in value
    )


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
