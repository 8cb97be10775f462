"""The hub's one connection to Redis or a Redis Cluster. Whatever fails there is a StorageError that says what to do.

Nothing is tried again: a write whose answer was lost may have been done. The hub asks again within a second anyway.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import redis
from redis import exceptions as wrong
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry

from ..config_values import ConfigError
from . import StorageError
from .redis_keys import Commit
from .redis_settings import RedisSettings, RedisTLS

TIMEOUT_S = 2.0
"""Of connecting, and of each answer; the database's one thread waits meanwhile."""
PATIENT_S = 120.0
"""Of the answer to a command that a person waits for, and that may have much to write."""
KEYS_AT_ONCE = 1000
SCRIPT = (files(__package__) / "schema" / "commit.lua").read_text("utf-8")

_NO_ANSWER = f"Redis must answer within {TIMEOUT_S:g} s: see whether it is overloaded, or speaks no TLS (`use_ssl`)."
_AWAY = "See whether Redis runs there, and whether it speaks TLS and wants a certificate (`use_ssl`, `ssl_certfile`)."
CURES: tuple[tuple[type[Exception] | str, str], ...] = (
    (wrong.AuthenticationError, "Set `username` and `password` in server.json to what Redis expects."),
    (wrong.NoPermissionError, "Let this user of Redis run the commands that docs/hub.md lists, on these keys."),
    (wrong.BusyLoadingError, "Redis reads its data from the disk; wait until it is done."),
    (wrong.ReadOnlyError, "This is a replica; name its primary in server.json."),
    (wrong.OutOfMemoryError, "Raise `maxmemory` of Redis, and keep its policy at `noeviction`."),
    (wrong.MovedError, "This is a Redis Cluster; set `cluster_nodes` and `cluster_hash_tag` in server.json."),
    ("same slot", "This is a Redis Cluster; set `cluster_nodes` and `cluster_hash_tag` in server.json."),
    (wrong.ClusterDownError, "Parts of the Redis Cluster are missing; start its nodes."),
    ("SSL:", "Check `use_ssl` and the `ssl_` keys in server.json."),
    ("_ssl.c", "Check `use_ssl` and the `ssl_` keys in server.json."),
    ("password", "Set `username` and `password` in server.json to what Redis expects."),
    ("Cluster mode is not enabled", "This is no Redis Cluster; name it by `host` and `port`, not by `cluster_nodes`."),
    (wrong.TimeoutError, _NO_ANSWER),
    ("Timeout", _NO_ANSWER),
    (wrong.ConnectionError, _AWAY),
    (wrong.RedisClusterException, _AWAY),
)
"""Kind of failure, or a word in its text -> what to do about it; the first that fits."""
_LEAK = ", with args beginning"
"""Redis repeats the words of a command that it does not know after this."""


class RedisConnection:
    """Its calls block, for `timeout_s` for each answer at most, and raise StorageError."""

    def __init__(self, settings: RedisSettings, timeout_s: float = TIMEOUT_S) -> None:
        """Connect. Raises ConfigError for a Redis Cluster without a hash tag, and for files that are not there."""
        self.settings = settings
        self._closed = False
        _check_files(settings.tls)
        with self.errors("open"):
            self._redis = _connected(settings, timeout_s)

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Tell what fails as the failure of the database it is."""
        try:
            if self._closed:
                raise wrong.RedisError("it was closed")
            yield
        except (wrong.RedisError, wrong.RedisClusterException, OSError, UnicodeError) as error:
            raise StorageError(
                f"Could not {doing} the client database {self.settings}: {_told(error)}{_cure(error)}"
            ) from error

    def texts(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return what keys hold; None where there is none, or something else than a text."""
        found: list[bytes | None] = []
        for start in range(0, len(keys), KEYS_AT_ONCE):
            values: Any = self._redis.mget(keys[start : start + KEYS_AT_ONCE])
            found += values
        return found

    def members(self, key: str) -> set[bytes]:
        """Return the members of a set; none where there is no set."""
        if self._redis.type(key) != b"set":
            return set()
        members: Any = self._redis.smembers(key)
        return set(members)

    def exists(self, key: str) -> bool:
        """Tell whether there is such a key, of any kind."""
        return self._redis.exists(key) == 1

    def matching(self, pattern: str) -> Iterator[bytes]:
        """Go through the keys that match a pattern: through all keys there are, a thousand at a time."""
        where: dict[str, Any] = {}
        if isinstance(self._redis, RedisCluster):
            where["target_nodes"] = self._redis.get_node_from_key(f"{self.settings.prefix}:")  # type: ignore[no-untyped-call]
        return iter(self._redis.scan_iter(pattern, KEYS_AT_ONCE, **where))

    def commit(self, commit: Commit) -> int | None:
        """Write; return how many changes there have been, or None where something was not as it was expected."""
        keys, words = commit.words()
        done: Any = self._redis.eval(SCRIPT, len(keys), *keys, *words)
        return None if done is None else int(done)

    def close(self) -> None:
        """Let go of it."""
        self._closed = True
        self._redis.close()


def _connected(settings: RedisSettings, timeout_s: float) -> redis.Redis | RedisCluster:
    options = {
        "username": settings.username,
        "password": settings.password,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": TIMEOUT_S,
        "socket_keepalive": True,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        **_tls_options(settings.tls),
    }
    nodes = settings.nodes
    if not nodes:
        single = redis.Redis(settings.host, settings.port, settings.db, unix_socket_path=settings.socket, **options)
        try:
            if not _is_of_cluster(single):
                return single
        except BaseException:
            single.close()
            raise
        single.close()
        nodes = ((settings.host, settings.port),)
    if settings.hash_tag is None:
        raise ConfigError(
            f"The client database {settings} is in a Redis Cluster, whose keys this hub keeps together by a hash tag:"
            " set `cluster_hash_tag` of the database in server.json. Clients that a released hub wrote without one are"
            " copied by its command `hivemind-redis-migrate-cluster --target-cluster-hash-tag TAG`."
        )
    starts = [ClusterNode(*node) for node in nodes]  # type: ignore[no-untyped-call]
    return RedisCluster(startup_nodes=starts, **options)


def _is_of_cluster(client: redis.Redis) -> bool:
    try:
        return bool(client.info("cluster").get("cluster_enabled"))
    except wrong.NoPermissionError:
        return False


def _tls_options(tls: RedisTLS | None) -> dict[str, Any]:
    if tls is None:
        return {}
    return {
        "ssl": True,
        **tls.files,
        "ssl_cert_reqs": tls.check,
        "ssl_check_hostname": tls.check_host,
    }


def _check_files(tls: RedisTLS | None) -> None:
    for key, path in (tls.files if tls else {}).items():
        if not os.access(path, os.R_OK):
            raise ConfigError(f"server.json: `{key}` of the Redis database is {path}, which cannot be read.")


def _told(error: Exception) -> str:
    text = str(error).partition(_LEAK)[0].partition(" script: ")[0].strip().rstrip(".")
    return f"{text or type(error).__name__}."


def _cure(error: Exception) -> str:
    text = str(error)
    for kind, cure in CURES:
        if kind in text if isinstance(kind, str) else isinstance(error, kind):
            return f" {cure}"
    return ""
