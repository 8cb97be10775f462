"""Has the policies asked: the hub's own at once, others' in threads, one at a time for each client and in order.

A policy of a plugin may look something up, or ask a model: neither the loop nor any other client waits for it. One
that takes longer than `MOST_S` has failed, and fails that client's messages at once until it comes back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hivemind_bus_client import codec
from hivemind_bus_client.message import Message

from .binary.lines import Limits, Lines, Taken
from .binary.pool import DaemonPool
from .clients import Client
from .peers import Peer
from .policy import ALLOW, Entry, Mutation, PolicyChain, Subject, Verdict, asked, failed

log = logging.getLogger(__name__)

MOST_S = 10.0
"""What a policy of a plugin may take for one message, in seconds."""
LIMITS = Limits(threads=16)
OVERHEAD_BYTES = 1024
"""What waiting costs besides the message."""


@dataclass
class _Review:
    """Something that plugins are asked about."""

    client: Client
    """Whose rights it was let through with so far."""
    subject: Subject
    size: int
    """Bytes that waiting costs."""
    then: Callable[[Any, Verdict], None]
    made: list[Mutation] = field(default_factory=list)
    sent: Subject = field(init=False, repr=False)
    """What came; plugins may make something else of it."""
    at: int = 0
    """Which of them is to be asked next."""
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.sent = self.subject

    @property
    def client_id(self) -> int:
        return self.client.client_id


class Reviews:
    """See the module. All of it runs on the loop; `_run` and `_judged` in threads."""

    def __init__(self, chain: PolicyChain, row: Callable[[int], Client | None], most_s: float = MOST_S) -> None:
        self._row = row
        self._most_s = most_s
        self._own, self._plugins = chain.parted()
        self._lines: Lines[int, _Review] = Lines(LIMITS)
        self._pool = DaemonPool(LIMITS.threads, "hive-policy")
        self.under_way: dict[int, _Review] = {}
        self.stuck: set[tuple[int, int]] = set()
        """Client and plugin, where that has not come back from a message of this client."""

    def message(self, peer: Peer, message: Message, then: Callable[[Message, Verdict], None]) -> None:
        """Have a message judged; `then` is called before this returns, or later where plugins are asked.

        It gets the message as the policies changed it, which is another object in the latter case.
        """
        verdict = self._own.review(message, peer.client)
        if verdict.allowed and self._plugins:
            size = OVERHEAD_BYTES + len(codec.dumps_bytes([message.data, message.context]))
            self._enqueue(_Review(peer.client, message, size, then, [*verdict.mutations]))
        else:
            then(message, verdict)

    def binary(self, peer: Peer, data: bytes, then: Callable[[Verdict], None]) -> None:
        """Have binary data judged; as for messages."""
        verdict = self._own.review_binary(data, peer.client)
        if verdict.allowed and self._plugins:
            size = OVERHEAD_BYTES + len(data)
            self._enqueue(_Review(peer.client, data, size, lambda subject, verdict: then(verdict)))
        else:
            then(verdict)

    def _judged_here(self, sent: Subject, client: Client) -> Verdict:
        """Ask the hub's own policies again: rights that were taken away while something waited count."""
        return self._own.review_binary(sent, client) if isinstance(sent, bytes) else self._own.review(sent, client)

    def _enqueue(self, review: _Review) -> None:
        if self._lines.put(review.client_id, review, review.size) is Taken.NO:
            self._end(review, _late(replace(self._plugins[0], optional=False)))
        self._next(review.client_id)

    def stop(self) -> None:
        """Let go of everything; what is under way is not waited for."""
        for review in self.under_way.values():
            if review.timer is not None:
                review.timer.cancel()
        self.under_way.clear()
        self._pool.stop()

    def _next(self, client_id: int) -> None:
        """Begin what has waited longest for a client, unless something of it is being judged."""
        while client_id not in self.under_way:
            review = self._lines.take(client_id)
            if review is None:
                return
            self._go_on(review)

    def _go_on(self, review: _Review) -> None:
        """Ask the next plugin that can be asked, or end."""
        client = self._row(review.client_id)
        if client is None:
            return  # deleted meanwhile
        if _rights(client) != _rights(review.client):
            verdict = self._judged_here(review.sent, client)
            if not verdict.allowed:
                self._end(review, verdict)
                return
            review.client = client
        while review.at < len(self._plugins):
            entry = self._plugins[review.at]
            if (review.client_id, review.at) not in self.stuck:
                self._submit(review, entry, client)
                return
            if not self._answered(review, _late(entry)):
                return
        self._end(review, Verdict(mutations=tuple(review.made)) if review.made else ALLOW)

    def _submit(self, review: _Review, entry: Entry, client: Client) -> None:
        loop = asyncio.get_running_loop()
        self.under_way[review.client_id] = review
        begun: list[float] = []
        review.timer = loop.call_later(self._most_s, self._took_too_long, review, begun)
        returned = partial(self._returned, review, review.at)
        self._pool.submit(partial(_run, loop, begun, returned, partial(_judged, entry, review.subject, client)))

    def _returned(self, review: _Review, at: int, subject: Subject, verdict: Verdict) -> None:
        key = (review.client_id, at)
        if key in self.stuck:
            self.stuck.discard(key)
        elif self.under_way.pop(review.client_id, None) is not None:
            if review.timer is not None:
                review.timer.cancel()
            review.subject = subject
            self._resume(review, verdict)

    def _took_too_long(self, review: _Review, begun: Sequence[float]) -> None:
        loop = asyncio.get_running_loop()
        # Waiting for a thread is not held against a policy, unless they are all held up by those that are late.
        left_s = begun[0] + self._most_s - loop.time() if begun else self._most_s
        if left_s > 0 and (begun or len(self.stuck) < LIMITS.threads):
            review.timer = loop.call_later(left_s, self._took_too_long, review, begun)
            return
        entry = self._plugins[review.at]
        log.error("the policy %s has not answered within %g s: till it does it has failed", entry.name, self._most_s)
        del self.under_way[review.client_id]
        self.stuck.add((review.client_id, review.at))
        self._resume(review, _late(entry))

    def _resume(self, review: _Review, verdict: Verdict) -> None:
        if self._answered(review, verdict):
            self._go_on(review)
        self._next(review.client_id)

    def _answered(self, review: _Review, verdict: Verdict) -> bool:
        """Take an answer; whether the others are still to be asked."""
        review.at += 1
        review.made += verdict.mutations
        if not verdict.allowed:
            self._end(review, verdict)
        return verdict.allowed

    def _end(self, review: _Review, verdict: Verdict) -> None:
        try:
            review.then(review.subject, verdict)
        except Exception:  # top of one message's handling
            log.exception("could not handle a message of client %s", review.client_id)


def _run(
    loop: asyncio.AbstractEventLoop,
    begun: list[float],
    returned: Callable[[Subject, Verdict], None],
    call: Callable[[], tuple[Subject, Verdict]],
) -> None:
    """In a thread of the pool."""
    begun.append(loop.time())
    judged = call()
    with suppress(RuntimeError):  # the hub has ended before its policy
        loop.call_soon_threadsafe(returned, *judged)


def _judged(entry: Entry, subject: Subject, client: Client) -> tuple[Subject, Verdict]:
    """Ask a plugin, in its thread, about a copy: one that is late must not change what goes on without it."""
    try:
        subject = deepcopy(subject)
        verdict = asked(entry, subject, client)
        return subject, replace(verdict, mutations=tuple(verdict.mutations)) if verdict is not ALLOW else ALLOW
    except BaseException as error:  # noqa: BLE001 - a plugin call: whatever it is, this client's next is not to wait
        return subject, failed(entry, "policy raised", error)


def _rights(client: Client) -> tuple[object, ...]:
    return client.allowed_types, client.is_admin


def _late(entry: Entry) -> Verdict:
    return failed(entry, "policy is late", TimeoutError("it takes too long"))
