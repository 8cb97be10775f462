"""Requests whose session another hub of the cluster holds: this one passes them on (docs/protocol.md 6).

A load balancer knows nothing of sessions, so a request may come to any hub. A cookie begins with the id of the hub that
gave it; where a session belongs to an address, the others are asked for it once. What is passed on is bounded by the
hub that holds the session, as if it had come there.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from hivemind_bus_client.refusals import GOING_AWAY

from ..fairness import Ration
from ..limits import Remembered, neighbourhood
from .http_connection import Far
from .http_requests import (
    CONNECT,
    DISCONNECT,
    MAX_REQUESTS,
    SEND,
    Asked,
    Passed,
    Reply,
    not_connected,
    too_many_requests,
)
from .http_sessions import Ending, hub_of

LOOK, ASK, SETTLE, BEGUN = "look", "ask", "settle", "begun"
"""What hubs ask each other: whether one holds a session, a request for it, what became of an answer; and that one has
begun a session for an address, which ends those of others for the same."""
LOOK_WITHIN_S = BEGUN_WITHIN_S = 1.0
ANSWER_WITHIN_S = 20.0
"""How long the other hub may take, besides the time that a fetch waits."""
MAX_FAR = 65_536
"""Sessions of other hubs that are remembered."""
LOOKS_PER_S, LOOKS_AT_ONCE = 50.0, 1000
"""How often the others are asked for sessions that this hub does not know, for one address."""
MAX_ADDRESSES = 4096
UNREACHABLE = Ending(GOING_AWAY, "the hub of this session cannot be reached")

Body = Mapping[str, Any]
Handler = Callable[[Body], Awaitable[dict[str, Any]]]
Whose = tuple[str, str, str]
"""Access key, cookie and address; the latter where there is no cookie."""


class Elsewhere(Protocol):
    """The other hubs of a cluster."""

    @property
    def hub(self) -> str:
        """The id of this one, which its cookies begin with."""

    @property
    def available(self) -> bool:
        """The others can be reached, as far as can be known."""

    async def start(self, handlers: Mapping[str, Handler]) -> None:
        """Answer what the others ask, and learn which of them are there."""

    def others(self) -> list[str]:
        """Return the ids of those that are there."""

    def time_ms(self) -> int:
        """Return the time by the clock that all share."""

    async def ask(self, hub: str, what: str, body: Body, timeout_s: float) -> Body | None:
        """Ask one of them; None where it does not answer in time, or cannot be reached."""

    async def ask_all(self, hubs: list[str], what: str, body: Body, timeout_s: float) -> dict[str, Body]:
        """Ask several at once; return the answers that came in time."""

    def tell(self, hub: str, what: str, body: Body) -> None:
        """Let one of them know something, soon, unless it cannot be reached for long."""


class Passing:
    """Finds the sessions of other hubs, and passes requests on to them."""

    def __init__(self, elsewhere: Elsewhere, clock: Callable[[], float]) -> None:
        self._elsewhere = elsewhere
        self._clock = clock
        self._far: Remembered[Whose, Far] = Remembered(MAX_FAR)
        self._looks: Remembered[str, Ration] = Remembered(MAX_ADDRESSES)
        self._numbers = itertools.count(1)

    @property
    def hub(self) -> str:
        """The id of this hub."""
        return self._elsewhere.hub

    def newest(self, key: str, remote: str) -> int:
        """Return since when a session is there that begins now: it is newer than the last one known of its address."""
        known = self._far.get((key, "", remote))
        now_ms = self._elsewhere.time_ms()
        return now_ms if known is None else max(now_ms, known.since_ms + 1)

    async def start(self, handlers: Mapping[str, Handler]) -> None:
        """Answer what the others ask, and learn which of them are there."""
        await self._elsewhere.start(handlers)

    async def find(self, asked: Asked) -> Far | None:
        """Return the session of a request that this hub does not hold; None where no hub does. Raises Told.

        Who connects without a cookie wants a new session, here.
        """
        if asked.path == CONNECT and not asked.cookie:
            return None
        hub = hub_of(asked.cookie)
        if asked.cookie and hub in ("", self._elsewhere.hub):
            return None
        others = self._elsewhere.others()
        known = self._far.get(_whose(asked))
        if known is not None and known.hub in others:
            return known
        if hub and hub not in others:
            _refuse_unreachable(asked)
            return None
        return await self._look(asked, [hub] if hub else others)

    async def _look(self, asked: Asked, hubs: list[str]) -> Far | None:
        """Ask other hubs for a session; the newest is the one, if several have it."""
        if not self._may_look(asked.remote):
            _refuse_unreachable(asked)
            return None
        key, cookie, remote = _whose(asked)
        body = {"key": key, "cookie": cookie, "remote": remote}
        found = await self._elsewhere.ask_all(hubs, LOOK, body, LOOK_WITHIN_S)
        held = [(told["since"], hub) for hub, told in found.items() if told["held"]]
        if held:
            since_ms, hub = max(held)
            far = Far(hub, since_ms, found[hub]["open"])
            self._far.put((key, cookie, remote), far)
            return far
        if len(found) < len(hubs) or not self._elsewhere.available:
            _refuse_unreachable(asked)
        return None

    def _may_look(self, remote: str) -> bool:
        address, now = neighbourhood(remote), self._clock()
        ration = self._looks.get(address) or Ration(LOOKS_PER_S, LOOKS_AT_ONCE, now)
        self._looks.put(address, ration)
        return ration.take(now)

    async def pass_on(self, asked: Asked) -> Reply | None:
        """Pass on a request whose session was found; None where it is to be served here. Raises Told."""
        while asked.far is not None:
            answer = await self._ask(asked, asked.far)
            if answer is None:
                _refuse_unreachable(asked)
                return None
            elif answer["held"]:
                return _reply(asked.far, answer)
            else:
                self._far.pop(_whose(asked))
                asked.far = await self.find(asked)
        return None

    async def _ask(self, asked: Asked, far: Far) -> dict[str, Any] | None:
        """Ask the hub that holds a session; its answer, or None. Raises Told."""
        if far.requests >= MAX_REQUESTS:
            raise too_many_requests()
        number = f"{self._elsewhere.hub}-{next(self._numbers)}"
        body = {"n": number, **asked.told()}
        answer: Body | None = None
        far.requests += 1
        try:
            if asked.path == SEND:
                async with far.turn:
                    answer = await self._elsewhere.ask(far.hub, ASK, body, ANSWER_WITHIN_S)
            else:
                answer = await self._elsewhere.ask(far.hub, ASK, body, asked.wait_s + ANSWER_WITHIN_S)
        finally:
            far.requests -= 1
            if answer is None and asked.path not in (SEND, CONNECT, DISCONNECT):
                self.settle(Passed(far.hub, number), arrived=False)
        return None if answer is None else {**answer, "n": number}

    def settle(self, passed: Passed, *, arrived: bool) -> None:
        """Tell the hub that holds a session whether what it had taken out of a queue has arrived."""
        self._elsewhere.tell(passed.hub, SETTLE, {"n": passed.number, "arrived": arrived})

    async def begun(self, key: str, remote: str, since_ms: int) -> None:
        """Let all others know that this hub holds the session of an address, before its client is told so."""
        self._far.pop((key, "", remote))
        body = {"key": key, "remote": remote, "since": since_ms, "hub": self._elsewhere.hub}
        await self._elsewhere.ask_all(self._elsewhere.others(), BEGUN, body, BEGUN_WITHIN_S)

    def is_at(self, hub: str, key: str, remote: str, since_ms: int) -> None:
        """Note that another hub has begun the session of an address."""
        self._far.put((key, "", remote), Far(hub, since_ms))


def _whose(asked: Asked) -> Whose:
    return asked.key, asked.cookie, "" if asked.cookie else asked.remote


def _refuse_unreachable(asked: Asked) -> None:
    """Have a client connect again. Raises Told, unless it connects or disconnects: that is served here."""
    if asked.path not in (CONNECT, DISCONNECT):
        raise not_connected(UNREACHABLE, 409 if asked.path == SEND else 200)


def _reply(far: Far, answer: Body) -> Reply:
    far.is_open = answer["open"]
    passed = Passed(far.hub, answer["n"] if answer["taken"] else "", answer["stands"])
    return Reply(answer["body"], answer["status"], cookie=answer["cookie"], passed=passed)
