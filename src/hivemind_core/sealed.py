"""INTERCOMs that may be for this hub: they wait in a line for each connection, and are opened off the loop.

The RSA work takes about a millisecond, or fifteen where somebody is out to make it long; a few are opened at once, in
turn, so that a connection that brings many holds up itself and nobody else.
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
        self._lines: Lines[str, Unseal] = Lines(LIMITS)
        self._turns: OrderedDict[str, None] = OrderedDict()
        """Connections whose messages wait, in the order of their turns."""
        self._running: set[str] = set()
        self._opened: Shares[bool] = Shares(MAX_OPENED, MAX_OPENED_EACH)

    def take(self, sender: str, action: Unseal) -> bool:
        """Have a message opened; False where it is too large or too many wait."""
        size = len(codec.dumps_bytes(action.intercom.body))
        if size > MAX_RELAYED_BYTES or self._lines.put(sender, action, size) is not Taken.YES:
            return False
        self._turns.setdefault(sender)
        self._begin()
        return True

    def gone(self, sender: str) -> None:
        """Drop what waits for a connection that ended."""
        self._lines.forget(sender)

    def _begin(self) -> None:
        for sender in [sender for sender in self._turns if sender not in self._running]:
            if len(self._running) >= AT_ONCE:
                return
            action = self._lines.take(sender)
            if action is None:
                del self._turns[sender]
                continue
            self._turns.move_to_end(sender)
            self._running.add(sender)
            self._around.spawn(self._open(sender, action))

    async def _open(self, sender: str, action: Unseal) -> None:
        try:
            self._follow(sender, action, await self._judged(sender, action))
        except Busy:
            log.warning("an INTERCOM of %s is dropped: too many keys are waiting to be made", sender)
        finally:
            self._running.discard(sender)
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
        peer = self._around.peers.get(sender)
        self._opened.put(name, sender if peer is None else f"client {peer.client.client_id}", True)
        return True
