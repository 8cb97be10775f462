"""Admission of connections: who knocks, and whether it may now.

Rows come from the database's memory. An unknown key is looked up anew, unless its address has to wait (limits.py).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from hivemind_bus_client.link import Refused
from hivemind_bus_client.refusals import REFUSALS
from hivemind_bus_client.return_hints import wait_in, with_hint

from .clients import Client
from .database import ClientDatabase
from .greeting import MAX_FRAME_BYTES
from .limits import Limits
from .storage import StorageError
from .workers import Workers

log = logging.getLogger(__name__)

LOOK_AT_MOST_EVERY_S = 0.1


def refused(code: str, wait_s: float = 0.0) -> Refused:
    """Return a refusal with the reason its row has, and when to come back (`timed`)."""
    return timed(Refused(code, REFUSALS[code].wire_reason), wait_s)


def timed(refusal: Refused, wait_s: float = 0.0) -> Refused:
    """Return a refusal that says when to come back: in so many seconds, else in about those of its row, if it has any.

    Not all who are refused at one moment are to come back at one moment.
    """
    wait_s = wait_s or REFUSALS[refusal.code].return_s * random.uniform(0.5, 1.5)
    if not wait_s or wait_in(refusal.reason):
        return refusal
    return Refused(refusal.code, with_hint(refusal.reason, wait_s))


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

    def __init__(self, db: ClientDatabase, workers: Workers, clock: Callable[[], float]) -> None:
        self.limits = Limits()
        self._db = db
        self._workers = workers
        self._clock = clock
        self._changed: set[int] = set()
        self._db_failed = False
        self.database_problem = ""
        """Why the database cannot be read; empty while it can."""
        self.database_read_at = clock()
        """When it last could."""
        self._looked_at = float("-inf")
        self._next_look: asyncio.Task[None] | None = None

    # the database

    async def refresh(self) -> set[int]:
        """Take in what other processes changed; return the ids of the rows that did, since the last call.

        A failure is logged once.
        """
        await self._take_in()
        changed, self._changed = self._changed, set()
        self.limits.forgive(changed)
        return changed

    async def _take_in(self) -> None:
        try:
            changed = await self._workers.database(self._db.refresh)
        except StorageError as error:
            if not self._db_failed:
                log.error("the client database cannot be read: %s", error)
            self._db_failed, self.database_problem = True, str(error)
            return
        if self._db_failed:
            log.info("the client database can be read again")
        self._db_failed, self.database_problem, self.database_read_at = False, "", self._clock()
        self._changed |= changed

    async def _look_again(self) -> None:
        """Refresh for a key that is not known, at most so often; who asks meanwhile shares the same look."""
        if self._next_look is None:
            self._next_look = asyncio.get_running_loop().create_task(self._look())
        await asyncio.shield(self._next_look)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._looked_at + LOOK_AT_MOST_EVERY_S - loop.time()))
        self._looked_at, self._next_look = loop.time(), None  # who comes from now on needs a later one
        await self._take_in()

    # who knocks

    async def identify(self, token: str, address: str) -> Visitor | Refused:
        """Find the client an authorization token names (docs/protocol.md 5.1); `address` is where it comes from."""
        parsed = parse_token(token)
        client = self._db.by_key(parsed[1]) if parsed else None
        if client is None:
            wait_s = self.limits.stranger_waits(address, self._clock())
            if wait_s:
                return refused("too_many_failures", wait_s)
            if parsed is not None:
                await self._look_again()
                client = self._db.by_key(parsed[1])
        if parsed is None or client is None:
            return self._unknown(address, "invalid_key" if parsed else "invalid_authorization")
        wait_s = self.limits.waits(client.client_id, address, self._clock())
        return refused("too_many_failures", wait_s) if wait_s else Visitor(client, parsed[0])

    def _unknown(self, address: str, code: str) -> Refused:
        if self._db_failed and code == "invalid_key":
            return refused("database_unavailable")
        self.limits.stranger_failed(address, self._clock())
        return refused(code)
