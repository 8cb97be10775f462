"""HiveMessageBusClient: a satellite for programs with threads.

It runs the same driver as the asyncio client, on an event loop in a thread of its own; handlers run in a
second thread, one after the other.
"""

from __future__ import annotations

import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from .base_client import ClientBase, handshake_budget
from .delivery import BinaryDataCallbacks
from .dispatch import STOP_TIMEOUT_S, ThreadDispatcher, event_key
from .driver import Driver
from .exceptions import NotConnected
from .farewell import ENDS, Farewell
from .loop_thread import LoopThread
from .message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType
from .waiters import HiveMessageWaiter, HivePayloadWaiter, answer_test, has_payload, hive_type

__all__ = ["BinaryDataCallbacks", "HiveMessageBusClient", "HiveMessageWaiter", "HivePayloadWaiter"]

T = TypeVar("T")


class HiveMessageBusClient(ClientBase):
    """A satellite whose methods may be called from any thread. See `ClientBase` for the constructor.

    Handlers run in one thread, in the order in which things happen; everything, waiting too, may be called in
    them. A handler that fails is logged; a slow one delays other handlers, never the connection.

    A program that ends while the answer to its last utterance is awaited waits for it, up to 5 s; `close` ends that.
    """

    connected_event: threading.Event
    handshake_event: threading.Event

    def _equipment(self) -> tuple[ThreadDispatcher, threading.Event, threading.Event]:
        self._handlers = ThreadDispatcher()
        self._lifecycle = threading.RLock()
        self._loop: LoopThread | None = None
        self._farewell = Farewell()
        return self._handlers, threading.Event(), threading.Event()

    def __enter__(self) -> HiveMessageBusClient:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run_in_thread(self) -> threading.Thread:
        """Begin to connect and return the thread that does; `connect` also waits for it."""
        with self._lifecycle:
            if self._loop is None:
                self._loop = LoopThread("hivemind-client")
            if self._driver is None or not self._driver.running:
                self._driver = self._new_driver()
                self._handlers.start()
                self._loop.call(_start(self._driver))
            self.started_running = True
            self._farewell.begin()
            return self._loop.thread

    def connect(
        self,
        bus: Any = None,
        protocol: Any = None,
        site_id: str | None = None,
        handshake_max_retries: int | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Connect and wait until the hub has admitted this satellite; from then on it reconnects by itself.

        BUS messages from the hub are also emitted on ``bus``. Without ``timeout`` (seconds) or
        ``handshake_max_retries`` (5 s each) it is tried for ever. Raises HiveMindRefused if the hub refuses
        for good, HandshakeTimedOut when the time is over; the client is closed then.
        """
        self._bind(bus, protocol, site_id)
        self.run_in_thread()
        try:
            self._call(self._running().settled(handshake_budget(handshake_max_retries, timeout)))
        except Exception:
            self.close()
            raise

    def _running(self) -> Driver:
        if self._driver is None:
            raise NotConnected("the client was not started")
        return self._driver

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        if loop is None:
            work.close()
            raise NotConnected("the client is closed")
        try:
            return loop.call(work)
        except CancelledError:
            raise NotConnected("the client was closed meanwhile") from None

    def wait_for_handshake(self, timeout: float = 5, max_retries: int | None = None) -> None:
        """Wait for the hub's admission: for ever, or ``max_retries`` times ``timeout`` seconds. Raises as
        `connect`.
        """
        self._call(self._running().settled(None if max_retries is None else timeout * max_retries))

    def run_forever(self) -> None:
        """Return when the client is closed; raise if the hub refuses it for good."""
        self.run_in_thread()
        self._call(self._running().ended())

    def close(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """End the connection for good, after the handlers of what has come in so far. It can be connected
        anew.

        Waits at most about ``timeout`` seconds for handlers that do not return.
        """
        self._farewell.end()
        with self._lifecycle:
            loop, self._loop = self._loop, None
            if loop is not None and self._driver is not None:
                loop.call(self._driver.close())
                loop.stop(timeout)
            self.started_running = False
        self._handlers.stop(timeout)

    def close_connection(self) -> None:
        """End the connection in use; a new one is made at once."""
        if self._driver is not None:
            self._call(self._driver.drop())

    def emit(
        self,
        message: Any,
        binary_type: HiveMindBinaryPayloadType = HiveMindBinaryPayloadType.UNDEFINED,
        *,
        timeout: float | None = None,
    ) -> None:
        """Send a HiveMessage, or a Message as a BUS one, and return when it is in the socket.

        While down it fails at once, or waits for ``timeout`` seconds (default: the client's
        ``emit_timeout``). Raises NotConnected if the message was not sent, HiveMindRefused after a refusal
        for good.
        """
        wait_s = self._wait_budget(timeout)
        outgoing = self._outgoing(message, binary_type)
        self._farewell.said(_topic(outgoing))  # before it is sent: the answer may be quick
        try:
            self._call(self._running().send(outgoing, wait_s))
        except BaseException:
            self._farewell.answered()
            raise
        self._echo(outgoing)

    def _received(self, message: HiveMessage, size: int) -> None:
        super()._received(message, size)
        if _topic(message) in ENDS:
            self._dispatcher.put(lambda: [self._farewell.answered], may_drop=False)

    def emit_mycroft(self, message: Any, *, timeout: float | None = None) -> None:
        """Send an OVOS message; see `emit`."""
        self.emit(HiveMessage(HiveMessageType.BUS, message), timeout=timeout)

    def flush(self, timeout: float = 10.0) -> None:
        """Wait until the hub has read all that was sent. Raises NotConnected, also after ``timeout`` seconds."""
        self._call(self._running().ping(timeout))

    def wait_for_message(self, message_type: str, timeout: float = 3.0) -> Any:
        """Return the next HiveMessage of a type, or the next OVOS Message of one; None after ``timeout``
        seconds.
        """
        if hive_type(message_type):
            return HiveMessageWaiter(self, message_type).wait(timeout)
        found = HivePayloadWaiter(self, message_type).wait(timeout)
        return found.payload if found is not None else None

    def wait_for_payload(
        self, payload_type: str, message_type: str = HiveMessageType.BUS, timeout: float = 3.0
    ) -> HiveMessage | None:
        """Return the next HiveMessage of a type that carries a payload of a type; None after ``timeout``
        seconds.
        """
        return HivePayloadWaiter(self, payload_type, message_type).wait(timeout)

    def wait_for_mycroft(self, mycroft_type: str, timeout: float = 3.0) -> HiveMessage | None:
        """Return the next BUS message that carries an OVOS message of a type; None after ``timeout`` seconds."""
        return self.wait_for_payload(mycroft_type, HiveMessageType.BUS, timeout)

    def wait_for_response(
        self, message: Any, reply_type: str | None = None, timeout: float = 3.0
    ) -> HiveMessage | None:
        """Send a message and return its answer: of ``reply_type``, else of its own type or
        ``<type>.response``.
        """
        return self._ask(message, HiveMessageWaiter(self, "", answer_test(message, reply_type)), timeout)

    def wait_for_payload_response(
        self, message: Any, payload_type: str, reply_type: str | None = None, timeout: float = 3.0
    ) -> HiveMessage | None:
        """Send a message and return the next envelope of ``reply_type`` (default: its own) with such a
        payload.
        """
        own = message.msg_type if isinstance(message, HiveMessage) else HiveMessageType.BUS
        test = has_payload(payload_type, reply_type or own)
        return self._ask(message, HiveMessageWaiter(self, "", test), timeout)

    def _ask(self, message: Any, waiter: HiveMessageWaiter, timeout: float) -> HiveMessage | None:
        try:
            self.emit(message)
            return waiter.wait(timeout)
        finally:
            waiter.cancel()


def _topic(message: HiveMessage) -> str:
    """The type of the OVOS message inside a BUS envelope; empty for any other."""
    body = message.body
    is_bus = event_key(message.msg_type) == HiveMessageType.BUS.value and isinstance(body, dict)
    return str(body.get("type")) if is_bus else ""


async def _start(driver: Driver) -> None:
    driver.start()
