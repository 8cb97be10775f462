"""What the commands of a cluster share: its settings, its Redis, and the sentences for what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from ..cluster_config import ClusterConfig
from ..config import Config, ConfigError
from ..console import Failure
from . import vault
from .vault import Unavailable, Vault

NO_CLUSTER = (
    '{path} has no `cluster` block. Add one that names the Redis server all hubs use, like {{"cluster": {{"url":'
    ' "redis://:PASSWORD@redis.lan:6379/0"}}}}, or set HIVEMIND_CLUSTER_URL.'
)
NO_IDENTITY = (
    "The cluster {name!r} at {url} has no identity yet. On the hub whose satellites are to stay, run:"
    " hivemind-core cluster create"
)
NOT_MEMBER = "This hub is not a member of the cluster {name!r} at {url}. Run: hivemind-core cluster join"


def settings_of(config: Config) -> ClusterConfig:
    """Return what server.json says of the cluster. Raises ConfigError where it says nothing."""
    if config.cluster is None:
        raise ConfigError(NO_CLUSTER.format(path=config.path))
    return config.cluster


@contextmanager
def reached(settings: ClusterConfig) -> Iterator[Vault]:
    """Yield the vault of a cluster. Raises ConfigError, Failure."""
    try:
        with vault.opened(settings) as opened:
            yield opened
    except Unavailable as error:
        raise Failure(str(error)) from None


def fail(text: str, settings: ClusterConfig) -> NoReturn:
    """Fail with a sentence about this cluster."""
    raise Failure(text.format(name=settings.name, url=settings.url))
