"""The mailbox of a hub as it runs: requests in, replies out, the file in a thread of its own.

Replies carry nothing that tells which request they answer, so they are given in the order of the requests.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import mailbox
from .config import data_dir
from .mailbox import Ack, Collect, Deposit, Refused, Request
from .mailbox_config import Limits, MailboxConfig
from .mailbox_store import MailboxStore
from .storage import StorageError

log = logging.getLogger(__name__)

MAX_WAITING_EACH = 32
"""Requests of one client that wait for their turn; those beyond are answered ``mailbox_error``."""
MAX_WAITING = 256


def open_mailbox(config: MailboxConfig, node_id: str) -> Mailbox | None:
    """Return the mailbox that server.json asks for, if it does; it is opened by `start`."""
    if not config.enabled:
        return None
    data = data_dir()
    path = data / "hivemind-core" / "mailbox.db"
    return Mailbox(path, node_id, config.limits, released=data / "hivemind" / "rendezvous.json")


class Mailbox:
    """See the module. Nothing in it raises or blocks; what the file does not let it do is a ``mailbox_error``."""

    def __init__(self, path: Path, node_id: str, limits: Limits | None = None, released: Path | None = None) -> None:
        """`released` is a file of a released hub, which is taken over once and left as it is."""
        self._path = path
        self._node_id = node_id
        self._limits = limits or Limits()
        self._released = released
        self._worker = ThreadPoolExecutor(1, "hive-mailbox")
        self._waiting: Counter[str] = Counter()
        self._store: MailboxStore | None = None
        self._failing: dict[str, str] = {}
        self._carry_out: dict[type, Callable[[str, Any, float], dict[str, Any]]] = {
            Deposit: self._deposit,
            Collect: self._collect,
            Ack: self._ack,
            Refused: lambda owner, request, wall: mailbox.failed(request.reason),
        }

    async def start(self) -> None:
        """Open the file. One that cannot be opened is told in the log, and tried again with every request."""
        await self._run(self._begin)

    async def handle(self, owner_key: str, body: Any, wall: float) -> dict[str, Any]:
        """Serve a request of a client, who is known by its access key, and return the reply's payload.

        `wall` is Unix time, in seconds.
        """
        request: Request = mailbox.parse(body) if owner_key else Refused("no_client_identity")
        del body  # what is refused may be large, and has to wait its turn, too
        owner = mailbox.name_of(owner_key)
        if self._waiting[owner] >= MAX_WAITING_EACH or self._waiting.total() >= MAX_WAITING:
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
        return {**reply, "mailbox_node": self._node_id}

    async def stop(self) -> None:
        """Finish what was begun, and close the file."""
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
        """Return what a call returns, None where the file fails; that is logged once until it works again."""
        try:
            result = call()
        except StorageError as error:
            if self._failing.get(what) != str(error):
                log.error("%s What needs it is answered mailbox_error; what waits in it is left there.", error)
            self._failing[what] = str(error)
            return None
        if self._failing.pop(what, None):
            log.info("the mailbox %s works again", self._path)
        return result

    def _opened(self) -> MailboxStore:
        if self._store is None:
            self._store = MailboxStore(self._path)
            self._take_over(self._store)
        return self._store

    def _deposit(self, owner: str, request: Deposit, wall: float) -> dict[str, Any]:
        problem = mailbox.payload_problem(request.payload)
        done = problem or self._opened().deposit(owner, request, self._limits, wall)
        return mailbox.failed(done.reason) if isinstance(done, Refused) else mailbox.deposited(done)

    def _collect(self, owner: str, request: Collect, wall: float) -> dict[str, Any]:
        return mailbox.collected(self._opened().collect(owner, wall))

    def _ack(self, owner: str, request: Ack, wall: float) -> dict[str, Any]:
        return mailbox.removed(self._opened().ack(owner, request.deposit_ids, wall))

    def _take_over(self, store: MailboxStore) -> None:
        """Take over what a released hub kept, once; it is left as it is."""
        path = self._released
        if path is None or not path.exists() or store.has_imported(str(path)):
            return
        try:
            document = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            log.warning("what a released hub kept in %s is not taken over: %s", path, error)
            return
        messages, broken = mailbox.read_released(document)
        store.take_over(str(path), messages)
        log.info("took over %d messages from %s; %d entries of it are none", len(messages), path, broken)
