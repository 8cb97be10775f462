"""A hub's part in its cluster, put together from the configuration."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from redis import exceptions as redis

from ..agents import Agent
from ..cluster_config import ClusterConfig
from ..config import Config
from ..hub_identity import HubIdentity
from ..storage import StorageError
from ..surroundings import Parent
from .cluster import Cluster
from .membership import Membership, check_identity
from .records import Listed
from .redis_errors import is_refusal
from .shared_parent import SharedParent
from .vault import Unavailable, cluster_secret
from .wire import ClusterWire

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_AGAIN_S = 1.0


async def when_redis_answers(make: Callable[[], T], config: Config, stop: asyncio.Event) -> T | None:
    """Return what is made, as soon as Redis does not keep it from being made; None where `stop` was set before.

    Raises what `make` raises for any other reason.
    """
    said = ""
    while not stop.is_set():
        try:
            return make()
        except StorageError as error:
            if not _may_come(error, config):
                raise
            if str(error) != said:
                said = str(error)
                log.warning("%s The hub waits for its clients.", error)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_AGAIN_S)
    return None


def _may_come(error: StorageError, config: Config) -> bool:
    """Tell whether Redis is merely away."""
    cause = error.__cause__
    if config.cluster is None or not isinstance(cause, (redis.ConnectionError, redis.TimeoutError, OSError)):
        return False
    return not is_refusal(cause, config.cluster)


def join(config: ClusterConfig, identity: HubIdentity, agent: Agent) -> Cluster:
    """Return a hub's part, which joins the others when it is started."""
    hub = secrets.token_hex(8)
    wire = ClusterWire(config, cluster_secret(identity), hub)
    return Cluster(wire, hub, config.hub_name, agent)


def shared(cluster: Cluster, make: Callable[[], Parent | None]) -> Parent | None:
    """Return the hub above, to which one member is joined for all; None where there is none."""
    first = make()
    if first is None:
        return None
    unused = [first]

    def connection() -> Parent:
        made = unused.pop() if unused else make()
        assert made is not None
        return made

    return SharedParent(cluster, connection)


async def check(config: ClusterConfig, identity: HubIdentity) -> None:
    """Check that this hub may be a member; it may while nobody can tell. Raises ConfigError."""
    try:
        await check_identity(config, identity)
    except Unavailable as error:
        log.warning("%s The hub runs alone until it can be reached.", error)


def membership(
    cluster: Cluster, config: ClusterConfig, identity: HubIdentity, address: str, refused: Callable[[str], None]
) -> Membership:
    """Return what keeps the record of a member that listens at an address; `refused` is told why it must not run."""

    def listed() -> Listed:
        return Listed(cluster.me, cluster.leads, address)

    return Membership(config, identity, listed, refused)


__all__ = ["check", "join", "membership", "shared", "when_redis_answers"]
