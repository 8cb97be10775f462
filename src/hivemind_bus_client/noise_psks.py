"""The released functions over the file of derived keys (docs/protocol.md 7.4, 18), for programs that shake hands
themselves. Our clients use `psk_cache`, which also binds a key to the password it came from.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from .noise import PSK_BYTES
from .psk_cache import CHECK, MAX_ENTRIES, SUFFIX, PskCache, _entry

__all__ = [
    "NOISE_PSK_CACHE_SUFFIX",
    "clear_cached_psks",
    "forget_cached_psk",
    "load_cached_psk",
    "save_cached_psk",
]

LOG = logging.getLogger(__name__)

NOISE_PSK_CACHE_SUFFIX = SUFFIX
MAX_NODE_ID_CHARS = 512
"""Longer ids are not kept: they come from the other side before it has proven anything."""
MAX_FILE_BYTES = 1024 * 1024

KeyPath = str | os.PathLike[str] | None


class _Psks(PskCache):
    """Reads nothing from a file that others could read, too, or that is too large to be one of ours."""

    def read(self) -> dict[str, Any]:
        try:
            status = self.path.stat()
        except OSError:
            return {}
        if status.st_size > MAX_FILE_BYTES or (os.name == "posix" and status.st_mode & 0o077):
            LOG.warning("the kept keys in %s are not used: others can read them, or there are too many", self.path)
            return {}
        return self._read()

    def write(self, entries: dict[str, Any]) -> None:
        self._write(entries)


def _name(node_id: Any, scope: str | None) -> str | None:
    """Return the name of an entry; None for a node that no key is kept for."""
    if not isinstance(node_id, str) or not 0 < len(node_id) <= MAX_NODE_ID_CHARS:
        return None
    return _entry(scope, node_id) if scope else node_id


def load_cached_psk(key_path: KeyPath, node_id: str, scope: str | None = None) -> bytes | None:
    """Return the key kept for a hub beside a Noise key file, or None. `scope` is the access key it belongs to."""
    name = _name(node_id, scope)
    if key_path is None or name is None:
        return None
    text = _Psks(key_path).read().get(name)
    try:
        psk = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return None
    return psk if len(psk) == PSK_BYTES else None


def save_cached_psk(key_path: KeyPath, node_id: str, psk: bytes, scope: str | None = None) -> None:
    """Keep a key; the oldest beyond 32 go. Without a path, or for an id or key that is none, nothing is kept."""
    name = _name(node_id, scope)
    if key_path is None or name is None or len(psk) != PSK_BYTES:
        return
    file = _Psks(key_path)
    entries = file.read()
    entries.pop(CHECK + name, None)
    keys = {known: text for known, text in entries.items() if not known.startswith(CHECK) and known != name}
    keys = dict([*keys.items(), (name, psk.hex())][-MAX_ENTRIES:])
    checks = {CHECK + known: entries[CHECK + known] for known in keys if CHECK + known in entries}
    file.write(checks | keys)


def forget_cached_psk(key_path: KeyPath, node_id: str, scope: str | None = None) -> None:
    """Drop the key kept for a hub, as after a handshake that failed."""
    name = _name(node_id, scope)
    if key_path is None or name is None:
        return
    file = _Psks(key_path)
    entries = file.read()
    if entries.pop(name, None) is not None:
        entries.pop(CHECK + name, None)
        file.write(entries)


def clear_cached_psks(key_path: KeyPath) -> None:
    """Drop all keys kept beside a Noise key file, as after a change of password."""
    if key_path is not None:
        PskCache(key_path).clear()
