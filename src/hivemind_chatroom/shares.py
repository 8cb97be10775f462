"""Shares the threads and connections of the web server out, so that one address cannot have them all.

A proxy stands for many: where one is trusted, those it forwards for have a share each.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from .access import household, is_trusted
from .settings import Settings

OTHERS_EACH = 4
"""Requests of one address that are answered at once, besides its event streams: few, as all threads of a Python process
share one processor.
"""
STREAMS_ENDING = 8
"""Event streams of one address whose reader has gone, or that are about to be refused."""
STREAM = "/events"
"""The end of an event stream's path."""
MOST_UNREAD = 32 * 1024 * 1024
"""Bytes written to one address and not yet taken by it."""


Account = tuple[str, bool]
"""An address, and whether it is about its event streams or about all else."""


def nobody(address: str) -> bool:
    """No address is a proxy's."""
    return False


@dataclass(frozen=True)
class Share:
    """What one address may have."""

    streams: int = 1_000_000
    """Event streams at once; further ones wait, as those below do."""
    others: int = 1_000_000
    """Other requests that are answered at once."""
    is_proxy: Callable[[str], bool] = nobody
    """Tells whether an address is exempt."""


def share_of(settings: Settings) -> Share:
    """Return what one address may have of a chatroom."""
    streams = min(settings.limits.streams, settings.limits.streams_each)
    is_proxy = partial(is_trusted, proxies=settings.access.trusted_proxies)
    return Share(streams + STREAMS_ENDING, OTHERS_EACH, is_proxy)


class FairDispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]
    """Gives requests to threads; those of an address that has its share already wait behind its own."""

    def __init__(self, share: Share) -> None:
        super().__init__()
        self._share = share
        self._sharing = threading.Lock()
        self._busy: Counter[Account] = Counter()
        self._waiting: defaultdict[Account, deque[Any]] = defaultdict(deque)

    def add_task(self, task: Any) -> None:
        """Let a connection's next request be answered."""
        account = self._account(task)
        if account is None:
            super().add_task(task)
            return
        with self._sharing:
            if self._busy[account] >= (self._share.streams if account[1] else self._share.others):
                self._waiting[account].append(task)
                return
            self._busy[account] += 1
        super().add_task(_Counted(task, lambda: self._done(account)))

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        """End the threads."""
        with self._sharing:
            self._waiting.clear()
        return bool(super().shutdown(cancel_pending, timeout))

    def _account(self, task: Any) -> Account | None:
        request, address = task.requests[0], str(task.addr[0])
        if self._share.is_proxy(address):
            address = getattr(request, "headers", {}).get("X_FORWARDED_FOR", "").rpartition(",")[2].strip()
        is_stream = getattr(request, "path", "").endswith(STREAM)  # nonsense has none
        return (household(address), is_stream) if address else None

    def _done(self, account: Account) -> None:
        with self._sharing:
            following = self._next(account)
            if following is None:
                self._busy[account] -= 1
                if not self._busy[account]:
                    del self._busy[account]
        if following is not None:
            super().add_task(_Counted(following, lambda: self._done(account)))

    def _next(self, account: Account) -> Any:
        waiting = self._waiting.get(account, ())
        while waiting:
            task = waiting.popleft()
            if task.connected:
                return task
        self._waiting.pop(account, None)
        return None


class _Counted:
    """A connection whose request counts against the share of its address."""

    def __init__(self, task: Any, done: Callable[[], None]) -> None:
        self._task = task
        self._done = done

    def service(self) -> None:
        try:
            self._task.service()
        finally:
            self._done()

    def cancel(self) -> None:
        self._task.cancel()


class FairServer(TcpWSGIServer):  # type: ignore[misc]
    """When there are as many connections as there may be, the address with most of them loses the one that has been
    idle longest, and the newcomer is let in.
    """

    most = 1_000_000
    share = Share()
    _is_making_way = False
    _has_closed = False
    """A connection in this round of the loop, whose file number a new one would get, with all that was seen of it."""

    def readable(self) -> bool:
        """Tell whether to take new connections; asked in each round of the loop."""
        self._has_closed = False
        if len(self.active_channels) >= self.most and not self._is_making_way:
            self._is_making_way = True
            self.trigger.pull_trigger(self._make_way)  # nothing may be closed while the loop looks what is open
        return bool(super().readable())

    def handle_accept(self) -> None:
        """Take a new connection."""
        if not self._has_closed:
            super().handle_accept()

    def maintenance(self, now: float) -> None:
        """Besides those that are idle for too long, close those whose address lets too much wait to be read."""
        super().maintenance(now)
        unread: defaultdict[str, int] = defaultdict(int)
        for channel in list(self.active_channels.values()):
            unread[whose(channel)] += channel.total_outbufs_len
            if unread[whose(channel)] > MOST_UNREAD and not self.share.is_proxy(channel.addr[0]):
                self.trigger.pull_trigger(partial(self._let_go, channel))

    def _make_way(self) -> None:
        self._is_making_way = False
        while len(self.active_channels) >= self.most:
            found = self._least_missed()
            if found is None:
                return
            self._let_go(found)

    def _let_go(self, channel: Any) -> None:
        self._has_closed = True
        channel.handle_close()

    def _least_missed(self) -> Any:
        shared = [each for each in self.active_channels.values() if not self.share.is_proxy(each.addr[0])]
        if not shared:
            return None
        [(greedy, _)] = Counter(map(whose, shared)).most_common(1)
        return min(
            (each for each in shared if whose(each) == greedy),
            key=lambda each: (bool(each.requests), each.last_activity),
        )


def whose(channel: Any) -> str:
    """Return against whose share a connection counts."""
    return household(str(channel.addr[0]))
