"""Where the cluster's identity is kept, sealed, and what its members say of themselves: keys in Redis."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from ..cluster_config import ClusterConfig
from ..config_values import ConfigError
from ..hub_identity import HubIdentity
from . import records, shared_identity
from .records import Listed
from .shared_identity import CannotOpen, SealedIdentity

TIMEOUT_S = 5.0
IDENTITY = "identity"
INSTALL_REDIS = "pip install 'hivemind-mesh[redis]'"


class Unavailable(Exception):
    """Redis cannot be asked; the text says why, and what to do."""

    def __init__(self, text: str, *, is_refusal: bool = False) -> None:
        super().__init__(text)
        self.is_refusal = is_refusal
        """It is the configuration that is wrong, so waiting does not help."""


class Overtaken(Exception):
    """Somebody else has changed the cluster's identity meanwhile."""


def cluster_secret(identity: HubIdentity) -> bytes:
    """Return the secret under which the members of a cluster talk, which their identity gives them (32 bytes)."""
    return shared_identity.cluster_secret(identity.noise_key)


def member_record(config: ClusterConfig, secret: bytes, listed: Listed) -> tuple[str, bytes, int]:
    """Return what a member writes of itself about each second: key, value, milliseconds to live (``SET … PX``)."""
    return records.seal(config, secret, listed, secrets.token_bytes(records.NONCE_BYTES))


def sealed_identity(config: ClusterConfig, stored: bytes) -> SealedIdentity:
    """Read what is stored. Raises ConfigError."""
    try:
        return shared_identity.read(stored)
    except CannotOpen as error:
        raise ConfigError(f"The identity of the cluster {config.name!r} cannot be used: {error}") from None


class Vault:
    """The cluster's keys in Redis, for one command. Blocks; raises Unavailable."""

    def __init__(self, config: ClusterConfig, client: Any) -> None:
        self._config = config
        self._client = client
        self._key = config.key(IDENTITY)

    def stored(self) -> bytes | None:
        """Return the sealed identity as it is stored."""
        return self._as_bytes(self._client.get(self._key))

    def put(self, sealed: SealedIdentity, instead_of: bytes | None) -> None:
        """Store a sealed identity in place of this one. Raises Overtaken where another is there by now."""
        from redis.exceptions import WatchError

        with self._client.pipeline() as pipe:
            pipe.watch(self._key)
            if self._as_bytes(pipe.get(self._key)) != instead_of:
                raise Overtaken
            pipe.multi()
            pipe.set(self._key, sealed.written())
            try:
                pipe.execute()
            except WatchError:
                raise Overtaken from None

    def members(self, secret: bytes) -> list[tuple[Listed, float]]:
        """Return the members, the oldest first, each with the seconds since it was heard."""
        prefix = self._config.key(records.KIND, "")
        found = []
        for name in self._client.scan_iter(match=f"{prefix}*", count=1000):
            key = name.decode() if isinstance(name, bytes) else str(name)
            value, left_ms = self._as_bytes(self._client.get(key)), int(str(self._client.pttl(key)))
            listed = value and records.open_sealed(self._config, secret, key.removeprefix(prefix), value)
            if listed:
                found.append((listed, max(0.0, (records.TTL_MS - left_ms) / 1000)))
        return sorted(found, key=lambda one: (one[0].member.since_ms, one[0].member.hub))

    @staticmethod
    def _as_bytes(value: Any) -> bytes | None:
        return value if isinstance(value, bytes) else None


@contextmanager
def opened(config: ClusterConfig) -> Iterator[Vault]:
    """Yield the vault of a cluster. Raises Unavailable."""
    client = redis_client("redis", config)
    from redis.exceptions import RedisError

    try:
        yield Vault(config, client)
    except (RedisError, OSError) as error:
        raise unavailable(error, config) from None
    finally:
        client.close()


def redis_client(module: str, config: ClusterConfig, timeout_s: float | None = None) -> Any:
    """Return a client of redis-py, from its blocking or its asyncio module, that asks once and waits a bounded time.

    `timeout_s` is that of connecting and of each answer, by default `TIMEOUT_S`.
    """
    check_installed()
    library = import_module(module)
    timeout_s = timeout_s or TIMEOUT_S
    timeouts = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    retry = import_module(f"{module}.retry").Retry(import_module("redis.backoff").NoBackoff(), 0)
    return library.Redis(**config.connection(), **timeouts, retry=retry, decode_responses=False)


def check_installed() -> None:
    """Raise ConfigError without redis-py."""
    try:
        import_module("redis")
    except ModuleNotFoundError:
        raise ConfigError(f"A cluster needs redis-py, which is not installed. Run: {INSTALL_REDIS}") from None


def unavailable(error: Exception, config: ClusterConfig) -> Unavailable:
    """Return what to raise for an error of redis-py or of the system."""
    from . import redis_errors

    return Unavailable(redis_errors.sentence(error, config), is_refusal=redis_errors.is_refusal(error, config))
