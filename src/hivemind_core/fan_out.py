"""One message to many receivers, a slice at a time, so that nobody else waits until all of them are written to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from hivemind_bus_client.outgoing import Outgoing

from .peers import Peer

SLICE_S = 0.002
"""So long at a time; then everybody else has a turn."""
MOST_WAITING = 4
"""Messages that may wait. For one more, others are written to the end at once: whoever sends so much is then seen to
use the loop, and is read less (`fairness`)."""


class _Rest:
    """Who is still to get a message."""

    __slots__ = ("left", "outgoing", "peers")

    def __init__(self, peers: Sequence[Peer], outgoing: Outgoing) -> None:
        self.peers = deque(peers)
        self.outgoing = outgoing
        self.left: set[Peer] | None = None
        """The same, as soon as the message waits; who was served out of turn is missing here."""

    def wait(self) -> None:
        if self.left is None:
            self.left = set(self.peers)

    def take(self, peer: Peer) -> bool:
        """Tell whether it is this one's turn to be served, which it then is."""
        if self.left is None:
            return True
        is_left = peer in self.left
        self.left.discard(peer)
        return is_left


class FanOut:
    """Each peer gets its messages in the order in which they were given."""

    def __init__(self, send: Callable[[Peer, Outgoing], object], monotonic: Callable[[], float]) -> None:
        """`send` hands a message to one peer."""
        self._send = send
        self._monotonic = monotonic
        self.waiting: deque[_Rest] = deque()
        """Messages that some peers are still to get."""
        self._is_sending = False

    def send(self, peers: Sequence[Peer], outgoing: Outgoing) -> None:
        """Send to these peers: at once as far as one slice goes, which is to some hundreds of them."""
        rest = _Rest(peers, outgoing)
        if self.waiting:
            rest.wait()
        self.waiting.append(rest)
        if len(self.waiting) == 1:
            self._slice()
            self._go_on_later()
        while len(self.waiting) > MOST_WAITING:
            self._slice()

    def catch_up(self, peer: Peer) -> None:
        """Send a peer what it is still to get, since it is going to get something else."""
        if self._is_sending:
            return
        for rest in list(self.waiting):
            if rest.take(peer):
                self._hand_over(peer, rest)

    def _go_on_later(self) -> None:
        if self.waiting:
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        try:
            self._slice()
        finally:
            self._go_on_later()

    def _slice(self) -> None:
        """Work for a while. A message that cannot be sent is given up."""
        until = self._monotonic() + SLICE_S
        while self.waiting:
            rest = self.waiting.popleft()
            while rest.peers:
                peer = rest.peers.popleft()
                if not rest.take(peer):
                    continue
                self._hand_over(peer, rest)
                if self._monotonic() >= until:
                    rest.wait()
                    self.waiting.appendleft(rest)
                    return

    def _hand_over(self, peer: Peer, rest: _Rest) -> None:
        self._is_sending = True
        try:
            self._send(peer, rest.outgoing)
        finally:
            self._is_sending = False
