"""One message to many receivers, a slice at a time, so that nobody else waits until all of them are written to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from hivemind_bus_client.outgoing import Outgoing

from .peers import Peer

SLICE_S = 0.002
"""So long at a time; then everybody else has a turn."""
MOST_WAITING = 4
"""Messages that may wait. For one more, others are written to the end at once: whoever sends so much is then seen to
use the loop, and is read less (`fairness`)."""


class _Rest(NamedTuple):
    """Who is still to get a message."""

    peers: Iterator[Peer]
    outgoing: Outgoing


class FanOut:
    """Each peer gets its messages in the order in which they were given."""

    def __init__(self, send: Callable[[Peer, Outgoing], object], monotonic: Callable[[], float]) -> None:
        """`send` hands a message to one peer."""
        self._send = send
        self._monotonic = monotonic
        self._waiting: deque[_Rest] = deque()

    def send(self, peers: Sequence[Peer], outgoing: Outgoing) -> None:
        """Send to these peers: at once as far as one slice goes, which is to some hundreds of them."""
        self._waiting.append(_Rest(iter(peers), outgoing))
        if len(self._waiting) == 1:
            self._slice()
            self._go_on_later()
        while len(self._waiting) > MOST_WAITING:
            self._slice()

    def _go_on_later(self) -> None:
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        try:
            self._slice()
        finally:
            self._go_on_later()

    def _slice(self) -> None:
        """Work for a while. A message that cannot be sent is given up."""
        until = self._monotonic() + SLICE_S
        while self._waiting:
            rest = self._waiting.popleft()
            for peer in rest.peers:
                self._send(peer, rest.outgoing)
                if self._monotonic() >= until:
                    self._waiting.appendleft(rest)
                    return


__all__ = ["FanOut"]
