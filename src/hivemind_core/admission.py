"""Admission of connections: who knocks. Rows come from the database's memory; an unknown key is looked up anew."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from dataclasses import dataclass

from hivemind_bus_client.link import Refused
from hivemind_bus_client.refusals import REFUSALS

from .clients import Client
from .database import ClientDatabase
from .greeting import MAX_FRAME_BYTES
from .storage import StorageError
from .workers import Workers

log = logging.getLogger(__name__)

LOOK_AT_MOST_EVERY_S = 0.1


def refused(code: str) -> Refused:
    """Return a refusal with the reason its row has."""
    return Refused(code, REFUSALS[code].wire_reason)


@dataclass(frozen=True)
class Visitor:
    """A connection whose access key is known; it has proven nothing yet."""

    client: Client
    useragent: str
    max_frame_bytes: int = MAX_FRAME_BYTES
    """How long a frame of it may be."""


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


class Admission:
    """The hub's door; see the module."""

    def __init__(self, db: ClientDatabase, workers: Workers) -> None:
        self._db = db
        self._workers = workers
        self._db_failed = False
        self._looked_at = float("-inf")
        self._next_look: asyncio.Task[None] | None = None

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

    async def _look_again(self) -> None:
        """Refresh for a key that is not known, at most so often; who asks meanwhile shares the same look."""
        if self._next_look is None:
            self._next_look = asyncio.get_running_loop().create_task(self._look())
        await asyncio.shield(self._next_look)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._looked_at + LOOK_AT_MOST_EVERY_S - loop.time()))
        self._looked_at, self._next_look = loop.time(), None  # who comes from now on needs a later one
        await self.refresh()

    # who knocks

    async def identify(self, token: str) -> Visitor | Refused:
        """Find the client an authorization token names (docs/protocol.md 5.1)."""
        parsed = parse_token(token)
        if parsed is None:
            return refused("invalid_authorization")
        useragent, key = parsed
        client = self._db.by_key(key)
        if client is None:
            await self._look_again()
            client = self._db.by_key(key)
        if client is None:
            return refused("database_unavailable" if self._db_failed else "invalid_key")
        return Visitor(client, useragent)
