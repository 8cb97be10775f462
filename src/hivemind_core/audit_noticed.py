"""Changes of rights that a running hub finds in the database, made by somebody else: into the audit log, too.

What a command of this machine has done stands there already, or will in a moment: a line is written only some seconds
later, of what no other line tells by then.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

from . import audit
from .audit import ELSEWHERE, Author, Document
from .audit_log import AuditLog
from .clients import Client

PATIENCE_S = 5.0
"""So long a command may take from changing a client to writing its line."""
SLACK_S = 2.0
MAX_WAITING = 1000
"""More changes at once are counted only: somebody who changes every client is not to push all else out of the log."""
AUTHOR = Author(ELSEWHERE, action="change")


class _Noticed(NamedTuple):
    line: Document
    since: float
    """When it was not there yet."""
    due: float


class NoticedChanges:
    """See the module. All of it blocks, and is called from the database's thread; it raises nothing."""

    def __init__(self, log: AuditLog, wall: Callable[[], float] = time.time) -> None:
        self._log = log
        self._wall = wall
        self._read_at = wall()
        self._waiting: deque[_Noticed] = deque()
        self._not_listed: list[str] = []
        """The clients of changes that were too many at once."""

    def notice(self, before: Client | None, after: Client | None) -> None:
        """Take in how a row was and is; None where there was, or is, none."""
        if before is not None and after is not None and replace(before, last_seen=after.last_seen) == after:
            return  # other hubs of a cluster note thousands of them at once
        now = self._wall()
        line = audit.entry(Author(ELSEWHERE), before, after, now)
        if line is None:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._not_listed.append(str(line["client_id"]))
            return
        self._waiting.append(_Noticed(line, self._read_at - SLACK_S, now + PATIENCE_S))

    def write(self, *, is_read: bool, at_once: bool = False) -> None:
        """Write down what is due, or everything at once; `is_read`: the database was read since the last call."""
        now = self._wall()
        due = []
        while self._waiting and (at_once or now >= self._waiting[0].due or now < self._waiting[0].due - PATIENCE_S):
            due.append(self._waiting.popleft())
        if due:
            self._write(due, now)
        if is_read:
            self._read_at = now

    def _write(self, due: list[_Noticed], now: float) -> None:
        told = _by_client(self._log.since(min(noticed.since for noticed in due)))
        for noticed in due:
            others = told[str(None)] + told[str(noticed.line["client_id"])]
            line = audit.untold(noticed.line, [other for at, other in others if at >= noticed.since])
            if line is not None:
                self._log.write(line)
        if self._not_listed and not self._waiting:
            count = sum(not told[client] for client in self._not_listed)
            if count:
                self._log.write(audit.event(AUTHOR, {"changes that are not listed": count}, now))
            self._not_listed.clear()


def _by_client(lines: Iterable[Document]) -> defaultdict[str, list[tuple[float, Document]]]:
    """Return what others than hubs that noticed it have told of each client, with its time."""
    told: defaultdict[str, list[tuple[float, Document]]] = defaultdict(list)
    for line in lines:
        if line.get("source") != ELSEWHERE:
            told[str(line.get("client_id"))].append((audit.when(line), line))
    return told
