"""The mailbox of a hub as it runs: requests in, replies out, what it keeps them in used by a thread of its own.

Replies carry nothing that tells which request they answer, so they are given in the order of the requests.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections import Counter as Tally
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from . import mailbox
from .cluster_config import ClusterConfig
from .config import data_dir
from .mailbox import Ack, Collect, Deposit, Kept, Refused, Released, Request
from .mailbox_config import Limits, MailboxConfig
from .mailbox_store import MailboxStore
from .metrics import Counter
from .storage import StorageError

log = logging.getLogger(__name__)

MAX_WAITING_EACH = 32
"""Requests of one client that wait for their turn; those beyond are answered ``mailbox_error``."""
MAX_WAITING, MAX_WAITING_FIRST = 256, 512
"""Requests of all clients together; beyond the former only of those that none waits of yet."""


class DepositStore(Protocol):
    """Keeps deposits. Every call may block and may raise StorageError; all of one hub come from one thread."""

    name: str
    """Where it is, for people."""
    is_shared: bool
    """Other hubs use it, too: a path says nothing there."""

    def deposit(self, sender: str, deposit: Deposit, limits: Limits, now: float) -> str | Refused:
        """Keep a message and return its id, unless that would be over a limit. `now` is Unix time, in seconds."""

    def collect(self, box: str, now: float) -> list[Kept]:
        """Return the oldest messages that wait in a box, as many as one reply holds."""

    def ack(self, box: str, deposit_ids: frozenset[str], now: float) -> int:
        """Remove messages of a box, and return how many there were."""

    def has_imported(self, source: str) -> bool:
        """Tell whether what is called so was taken over."""

    def take_over(self, source: str, messages: list[Released]) -> None:
        """Keep messages beyond all limits, all or none, and note that they were taken over."""

    def close(self) -> None:
        """Let go of it."""


def open_mailbox(config: MailboxConfig, node_id: str, cluster: ClusterConfig | None = None) -> Mailbox | None:
    """Return the mailbox that server.json asks for, if it does; it is opened by `start`.

    Hubs of a cluster have one together, in its Redis.
    """
    if not config.enabled:
        return None
    data = data_dir()
    file = data / "hivemind-core" / "mailbox.db"
    opened = partial(MailboxStore, file) if cluster is None else partial(_in_redis, cluster)
    return Mailbox(opened, node_id, config.limits, released=data / "hivemind" / "rendezvous.json", clock=time.time)


def _in_redis(cluster: ClusterConfig) -> DepositStore:
    from .mailbox_redis import RedisMailboxStore

    return RedisMailboxStore(cluster)


class Mailbox:
    """See the module. Nothing in it raises or blocks; what its store does not let it do is a ``mailbox_error``."""

    def __init__(
        self,
        opened: Callable[[], DepositStore],
        node_id: str,
        limits: Limits | None = None,
        released: Path | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`opened` opens the store. `released` is a file of a released hub; it is taken over once and left as it is.

        `clock` is the system's, where requests come with a time that follows it later.
        """
        self._open = opened
        self._node_id = node_id
        self._limits = limits or Limits()
        self._released = released
        self._clock = clock
        self.refused = Counter(
            "hivemind_mailbox_refused_total", "Requests to the mailbox that were refused", ("reason",)
        )
        self._worker = ThreadPoolExecutor(1, "hive-mailbox")
        self._waiting: Tally[str] = Tally()
        self._store: DepositStore | None = None
        self._failing: dict[str, str] = {}
        self._carry_out: dict[type, Callable[[str, Any, float], dict[str, Any]]] = {
            Deposit: self._deposit,
            Collect: self._collect,
            Ack: self._ack,
            Refused: lambda owner, request, wall: mailbox.failed(request.reason),
        }

    async def start(self) -> None:
        """Open the store. One that cannot be opened is told in the log, and tried again with every request."""
        await self._run(self._begin)

    async def handle(self, owner_key: str, body: Any, wall: float) -> dict[str, Any]:
        """Serve a request of a client, who is known by its access key, and return the reply's payload.

        `wall` is Unix time, in seconds.
        """
        request: Request = mailbox.parse(body) if owner_key else Refused("no_client_identity")
        del body  # what is refused may be large, and has to wait its turn, too
        owner = mailbox.name_of(owner_key)
        most = MAX_WAITING if self._waiting[owner] else MAX_WAITING_FIRST
        if self._waiting[owner] >= MAX_WAITING_EACH or self._waiting.total() >= most:
            request = Refused("mailbox_error")  # it waits its turn, but holds nothing
        self._waiting[owner] += 1
        try:
            reply = await self._run(self._serve, owner, request, wall)
        except RuntimeError:  # stopped
            reply = mailbox.failed("mailbox_error")
        finally:
            self._waiting[owner] -= 1
            if not self._waiting[owner]:
                del self._waiting[owner]
        if reply.get("status") == "error":
            self.refused.count(str(reply.get("reason")))
        return {**reply, "mailbox_node": self._node_id}

    async def stop(self) -> None:
        """Finish what was begun, and close the store."""
        with suppress(RuntimeError):  # stopped before
            await self._run(self._end)
        self._worker.shutdown(wait=False)

    async def _run(self, call: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, call, *args)

    # in the thread

    def _begin(self) -> None:
        self._trying("start", self._opened)

    def _end(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            self._trying("stop", store.close)

    def _serve(self, owner: str, request: Request, wall: float) -> dict[str, Any]:
        kind = type(request)
        reply = self._trying(kind.__name__, lambda: self._carry_out[kind](owner, request, wall))
        return reply or mailbox.failed("mailbox_error")

    def _trying(self, what: str, call: Callable[[], Any]) -> Any:
        """Return what a call returns, None where the store fails; that is logged once until it works again."""
        try:
            result = call()
        except StorageError as error:
            if self._failing.get(what) != str(error):
                log.error("%s What needs it is answered mailbox_error; what waits in it is left there.", error)
            self._failing[what] = str(error)
            return None
        if self._failing.pop(what, None):
            log.info("the mailbox %s works again", self._store.name if self._store else "")
        return result

    def _opened(self) -> DepositStore:
        if self._store is None:
            self._store = self._open()
        store, released = self._store, self._released
        if released is not None:
            self._trying("take over", lambda: self._take_over(store, released))
        return store

    def _deposit(self, owner: str, request: Deposit, wall: float) -> dict[str, Any]:
        problem = mailbox.payload_problem(request.payload)
        # A clock that was behind may be believed before long, and what waits must outlast that.
        behind_s = max(0.0, self._clock() - wall) if self._clock is not None else 0.0
        kept = replace(request, ttl_s=request.ttl_s + behind_s)
        done = problem or self._opened().deposit(owner, kept, self._limits, wall)
        return mailbox.failed(done.reason) if isinstance(done, Refused) else mailbox.deposited(done)

    def _collect(self, owner: str, request: Collect, wall: float) -> dict[str, Any]:
        return mailbox.collected(self._opened().collect(owner, wall))

    def _ack(self, owner: str, request: Ack, wall: float) -> dict[str, Any]:
        return mailbox.removed(self._opened().ack(owner, request.deposit_ids, wall))

    def _take_over(self, store: DepositStore, path: Path) -> None:
        """Take over what a released hub kept, once; it is left as it is."""
        try:
            _take_over(store, path)
        except (OSError, ValueError, RecursionError) as error:
            log.warning("what a released hub kept in %s is not taken over: %s", path, error)
        self._released = None


def _take_over(store: DepositStore, path: Path) -> None:
    if not path.exists():
        return
    source = hashlib.sha256(path.read_bytes()).hexdigest() if store.is_shared else str(path)
    if store.has_imported(source):
        return
    messages, broken = mailbox.read_released(json.loads(path.read_text("utf-8")))
    store.take_over(source, messages)
    log.info("took over %d messages from %s; %d entries of it are none", len(messages), path, broken)
