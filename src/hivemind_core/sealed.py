"""INTERCOMs that may be for this hub: they wait in a line for each client, and are opened off the loop.

The RSA work takes about a millisecond, or fifteen where somebody is out to make it long; a few are opened at once, in
turn, so that a client that brings many, by however many connections, holds up itself and nobody else.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable

from hivemind_bus_client import codec
from hivemind_bus_client.intercom import Fate, Verdict, fingerprint, judge
from hivemind_bus_client.outgoing import MAX_RELAYED_BYTES

from .actions import PARENT, Unseal
from .authors import Authors
from .binary.lines import Limits, Lines, Taken
from .shares import Shares
from .surroundings import Surroundings
from .workers import Busy

log = logging.getLogger(__name__)

AT_ONCE = 2
LIMITS = Limits(waiting=256, waiting_bytes=2 * MAX_RELAYED_BYTES, all_bytes=32 * MAX_RELAYED_BYTES)
MAX_OPENED, MAX_OPENED_EACH = 8192, 1024
"""Messages that were acted upon and are known when they come again: altogether, and of one client."""


class Sealed:
    """See the module. `act` gets the bearer and what is in a message, `forward` one that is not for this hub."""

    def __init__(
        self,
        around: Surroundings,
        authors: Authors,
        act: Callable[[str, Verdict], None],
        forward: Callable[[str, Unseal], None],
    ) -> None:
        self._around = around
        self._authors = authors
        self._act = act
        self._forward = forward
        self._lines: Lines[str, tuple[str, Unseal]] = Lines(LIMITS)
        """What waits for each client, with who has brought it."""
        self._turns: OrderedDict[str, None] = OrderedDict()
        """Clients whose messages wait, in the order of their turns."""
        self._running: set[str] = set()
        self._opened: Shares[bool] = Shares(MAX_OPENED, MAX_OPENED_EACH)

    def take(self, sender: str, action: Unseal) -> bool:
        """Have a message opened; False where it is too large or too many wait."""
        size, whose = len(codec.dumps_bytes(action.intercom.body)), self._whose(sender)
        if size > MAX_RELAYED_BYTES or self._lines.put(whose, (sender, action), size) is not Taken.YES:
            return False
        self._turns.setdefault(whose)
        self._begin()
        return True

    def _whose(self, sender: str) -> str:
        return self._around.peers.share_of(sender).name

    def _begin(self) -> None:
        for whose in [whose for whose in self._turns if whose not in self._running]:
            if len(self._running) >= AT_ONCE:
                return
            waiting = self._next(whose)
            if waiting is None:
                self._lines.forget(whose)
                del self._turns[whose]
                continue
            self._turns.move_to_end(whose)
            self._running.add(whose)
            self._around.spawn(self._open(whose, *waiting))

    def _next(self, whose: str) -> tuple[str, Unseal] | None:
        """Return what has waited longest; what a connection has brought that ended is dropped."""
        while (waiting := self._lines.take(whose)) is not None:
            if waiting[0] == PARENT or self._around.peers.get(waiting[0]) is not None:
                return waiting
        return None

    async def _open(self, whose: str, sender: str, action: Unseal) -> None:
        try:
            self._follow(sender, action, await self._judged(sender, action))
        except Busy:
            log.warning("an INTERCOM of %s is dropped: too many keys are waiting to be made", sender)
        finally:
            self._running.discard(whose)
            self._begin()

    async def _judged(self, sender: str, action: Unseal) -> Verdict:
        here, parent = self._around.identity, self._around.parent
        above = [parent.node_id] if sender == PARENT and parent is not None else []
        keys = self._authors.keys(sender, [*above, *action.sources])
        return await self._around.workers.derive(lambda: judge(action.intercom, here.node_id, here.rsa_key, keys))

    def _follow(self, sender: str, action: Unseal, verdict: Verdict) -> None:
        if verdict.fate == Fate.FORWARDED:
            self._forward(sender, action)
        elif verdict.fate == Fate.DROPPED or verdict.message is None:
            log.info("an INTERCOM of %s is dropped: it is not signed by anybody known here", sender)
        elif self._is_new(sender, fingerprint(action.intercom.body)):
            self._act(sender, verdict)

    def _is_new(self, sender: str, name: str) -> bool:
        """Tell whether a message was not acted upon yet, and note it."""
        if self._opened.get(name):
            return False
        self._opened.put(name, self._whose(sender), True)
        return True
