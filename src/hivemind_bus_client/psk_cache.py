"""Pre-shared keys kept beside the Noise key, so that a reconnect does not derive them anew (docs/protocol.md
7.4).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
from pathlib import Path
from typing import Any

from .identity_file import make_private, write_private

LOG = logging.getLogger(__name__)

SUFFIX = "_psks.json"
MAX_ENTRIES = 32
CHECK = "check:"
"""Prefix of the entry beside a key that binds it to its password."""


def _entry(access_key: str, node_id: str) -> str:
    return f"{hashlib.sha256(access_key.encode()).hexdigest()[:16]}@{node_id}"


def _check(psk: bytes, password: str) -> str:
    """Tells whether a key came from another password. Short on purpose: it can rule a guess out, not confirm one."""
    return hmac.new(psk, password.encode(), "sha256").hexdigest()[:4]


class PskCache:
    """The file of derived keys that belongs to one Noise key. What it cannot read or write it goes without.

    The released client keeps no checks; keys without one count only where the caller trusts them.
    """

    def __init__(self, noise_key_path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.splitext(noise_key_path)[0] + SUFFIX)

    def load(self, access_key: str, node_id: str, password: str, trusted: bool = False) -> bytes | None:
        """Return the key kept for this access key at this hub, if it came from this password."""
        entries, name = self._read(), _entry(access_key, node_id)
        text = entries.get(name)
        try:
            key = bytes.fromhex(text) if isinstance(text, str) else b""
        except ValueError:
            key = b""
        if len(key) != 32:
            return None
        check = entries.get(CHECK + name)
        fits = trusted if check is None else check == _check(key, password)
        return key if fits else None

    def save(self, access_key: str, node_id: str, psk: bytes, password: str) -> None:
        """Keep a key that has proved right; the oldest beyond 32 go."""
        entries, name = self._read(), _entry(access_key, node_id)
        keys = {known: entries[known] for known in entries if not known.startswith(CHECK) and known != name}
        keys = dict([*keys.items(), (name, psk.hex())][-MAX_ENTRIES:])
        entries[CHECK + name] = _check(psk, password)
        checks = {CHECK + known: entries[CHECK + known] for known in keys if CHECK + known in entries}
        self._write(checks | keys)

    def forget(self, access_key: str, node_id: str, psk: bytes) -> None:
        """Drop a key that a hub did not accept."""
        entries, name = self._read(), _entry(access_key, node_id)
        if entries.get(name) == psk.hex():
            del entries[name]
            entries.pop(CHECK + name, None)
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
