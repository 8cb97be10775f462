"""Clients in files of this machine, which hubs of a cluster do not read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..config import Config
from ..database_places import FILES, file_place


@dataclass(frozen=True)
class Found:
    """A client database that has clients in it."""

    module: str
    path: Path
    count: int


def count(config: Config) -> Iterator[Found]:
    """Yield the client databases of this machine that hold clients. Raises ConfigError, StorageError."""
    for module in FILES:
        place = file_place(module, config.raw["database"].get(module) or {})
        clients = [row for row in place.read() if not row.is_revoked] if place.is_there() else []
        if clients:
            yield Found(module, place.path, len(clients))
