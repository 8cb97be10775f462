"""Between the hub and the handler for binary data: what satellites send waits here, and is handled off the loop.

In order for one satellite, some satellites at once, bounded for each and for all; whatever a handler does, the hub
goes on. A handler may be any object with the methods of `BinaryHandler` that it needs, as released plugins are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hivemind_bus_client import codec
from hivemind_bus_client.message import HiveMindBinaryPayloadType, Message

from ..actions import ToBinary, denied
from ..fairness import Ration
from ..peers import Peer
from . import Declined, own_method
from .callbacks import CALLBACKS, arguments
from .default import DefaultHandler
from .lines import Limits, Lines, Taken
from .pool import DaemonPool
from .sender import Back, Sender

log = logging.getLogger(__name__)

DENIED_TYPE = "binary"
DEFAULT_LANG = "en-US"
OVERHEAD_BYTES = 1024
"""What waiting costs besides the data."""
TRACEBACKS_PER_S, TRACEBACKS_AT_ONCE = 0.1, 10
"""A stream of sound can fail 50 times a second."""
BROKEN = Declined("binary_handler_failed")


@dataclass(frozen=True)
class _Job:
    """One call of the handler."""

    call: Callable[[], object]
    denied_type: str
    bin_type: str | None = None
    """The number of the kind of binary data; None for an OVOS message."""


class Desk:
    """See the module. All of it runs on the loop, but `_run`."""

    def __init__(self, handler: Any, back: Back) -> None:
        self._handler = handler
        self._back = back
        limits = getattr(handler, "limits", None)  # a plugin of another make has none
        self._limits = limits if isinstance(limits, Limits) else Limits()
        types = getattr(handler, "message_types", ())
        self._types = frozenset(types) if own_method(handler, "handle_message") else frozenset()
        self._lines: Lines[Peer, _Job] = Lines(self._limits, lambda peer: peer.client.client_id)
        self._pool = DaemonPool(self._limits.threads, "hive-binary")
        self._tracebacks = Ration(TRACEBACKS_PER_S, TRACEBACKS_AT_ONCE, time.monotonic())
        self._running: set[Peer] = set()
        self._met: set[Peer] = set()
        """Satellites that the handler has been called for."""

    # what the hub calls

    def take(self, peer: Peer, action: ToBinary) -> None:
        """Have binary data handled; the policies have let it through."""
        kind = str(action.bin_type)
        callback = CALLBACKS.get(action.bin_type)
        method = own_method(self._handler, callback.method) if callback else None
        if callback is None or method is None:
            self._answer(peer, _Job(_nothing, DENIED_TYPE, kind), self._nobody())
            return
        sender = self._sender(peer)
        try:
            found = arguments(callback, action.metadata, sender.lang or DEFAULT_LANG)
        except ValueError as error:
            self._answer(peer, _Job(_nothing, DENIED_TYPE, kind), Declined("malformed_payload", str(error)))
            return
        job = _Job(partial(method, action.data, *found, sender), DENIED_TYPE, kind)
        is_stream = action.bin_type == HiveMindBinaryPayloadType.RAW_AUDIO
        self._enqueue(peer, job, len(action.data) + OVERHEAD_BYTES, is_stream)

    def hears(self, peer: Peer, message: Message) -> bool:
        """Have an OVOS message answered, if the handler answers this type; else it is the agent's."""
        if message.msg_type not in self._types:
            return False
        job = _Job(partial(self._handler.handle_message, message, self._sender(peer)), message.msg_type)
        self._enqueue(peer, job, len(codec.dumps_bytes(message.data)) + OVERHEAD_BYTES, False)
        return True

    def left(self, peer: Peer) -> None:
        """Drop what waits for a satellite that has gone."""
        self._lines.forget(peer)
        if peer not in self._met:
            return
        self._met.discard(peer)
        farewell = own_method(self._handler, "client_left")
        if farewell is not None:
            self._lines.put(peer, _Job(partial(farewell, self._sender(peer)), DENIED_TYPE), 0)
            self._next(peer)

    def stop(self) -> None:
        """Let go of everything; what is under way is not waited for."""
        stop = own_method(self._handler, "stop")
        if stop is not None:
            try:
                stop()
            except Exception:  # a plugin call
                log.exception("the handler for binary data could not be stopped")
        self._pool.stop()

    # the work

    def _sender(self, peer: Peer) -> Sender:
        return Sender(peer, self._back, asyncio.get_running_loop())

    def _nobody(self) -> Declined:
        handler = self._handler
        if isinstance(handler, DefaultHandler):
            return Declined(handler.code, handler.detail)
        return Declined("no_binary_handler", "it takes other kinds of data")

    def _enqueue(self, peer: Peer, job: _Job, size: int, is_stream: bool) -> None:
        if peer.ended:  # while policies were asked: the handler has been told that it left
            return
        self._met.add(peer)
        taken = self._lines.put(peer, job, size, is_stream=is_stream)
        if taken is Taken.PARTLY:
            log.warning("the handler for binary data does not keep up with %s: sound is dropped", peer.peer_id)
            self._answer(peer, job, Declined("binary_handler_busy", "the oldest sound is dropped"))
        elif taken is Taken.NO:
            self._answer(peer, job, Declined("binary_handler_busy"))
        self._next(peer)

    def _next(self, peer: Peer) -> None:
        """Begin what has waited longest for a satellite, unless something is being done for it."""
        if peer in self._running:
            return
        job = self._lines.take(peer)
        if job is not None:
            self._running.add(peer)
            self._pool.submit(partial(self._run, peer, job, asyncio.get_running_loop()))

    def _run(self, peer: Peer, job: _Job, loop: asyncio.AbstractEventLoop) -> None:
        """Call the handler; in a thread of the pool."""
        problem: Declined | None = BROKEN
        try:
            job.call()
            problem = None
        except Declined as declined:
            problem = declined
        except Exception:  # a plugin call
            if self._tracebacks.take(time.monotonic()):
                log.exception("the handler for binary data failed on %s of %s", job.denied_type, peer.peer_id)
        finally:
            with suppress(RuntimeError):  # the hub has ended before its handler
                loop.call_soon_threadsafe(self._done, peer, job, problem)

    def _done(self, peer: Peer, job: _Job, problem: Declined | None) -> None:
        self._running.discard(peer)
        if problem is not None:
            self._answer(peer, job, problem)
        self._next(peer)

    def _answer(self, peer: Peer, job: _Job, problem: Declined) -> None:
        if peer.ended:
            return
        denial = denied(problem.code, job.denied_type, problem.detail)
        kind = {} if job.bin_type is None else {"bin_type": job.bin_type}
        self._back.deny(peer, replace(denial, data=kind))


def _nothing() -> None:
    """What is never called."""


__all__ = ["Back", "Desk"]
