"""A hub's part in its cluster, put together from the configuration."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from ..agents import Agent
from ..cluster_config import ClusterConfig
from ..hub_identity import HubIdentity
from ..surroundings import Parent
from .cluster import Cluster
from .membership import Membership, check_identity
from .records import Listed
from .shared_parent import SharedParent
from .vault import Unavailable, cluster_secret
from .wire import ClusterWire

log = logging.getLogger(__name__)


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


__all__ = ["check", "join", "membership", "shared"]
