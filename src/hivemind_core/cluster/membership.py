"""Whether a hub may be a member of its cluster, asked at its start; and the record by which `status` lists it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hivemind_bus_client.tasks import end_tasks

from ..cluster_config import ClusterConfig
from ..config_values import ConfigError
from ..hub_identity import HubIdentity
from .records import Listed
from .shared_identity import fingerprint
from .vault import IDENTITY, TIMEOUT_S, Unavailable, cluster_secret, member_record, redis_client, sealed_identity
from .vault import unavailable as _unavailable

log = logging.getLogger(__name__)

EVERY_S = 1.5
"""How often the record is written, which lives for `records.TTL_MS`."""
CLOSE_S = 1.0


async def check_identity(config: ClusterConfig, identity: HubIdentity) -> None:
    """Check that this hub has the cluster's identity.

    Raises ConfigError where it has not, where the cluster has none yet, and where Redis refuses what server.json says:
    the hub must not run as a member. Raises Unavailable while Redis is away: nothing is known then, and `Membership`
    asks again. Takes at most `TIMEOUT_S` and a little.
    """
    client = redis_client("redis.asyncio", config)
    try:
        await _check(client, config, identity)
    except Unavailable as error:
        if error.is_refusal:
            raise ConfigError(str(error)) from None
        raise
    finally:
        await _close(client)


class Membership:
    """Keeps a hub's record in Redis while it runs, and checks its identity as soon as Redis can be asked."""

    def __init__(
        self,
        config: ClusterConfig,
        identity: HubIdentity,
        listed: Callable[[], Listed],
        refused: Callable[[str], None],
    ) -> None:
        """`listed` returns this hub as it is now. `refused` is told why it must not run; that is said once."""
        self._config = config
        self._identity = identity
        self._secret = cluster_secret(identity)
        self._listed = listed
        self._refused = refused
        self._key = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; returns at once, whether Redis can be reached or not."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self) -> None:
        """End; the record is taken away where Redis answers within a second."""
        if self._task is not None:
            await end_tasks([self._task])
            self._task = None

    async def _keep(self) -> None:
        client = redis_client("redis.asyncio", self._config)
        try:
            await self._checked(client)
            while True:
                try:
                    await self._write(client)
                except Exception:  # top of a task
                    log.exception("this hub could not tell that it is there")
                await asyncio.sleep(EVERY_S)
        except ConfigError as error:
            self._refused(str(error))
        finally:
            await self._withdraw(client)

    async def _checked(self, client: Any) -> None:
        while True:
            try:
                return await _check(client, self._config, self._identity)
            except Unavailable as error:
                log.debug("the cluster's identity cannot be compared yet: %s", error)
            await asyncio.sleep(EVERY_S)

    async def _write(self, client: Any) -> None:
        self._key, value, ttl_ms = member_record(self._config, self._secret, self._listed())
        try:
            await _asked(client.set(self._key, value, px=ttl_ms), self._config)
        except Unavailable as error:
            log.debug("this hub's record was not written: %s", error)

    async def _withdraw(self, client: Any) -> None:
        if self._key:
            with suppress(Unavailable, asyncio.TimeoutError):
                await asyncio.wait_for(_asked(client.delete(self._key), self._config), CLOSE_S)
        await _close(client)


async def _check(client: Any, config: ClusterConfig, identity: HubIdentity) -> None:
    stored = await _asked(client.get(config.key(IDENTITY)), config)
    if stored is None:
        raise ConfigError(
            f"The cluster {config.name!r} has no identity yet at {config.url}. On the hub whose satellites are to stay,"
            " run: hivemind-core cluster create. On each other hub then: hivemind-core cluster join"
        )
    if sealed_identity(config, stored).fingerprint != fingerprint(identity.node_id, identity.noise_key):
        raise ConfigError(
            f"This hub is not a member of the cluster {config.name!r} at {config.url}: it has another identity, and"
            " the cluster's satellites would refuse it. Run: hivemind-core cluster join"
        )


async def _asked(answer: Any, config: ClusterConfig) -> Any:
    """Wait for an answer of Redis, for a bounded time. Raises Unavailable."""
    from redis.exceptions import RedisError

    try:
        return await asyncio.wait_for(answer, TIMEOUT_S)
    except (RedisError, OSError, asyncio.TimeoutError) as error:
        raise _unavailable(error, config) from None


async def _close(client: Any) -> None:
    from redis.exceptions import RedisError

    with suppress(RedisError, OSError, asyncio.TimeoutError):
        await asyncio.wait_for(client.aclose(), CLOSE_S)
