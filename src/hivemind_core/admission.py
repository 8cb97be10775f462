"""Admission of connections: who knocks, which key they need, which static key they must show.

Rows come from the database's memory; what is learnt (derived keys, pins) is written back column by column, and only
while the row still belongs to the same access key, so that a client deleted meanwhile stays deleted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hivemind_bus_client.link import Refused
from hivemind_bus_client.refusals import REFUSALS

from .clients import Client
from .config import Config
from .database import ClientDatabase
from .passwords import is_strong
from .storage import StorageError
from .workers import Busy, Workers

log = logging.getLogger(__name__)

Clock = Callable[[], float]
DerivePsk = Callable[[str, str], bytes]

REFRESH_AT_MOST_EVERY_S = 0.1


def refused(code: str) -> Refused:
    """Return a refusal with the reason its row has."""
    return Refused(code, REFUSALS[code].wire_reason)


@dataclass(frozen=True)
class Visitor:
    """A connection whose access key is known; it has proven nothing yet."""

    client: Client
    useragent: str


def parse_token(token: str) -> tuple[str, str] | None:
    """Return (useragent, access key) of an authorization token, or None (docs/protocol.md 5.1).

    A space stands for a ``+`` that an unescaped query lost. A useragent is printable: it stands in addresses and logs.
    """
    try:
        text = base64.b64decode(token.replace(" ", "+"), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    useragent, colon, key = text.partition(":")
    return (useragent, key) if colon and useragent.isprintable() and useragent and key else None


def psk_binding(node_id: str, password: str) -> str:
    """Return the text that ties a stored key to the node and password it was derived from."""
    bound = b"hivemind-noise-psk-binding\0" + node_id.encode() + b"\0" + password.encode()
    return hashlib.sha256(bound).hexdigest()


def _key_in(metadata: Mapping[str, Any], name: str) -> bytes | None:
    """Return a 32-byte key stored as hex; anything else reads as none."""
    text = metadata.get(name)
    try:
        key = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return None
    return key if len(key) == 32 else None


class Admission:
    """The hub's door; see the module."""

    def __init__(
        self, config: Config, node_id: str, db: ClientDatabase, workers: Workers, derive: DerivePsk
    ) -> None:
        self._config = config
        self._node_id = node_id
        self._db = db
        self._workers = workers
        self._derive = derive
        self._pins: dict[tuple[int, str], bytes] = {}
        self._db_failed = False
        self._refreshed_at = float("-inf")

    # the database

    async def refresh(self) -> set[int]:
        """Take in what other processes changed; return the ids of the rows that did. A failure is logged once."""
        try:
            changed = await self._workers.database(self._db.refresh)
        except StorageError as error:
            if not self._db_failed:
                log.error("the client database cannot be read: %s", error)
            self._db_failed = True
            return set()
        if self._db_failed:
            log.info("the client database can be read again")
        self._db_failed = False
        return changed

    async def write(self, what: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
        """Run a write; a failure is logged and returns False: what it meant to keep stays in memory."""
        try:
            await self._workers.database(call, *args, **kwargs)
        except StorageError as error:
            log.error("could not store %s: %s", what, error)
            return False
        return True

    # who knocks

    async def identify(self, token: str, now: float) -> Visitor | Refused:
        """Find the client an authorization token names (docs/protocol.md 5.1)."""
        parsed = parse_token(token)
        if parsed is None:
            return refused("invalid_authorization")
        useragent, key = parsed
        client = self._db.by_key(key)
        if client is None and now - self._refreshed_at >= REFRESH_AT_MOST_EVERY_S:
            self._refreshed_at = now
            await self.refresh()
            client = self._db.by_key(key)
        if client is None:
            return refused("database_unavailable" if self._db_failed else "invalid_key")
        if not client.password:
            return refused("no_password")
        return Visitor(client, useragent)

    # keys and pins

    def stored_psk(self, client: Client) -> bytes | None:
        """Return the derived key kept in the row, if it belongs to this password and node (hub data, 1.1)."""
        if client.metadata.get("noise_psk_for") != psk_binding(self._node_id, client.password or ""):
            return None
        return _key_in(client.metadata, "noise_psk")

    def pinned_key(self, client: Client) -> bytes | None:
        """Return the static key this access key is bound to, or None before its first session."""
        return _key_in(client.metadata, "noise_pubkey") or self._pins.get((client.client_id, client.api_key))

    async def derive(self, client: Client) -> bytes | Refused:
        """Derive the key of a client, off the loop, and keep it in its row."""
        password = client.password or ""
        if not client.metadata.get("allow_weak_password") and self._config.runtime_password_strength_check:
            strong = await self._workers.database(is_strong, password, self._config.min_password_bits)
            if not strong:
                return refused("weak_password")
        try:
            psk = await self._workers.derive(self._derive, password, self._node_id)
        except Busy:
            return refused("busy")
        kept = {"noise_psk": psk.hex(), "noise_psk_for": psk_binding(self._node_id, password)}
        await self.write(
            "a derived key", self._db.patch_metadata, client.client_id, kept, only_if_key=client.api_key
        )
        return psk

    def pin(self, client: Client, key: bytes) -> bool:
        """Bind the access key to the first static key that proved its password; False when another was first.

        Decided here, at once; `keep_pin` writes it down.
        """
        pinned = self.pinned_key(client)
        if pinned is None:
            self._pins[(client.client_id, client.api_key)] = key
        return pinned is None or pinned == key

    async def keep_pin(self, client: Client, key: bytes) -> None:
        """Write a new pin into the row, unless it has one; until it stands there it is remembered here."""
        if await self.pin_metadata(client, "noise_pubkey", key.hex()):
            self._pins.pop((client.client_id, client.api_key), None)

    async def pin_metadata(self, client: Client, name: str, value: str) -> bool:
        """Write a value into the row's metadata unless one is there, or the row is another client's by now.

        False when the database failed.
        """
        return await self.write(
            f"the {name} of a client",
            self._db.patch_metadata,
            client.client_id,
            {name: value},
            only_if_absent=True,
            only_if_key=client.api_key,
        )
