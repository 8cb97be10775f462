"""Pre-shared keys kept beside the Noise key, so that a reconnect does not derive them anew (docs/protocol.md
7.4).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from .identity_file import make_private, write_private

LOG = logging.getLogger(__name__)

SUFFIX = "_psks.json"
MAX_ENTRIES = 32


def _entry(access_key: str, node_id: str) -> str:
    return f"{hashlib.sha256(access_key.encode()).hexdigest()[:16]}@{node_id}"


class PskCache:
    """The file of derived keys that belongs to one Noise key. What it cannot read or write it goes without."""

    def __init__(self, noise_key_path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.splitext(noise_key_path)[0] + SUFFIX)

    def load(self, access_key: str, node_id: str) -> bytes | None:
        """Return the key kept for this access key at this hub."""
        text = self._read().get(_entry(access_key, node_id))
        try:
            key = bytes.fromhex(text) if isinstance(text, str) else b""
        except ValueError:
            key = b""
        return key if len(key) == 32 else None

    def save(self, access_key: str, node_id: str, psk: bytes) -> None:
        """Keep a key that has proved right; the oldest beyond 32 go."""
        entries = self._read()
        entries.pop(_entry(access_key, node_id), None)
        entries[_entry(access_key, node_id)] = psk.hex()
        self._write(dict(list(entries.items())[-MAX_ENTRIES:]))

    def forget(self, access_key: str, node_id: str) -> None:
        """Drop a key that a hub did not accept."""
        entries = self._read()
        if entries.pop(_entry(access_key, node_id), None) is not None:
            self._write(entries)

    def clear(self) -> None:
        """Drop all keys, as after a change of password."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        try:
            value = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            LOG.warning("the kept keys in %s cannot be read: %s", self.path, error)
            return {}
        make_private(self.path)
        return value if isinstance(value, dict) else {}

    def _write(self, entries: dict[str, Any]) -> None:
        try:
            write_private(self.path, json.dumps(entries, indent=4))
        except OSError as error:
            LOG.warning("derived keys cannot be kept in %s: %s", self.path, error)


def clear_cached_psks(noise_key_path: str | os.PathLike[str]) -> None:
    """Drop all keys derived from passwords that belong to one Noise key file."""
    PskCache(noise_key_path).clear()
