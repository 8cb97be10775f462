"""HiveMessageBusClient: a satellite for programs with threads.

It runs the same driver as the asyncio client, on an event loop in a thread of its own; handlers run in a
second thread, one after the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from functools import cached_property
from itertools import repeat
from typing import Any, TypeVar

from .base_client import WEBSOCKET_CONNECT_TIMEOUT, ClientBase, handshake_budget, refuse, refused, within
from .collecting import HANDLING_S, Collection, collecting
from .delivery import BinaryDataCallbacks
from .dispatch import STOP_TIMEOUT_S, ThreadDispatcher, event_key
from .driver import Driver, HandshakeTimedOut
from .exceptions import NotConnected
from .farewell import ENDS, Farewell
from .loop_thread import LoopThread
from .message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType
from .sealing import sealed_for
from .waiters import HiveMessageWaiter, HivePayloadWaiter, answer_test, has_payload, hive_type

__all__ = [
    "WEBSOCKET_CONNECT_TIMEOUT",
    "WORKER_JOIN_TIMEOUT",
    "BinaryDataCallbacks",
    "HiveMessageBusClient",
    "HiveMessageWaiter",
    "HivePayloadWaiter",
]

WORKER_JOIN_TIMEOUT = STOP_TIMEOUT_S

T = TypeVar("T")


class HiveMessageBusClient(ClientBase):
    """A satellite whose methods may be called from any thread. See `ClientBase` for the constructor.

    Handlers run in one thread, in the order in which things happen; everything, waiting too, may be called in
    them. A handler that fails is logged; a slow one delays other handlers, never the connection.

    A program that ends while the answer to its last utterance is awaited waits for it, up to 5 s; `close` ends that.
    """

    @cached_property
    def connected_event(self) -> threading.Event:
        """Set while the hub has admitted this satellite and the connection stands."""
        return threading.Event()

    @cached_property
    def handshake_event(self) -> threading.Event:
        """Set while a session is up."""
        return threading.Event()

    @cached_property
    def _collecting(self) -> dict[tuple[str, Callable[..., Any]], Callable[..., Any]]:
        return {}

    def _equipment(self) -> ThreadDispatcher:
        self._handlers = ThreadDispatcher()
        self._lifecycle = threading.RLock()
        self._loop: LoopThread | None = None
        self._farewell = Farewell()
        return self._handlers

    def __enter__(self) -> HiveMessageBusClient:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run_in_thread(self) -> threading.Thread:
        """Begin to connect and return the thread that does; `connect` also waits for it."""
        with self._lifecycle:
            if self._binding is None:
                self._bind()
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
        if self._driver is None and (self.protocol or self._latched):
            self._wait_by_socket(timeout, max_retries)
        else:
            self._call(self._running().settled(None if max_retries is None else timeout * max_retries))

    def _wait_by_socket(self, timeout: float, max_retries: int | None) -> None:
        """Wait for the session on the socket that the program runs, and ask for it again and again."""
        for _ in repeat(None) if max_retries is None else range(max_retries):
            if self._is_agreed(timeout):
                return
            if self.connected_event.is_set():
                self.protocol.start_handshake()
        if not self._is_agreed(0):
            raise HandshakeTimedOut("timed out waiting for handshake")

    def _is_agreed(self, timeout: float) -> bool:
        """Tell whether there is a session, at the latest in ``timeout`` seconds. Raises what `latch_refusal` noted."""
        agreed = self._latched is None and self.handshake_event.wait(timeout)
        if self._latched is not None:
            raise self._latched
        return agreed

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
        if self._by_socket:
            self._emit_by_socket(message, binary_type)
            return
        wait_s = self._wait_budget(timeout)
        outgoing = self._outgoing(message, binary_type)
        self._farewell.said(_topic(outgoing))  # before it is sent: the answer may be quick
        try:
            for each in self._in_order(outgoing):
                self._call(self._running().send(each, wait_s))
        except BaseException:
            self._farewell.answered()
            self._not_sent(outgoing)
            raise
        self._echo(outgoing)

    def _received(self, message: HiveMessage, size: int) -> None:
        super()._received(message, size)
        if _topic(message) in ENDS:
            self._dispatcher.put(lambda: [self._farewell.answered], may_drop=False)

    def emit_mycroft(self, message: Any, *, timeout: float | None = None) -> None:
        """Send an OVOS message; see `emit`."""
        self.emit(HiveMessage(HiveMessageType.BUS, message), **within(timeout))

    def emit_intercom(self, message: Any, pubkey: Any, *, timeout: float | None = None) -> None:
        """Send a message that only the owner of an RSA key (PEM text) can read, signed by this node; see `emit`."""
        self.emit(sealed_for(pubkey, message, self.identity), **within(timeout))

    def latch_refusal(self, reason: str) -> None:
        """End the connection for good, as if the hub had refused this satellite for a reason."""
        error = refused(reason)
        if self._driver is None:
            self._latch(error)
            return
        self._call(refuse(self._driver, error))
        self._changed("auth_rejected", (str(error.refusal),))

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

    def collect_responses(
        self,
        message: Any,
        min_timeout: float = 0.2,
        max_timeout: float = 3.0,
        direct_return_func: Callable[[Any], bool] | None = None,
    ) -> list[Any]:
        """Send an OVOS message and return the answers of all who use `on_collect` for it.

        It is over after ``min_timeout`` seconds if nobody works on an answer by then, after ``max_timeout`` in any
        case, and at once when ``direct_return_func`` is true for an answer.
        """
        asked = Collection(message, direct_return_func)
        handling, response = f"{asked.question.msg_type}.handling", f"{asked.question.msg_type}.response"
        self.on_mycroft(handling, asked.note_handling)
        self.on_mycroft(response, asked.note_response)
        try:
            self.emit(asked.question)
            return asked.wait(min_timeout, max_timeout)
        finally:
            self.remove(handling, asked.note_handling)
            self.remove(response, asked.note_response)

    def on_collect(self, event_name: str, func: Callable[[Any], Any], timeout: float = HANDLING_S) -> None:
        """Call a function with every question of a type, to which it emits ``message.success(data)`` within
        ``timeout`` seconds; see `collect_responses`.
        """
        handler = self._collecting.setdefault((event_key(event_name), func), collecting(self.emit, func, timeout))
        self.on_mycroft(event_name, handler)

    def remove(self, event: str, func: Callable[..., Any]) -> None:
        """Call a function no more, registered by `on`, `once` or `on_collect`."""
        super().remove(event, self._collecting.pop((event_key(event), func), func))

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
