"""Checks of the cluster: Redis, its clock, whether this hub has the cluster's identity, who is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hivemind_bus_client.doctor.findings import Finding, fail, ok, warn

from ..cluster import identity_files, shared_identity, vault
from ..cluster.reaching import NO_IDENTITY, NOT_MEMBER
from ..cluster.vault import Unavailable
from ..cluster_config import ClusterConfig
from ..config import ConfigError
from ..hub_identity import identity_path
from .case import HubCase
from .settings import unusable

SKEW_S = 5.0
WHAT = "cluster"
JOIN = "Run: hivemind-core cluster join"


def look(case: HubCase) -> Iterator[Finding]:
    """What can be asked without changing anything."""
    if case.config is None or case.config.cluster is None:
        return
    settings = case.config.cluster
    try:
        yield _clock(settings, case)
        yield from _membership(settings)
    except (Unavailable, ConfigError) as error:
        yield unusable(WHAT, error, "See that Redis runs there and lets this hub in.")


def _clock(settings: ClusterConfig, case: HubCase) -> Finding:
    client = vault.redis_client("redis", settings)
    from redis.exceptions import RedisError

    try:
        answer: Any = client.time()
        ahead_s = case.wall() - (int(answer[0]) + int(answer[1]) / 1e6)
    except (RedisError, OSError) as error:
        raise vault.unavailable(error, settings) from None
    finally:
        client.close()
    if abs(ahead_s) <= SKEW_S:
        return ok(WHAT, f"Redis answers at {settings.url}, and its clock agrees with this one.")
    how = "ahead of" if ahead_s > 0 else "behind"
    cure = "Set both by NTP: `sudo timedatectl set-ntp true`."
    return warn(WHAT, f"The clock of this machine is {abs(ahead_s):.0f} s {how} that of Redis at {settings.url}.", cure)


def _membership(settings: ClusterConfig) -> Iterator[Finding]:
    named = {"name": settings.name, "url": settings.url}
    with vault.opened(settings) as opened:
        stored = opened.stored()
        if stored is None:
            yield _split(NO_IDENTITY.format(**named))
            return
        if not identity_path().exists():
            yield fail(WHAT, "This hub has no identity yet, and the cluster has one.", JOIN)
            return
        if vault.sealed_identity(settings, stored).fingerprint != identity_files.own_fingerprint():
            yield _split(NOT_MEMBER.format(**named))
            return
        members = opened.members(shared_identity.cluster_secret(identity_files.own().noise_key))
    names = ", ".join(listed.member.name for listed, _ in members)
    yield ok(WHAT, f"This hub is a member of {settings.name!r}; seen now: {names or 'none, so no hub of it runs'}.")


def _split(text: str) -> Finding:
    reason, _, cure = text.partition(". ")
    return fail(WHAT, f"{reason}.", cure)
