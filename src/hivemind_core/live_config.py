"""What a running hub takes over from a changed server.json: a few keys, for the connections that come after.

`look` is meant to be called about twice a second, off the loop. A file is read when it changed and then stayed as it is
from one look to the next, so that one that is just being written is not taken for broken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from .config import LIVE_KEYS, Config, ConfigError, load_config, warnings

log = logging.getLogger(__name__)

Signature: TypeAlias = tuple[int, int, int] | None
"""Tells versions of a file apart; None: there is no file."""


def _signature(path: Path) -> Signature:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _again(config: Config) -> Config:
    return load_config(config.path, overrides=config.overrides)


class LiveConfig:
    """See the module."""

    def __init__(self, config: Config, load: Callable[[Config], Config] = _again) -> None:
        self._started = config
        self._config = config
        self._load = load
        self._read = self._seen = _signature(config.path)
        self._told = set(warnings(config))

    def look(self) -> Config | None:
        """Return the configuration that counts from now on, or None when nothing changed. Blocks; raises nothing.

        What cannot be used is logged once, and everything stays as it was.
        """
        signature = _signature(self._started.path)
        is_steady, self._seen = signature == self._seen, signature
        if signature == self._read or not is_steady:
            return None
        self._read = signature
        try:
            new = self._load(self._started)
        except ConfigError as error:
            log.error("%s The hub goes on with what it had.", error)
            return None
        self._tell_once(warnings(new))
        self._tell_once(self._needs_restart(new))
        return self._taken_over(new)

    def _taken_over(self, new: Config) -> Config | None:
        live = {name: getattr(new, name) for name in LIVE_KEYS if getattr(new, name) != getattr(self._config, name)}
        if not live:
            return None
        log.info("%s: %s now", new.path, ", ".join(f"{name} is {value}" for name, value in live.items()))
        self._config = replace(self._config, **live)
        return self._config

    def _needs_restart(self, new: Config) -> Iterator[str]:
        changed = [
            key for key in _differences(self._started.raw, new.raw, "") if key.partition(".")[0] not in LIVE_KEYS
        ]
        if changed:
            yield f"{new.path}: {', '.join(f'`{key}`' for key in changed)} changed; restart the hub to apply it."

    def _tell_once(self, sentences: Iterator[str]) -> None:
        for sentence in sentences:
            if sentence not in self._told:
                self._told.add(sentence)
                log.warning("%s", sentence)


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    """Return the paths of the keys whose values differ; never a value, which may be secret."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}, key=str):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        yield path
