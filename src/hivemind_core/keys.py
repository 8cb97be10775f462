"""Keys of clients: the derived pre-shared key, and the device key that an access key is bound to.

Decisions read the row as it is now, not as it was when a connection began. What is learnt is written back column by
column, and only while the row still belongs to the same access key, so that a client deleted meanwhile stays deleted.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from hivemind_bus_client.exchange import Previous
from hivemind_bus_client.link import Refused

from . import grace
from .admission import refused
from .clients import Client
from .config import Config
from .database import ClientDatabase
from .grace import Grace
from .moments import local_time
from .passwords import is_strong
from .storage import StorageError
from .workers import Busy, Workers

log = logging.getLogger(__name__)

DerivePsk = Callable[[str, str], bytes]
KEY_BYTES = 32
WRITTEN_WITHIN_S = 1.0
"""So long a connection waits until its new key is stored; a database that is locked or slow does not hold it up."""
WRITTEN_AGAIN_S = 30.0
"""So long after a failure it is tried again; of several that failed only one is, until writing works."""
MAX_JUDGED = 10_000
PREVIOUS_PSK, PREVIOUS_PSK_FOR = grace.MOVED["noise_psk"], grace.MOVED["noise_psk_for"]
LOOK_FOR_ENDED_EVERY_S = 30.0
USED_WRITTEN_EVERY_S = 60.0


def psk_binding(node_id: str, password: str) -> str:
    """Return the text that ties a stored key to the node and password it was derived from."""
    bound = b"hivemind-noise-psk-binding\0" + node_id.encode() + b"\0" + password.encode()
    return hashlib.sha256(bound).hexdigest()


def _key_in(metadata: Mapping[str, Any], name: str) -> bytes | None:
    """Return a key stored as hex; anything else reads as none."""
    text = metadata.get(name)
    try:
        key = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES else None


class ClientKeys:
    """See the module."""

    def __init__(
        self,
        config: Config,
        node_id: str,
        db: ClientDatabase,
        workers: Workers,
        derive: DerivePsk,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.choices = grace.Choices()
        self._wall = wall
        self._looked_at = -math.inf
        self._next_end = math.inf
        self._node_id = node_id
        self._db = db
        self._workers = workers
        self._derive = derive
        self._pins: dict[tuple[int, str], bytes] = {}
        """Pins that do not stand in their rows yet."""
        self._psks: dict[tuple[int, str], bytes] = {}
        """Derived keys that do not stand in their rows yet, by client and by what they are bound to."""
        self._writing: set[asyncio.Task[None]] = set()
        self._judged: dict[tuple[str, float], bool] = {}
        """Passwords (as digests) and bounds -> whether they are strong enough."""
        self._deriving: dict[tuple[int, str, str], asyncio.Task[bytes | Refused]] = {}

    def _now(self, client: Client) -> Client:
        """Return the client's row as it is now."""
        row = self._db.by_id(client.client_id)
        return row if row is not None and row.api_key == client.api_key else client

    # the pre-shared key

    def stored_psk(self, client: Client, *, previous: bool = False) -> bytes | None:
        """Return the derived key kept in the row, if it belongs to this password and node."""
        row = self._now(client)
        password = self._valid_password(row, previous=previous)
        psk, bound = (PREVIOUS_PSK, PREVIOUS_PSK_FOR) if previous else ("noise_psk", "noise_psk_for")
        binding = psk_binding(self._node_id, password) if password is not None else None
        if binding is None or row.metadata.get(bound) != binding:
            return self._psks.get((row.client_id, binding)) if binding is not None else None
        return _key_in(row.metadata, psk)

    def _valid_password(self, row: Client, *, previous: bool) -> str | None:
        return grace.password_of(row, previous=previous) if not previous or self.grace(row) is not None else None

    async def derive(self, client: Client, *, previous: bool = False) -> bytes | Refused:
        """Derive the key of a client, off the loop, and keep it in its row; once, however many ask."""
        row = self._now(client) if previous else client
        password = self._valid_password(row, previous=previous)
        if previous and password is None:
            return refused("busy")  # it was valid when the connection began
        wanted = (row.client_id, row.api_key, password or "")
        task = self._deriving.get(wanted)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._derive_once(row, password or "", previous))
            self._deriving[wanted] = task
            task.add_done_callback(lambda _: self._deriving.pop(wanted, None))
        return await asyncio.shield(task)

    async def _derive_once(self, client: Client, password: str, previous: bool) -> bytes | Refused:
        psk = await self.compute(client, lambda: self._derive(password, self._node_id), previous=previous)
        if isinstance(psk, Refused):
            return psk
        names = (PREVIOUS_PSK, PREVIOUS_PSK_FOR) if previous else ("noise_psk", "noise_psk_for")
        await asyncio.wait({self._write(self._keep_psk(client, names, password, psk))}, timeout=WRITTEN_WITHIN_S)
        return psk

    def _write(self, writing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(writing)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    async def _keep_psk(self, client: Client, names: tuple[str, str], password: str, psk: bytes) -> None:
        """Write a derived key into its row; until it stands there it is kept here."""
        binding = psk_binding(self._node_id, password)
        put, whose = dict(zip(names, (psk.hex(), binding), strict=True)), (client.client_id, binding)
        self._psks[whose] = psk
        if await self._patch(client, put):
            self._psks.pop(whose, None)
        else:
            self._write(self._keep_later(client, put, whose))

    async def _keep_later(self, client: Client, put: Mapping[str, str], whose: tuple[int, str]) -> None:
        """Try it until it works: nothing else may be written for long, and the hub is not ready before."""
        while whose in self._psks:
            await asyncio.sleep(WRITTEN_AGAIN_S)
            is_first = next(iter(self._psks), whose) == whose
            if (is_first or not self._db.write_problem) and await self._patch(client, put):
                self._psks.pop(whose, None)

    async def compute(self, client: Client, how: Callable[[], bytes], *, previous: bool = False) -> bytes | Refused:
        """Do the slow part of a handshake off the loop, unless the client's password is too weak for it."""
        password = grace.password_of(client, previous=previous)
        excuse = grace.MOVED["allow_weak_password"] if previous else "allow_weak_password"
        if password and not (client.metadata.get(excuse) or await self._is_strong_enough(password)):
            return refused("weak_password")
        try:
            return await self._workers.derive(how)
        except Busy:
            return refused("busy")
        except Exception:  # the connection would wait for this key for ever
            log.exception("a key of client %d could not be made", client.client_id)
            return refused("internal_error")

    async def _is_strong_enough(self, password: str) -> bool:
        """Judge a password once, not with every connection."""
        bits = self.config.min_password_bits
        if not self.config.runtime_password_strength_check:
            return True
        judged = (psk_binding(self._node_id, password), bits)
        if judged not in self._judged:
            if len(self._judged) >= MAX_JUDGED:
                self._judged.clear()
            self._judged[judged] = await self._workers.database(is_strong, password, bits)
        return self._judged[judged]

    def stop(self) -> None:
        """Derive nothing more."""
        for task in (*self._deriving.values(), *self._writing):
            task.cancel()

    # the previous password

    def grace(self, client: Client) -> Grace | None:
        """Return the previous password of a client as long as it is valid."""
        return grace.grace_of(self._now(client), self._wall())

    def previous(self, client: Client, address: str) -> Previous | None:
        """Return the same for a link that begins."""
        valid = self.grace(client)
        if valid is None:
            return None
        first = self.choices.previous_first(self._now(client), address, valid.password)
        return Previous(valid.password, self.stored_psk(client, previous=True), first)

    async def used_previous(self, client: Client) -> None:
        """Note, in the log and in the row, that a device came in with its previous password."""
        valid, now = self.grace(client), self._wall()
        if valid is None:
            return
        until = local_time(valid.until)
        log.info(
            "%s (client %d) still uses its previous password, valid until %s", client.name, client.client_id, until
        )
        if valid.used is None or not 0 <= now - valid.used < USED_WRITTEN_EVERY_S:
            await self._patch(client, {grace.USED: now})

    async def end_graces(self) -> set[int]:
        """Take previous passwords that are no longer valid out of their rows; return the ids of those.

        Looks at all rows, and therefore only once in a while. The passwords count no more in any case.
        """
        now = self._wall()
        if 0 <= now - self._looked_at < LOOK_FOR_ENDED_EVERY_S and now < self._next_end:
            return set()
        self._looked_at = now
        over = await self._workers.database(self._find_ended, now)
        try:
            await self._workers.database(self._take_out, over, now)
        except StorageError as error:
            log.error("could not take out previous passwords that are no longer valid: %s", error)
        return over

    def _find_ended(self, now: float) -> set[int]:
        rows = self._db.all()
        valid = [found for found in (grace.grace_of(row, now) for row in rows) if found is not None]
        self._next_end = min((found.until for found in valid), default=math.inf)
        return {row.client_id for row in rows if grace.ended_by(row, now)}

    def _take_out(self, client_ids: set[int], now: float) -> None:
        for client_id in client_ids:
            self._db.edit(client_id, lambda row: grace.ended_by(row, now))

    # the device key

    def pinned_key(self, client: Client) -> bytes | None:
        """Return the static key this access key is bound to, or None before its first session."""
        row = self._now(client)
        return _key_in(row.metadata, "noise_pubkey") or self._pins.get((row.client_id, row.api_key))

    def pin(self, client: Client, key: bytes) -> bool:
        """Bind the access key to the first static key that proved its password; False when another was first.

        Decided here, at once; `keep_pin` writes it down.
        """
        pinned = self.pinned_key(client)
        if pinned is None:
            self._pins[(client.client_id, client.api_key)] = key
        return pinned is None or pinned == key

    async def keep_pin(self, client: Client, key: bytes) -> None:
        """Write a new pin into the row, unless another process was first; until it stands there it is kept here.

        What the row says then counts: see `pinned_key`.
        """
        if await self._patch(client, {"noise_pubkey": key.hex()}, only_if_absent=True):
            self._pins.pop((client.client_id, client.api_key), None)

    def unsaved_pins(self) -> list[tuple[Client, bytes]]:
        """Return the pins that could not be written so far; one of them where writing failed last."""
        rows = [(self._db.by_id(client_id), api_key, key) for (client_id, api_key), key in self._pins.items()]
        found = [(row, key) for row, api_key, key in rows if row is not None and row.api_key == api_key]
        return found[:1] if self._db.write_problem else found

    def forget_pins(self, changed: set[int]) -> None:
        """Believe the rows again where somebody else changed them: an operator may have reset a pin."""
        self._pins = {who: key for who, key in self._pins.items() if who[0] not in changed}

    async def keep_intercom_key(self, client: Client, pubkey: str) -> None:
        """Bind the access key to the first INTERCOM key announced (docs/protocol.md 10)."""
        if "intercom_pubkey" not in self._now(client).metadata:
            await self._patch(client, {"intercom_pubkey": pubkey}, only_if_absent=True)

    async def _patch(self, client: Client, put: Mapping[str, Any], *, only_if_absent: bool = False) -> bool:
        """Write into the row's metadata if it is still this client's; False when the database failed."""
        try:
            await self._workers.database(
                self._db.patch_metadata,
                client.client_id,
                put,
                only_if_absent=only_if_absent,
                only_if_key=client.api_key,
            )
        except StorageError as error:
            log.error("could not store %s of client %d: %s", ", ".join(put), client.client_id, error)
            return False
        return True
