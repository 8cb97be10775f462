"""AsyncHiveMessageBusClient: a satellite for asyncio programs."""

from __future__ import annotations

import asyncio
import inspect
from functools import cached_property
from typing import Any

from .base_client import ClientBase, handshake_budget, refuse, refused, within
from .coroutines import running_loop
from .delivery import BinaryDataCallbacks
from .dispatch import STOP_TIMEOUT_S, TaskDispatcher
from .driver import Driver
from .exceptions import NotConnected
from .message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message
from .sealing import sealed_for
from .waiters import AsyncHiveMessageWaiter, AsyncHivePayloadWaiter, answer_test, has_payload, hive_type

__all__ = ["AsyncHiveMessageBusClient", "AsyncHiveMessageWaiter", "AsyncHivePayloadWaiter", "BinaryDataCallbacks"]


class AsyncHiveMessageBusClient(ClientBase):
    """A satellite in one event loop, which it is made and used in. See `ClientBase` for the constructor.

    Handlers run in one task, in the order in which things happen; they may be coroutine functions. A handler
    that fails is logged; a slow one delays other handlers, never the connection.
    """

    DEFAULT_USERAGENT = "AsyncHiveMessageBusClientV0.0.1"
    _loop: asyncio.AbstractEventLoop | None = None

    @cached_property
    def connected_event(self) -> asyncio.Event:
        """Set while the hub has admitted this satellite and the connection stands."""
        return asyncio.Event()

    @cached_property
    def handshake_event(self) -> asyncio.Event:
        """Set while a session is up."""
        return asyncio.Event()

    def _equipment(self) -> TaskDispatcher:
        self._handlers = TaskDispatcher()
        return self._handlers

    async def __aenter__(self) -> AsyncHiveMessageBusClient:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def start(self) -> None:
        """Begin to connect and return; `connect` also waits for it."""
        self._loop = asyncio.get_running_loop()
        if self._binding is None:
            self._bind()
        if self._driver is None or not self._driver.running:
            self._driver = self._new_driver()
        self._handlers.start()
        self._driver.start()
        self.started_running = True

    async def connect(
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
        self.start()
        try:
            await self._running().settled(handshake_budget(handshake_max_retries, timeout))
        except BaseException:
            await self.close()
            raise

    def _running(self) -> Driver:
        if self._driver is None:
            raise NotConnected("the client was not started")
        return self._driver

    async def wait_for_handshake(self, timeout: float = 5, max_retries: int | None = None) -> None:
        """Wait for the hub's admission: for ever, or ``max_retries`` times ``timeout`` seconds. Raises as
        `connect`.
        """
        await self._running().settled(None if max_retries is None else timeout * max_retries)

    async def run_forever(self) -> None:
        """Return when the client is closed; raise if the hub refuses it for good."""
        self.start()
        await self._running().ended()

    async def close(self) -> None:
        """End the connection for good, after the handlers of what has come in so far. It can be connected
        anew.
        """
        if self._driver is not None:
            await self._driver.close()
        self.started_running = False
        await self._handlers.stop(STOP_TIMEOUT_S)

    async def close_connection(self) -> None:
        """End the connection in use; a new one is made at once."""
        if self._driver is not None:
            await self._driver.drop()

    async def emit(
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
            sent = self._emit_by_socket(message, binary_type)
            if inspect.isawaitable(sent):
                await sent
            return
        wait_s = self._wait_budget(timeout)
        outgoing = self._outgoing(message, binary_type)
        try:
            for each in self._in_order(outgoing):
                await self._running().send(each, wait_s)
        except BaseException:
            self._not_sent(outgoing)
            raise
        self._echo(outgoing)

    async def emit_mycroft(self, message: Any, *, timeout: float | None = None) -> None:
        """Send an OVOS message; see `emit`."""
        await self.emit(HiveMessage(HiveMessageType.BUS, message), **within(timeout))

    async def emit_intercom(self, message: Any, pubkey: Any, *, timeout: float | None = None) -> None:
        """Send a message that only the owner of an RSA key (PEM text) can read, signed by this node; see `emit`."""
        await self.emit(await asyncio.to_thread(sealed_for, pubkey, message, self.identity), **within(timeout))

    def deliver(self, message: Message) -> None:
        """Bring an OVOS message onto the local buses (for the protocol, whose timers are threads)."""
        if self._loop is None or self._loop is running_loop():
            super().deliver(message)
        else:
            self._loop.call_soon_threadsafe(super().deliver, message)

    def latch_refusal(self, reason: str) -> None:
        """End the connection for good, as if the hub had refused this satellite for a reason."""
        error = refused(reason)
        if self._driver is None:
            self._latch(error)
            return
        self._ending = asyncio.ensure_future(refuse(self._driver, error))
        self._changed("auth_rejected", (str(error.refusal),))

    async def flush(self, timeout: float = 10.0) -> None:
        """Wait until the hub has read all that was sent. Raises NotConnected, also after ``timeout`` seconds."""
        await self._running().ping(timeout)

    async def wait_for_message(self, message_type: str, timeout: float = 3.0) -> Any:
        """Return the next HiveMessage of a type, or the next OVOS Message of one; None after ``timeout``
        seconds.
        """
        if hive_type(message_type):
            return await AsyncHiveMessageWaiter(self, message_type).wait(timeout)
        found = await AsyncHivePayloadWaiter(self, message_type).wait(timeout)
        return found.payload if found is not None else None

    async def wait_for_payload(
        self, payload_type: str, message_type: str = HiveMessageType.BUS, timeout: float = 3.0
    ) -> HiveMessage | None:
        """Return the next HiveMessage of a type that carries a payload of a type; None after ``timeout``
        seconds.
        """
        return await AsyncHivePayloadWaiter(self, payload_type, message_type).wait(timeout)

    async def wait_for_mycroft(self, mycroft_type: str, timeout: float = 3.0) -> HiveMessage | None:
        """Return the next BUS message that carries an OVOS message of a type; None after ``timeout`` seconds."""
        return await self.wait_for_payload(mycroft_type, HiveMessageType.BUS, timeout)

    async def wait_for_response(
        self, message: Any, reply_type: str | None = None, timeout: float = 3.0
    ) -> HiveMessage | None:
        """Send a message and return its answer: of ``reply_type``, else of its own type or
        ``<type>.response``.
        """
        test = answer_test(message, reply_type)
        return await self._ask(message, AsyncHiveMessageWaiter(self, "", test), timeout)

    async def wait_for_payload_response(
        self, message: Any, payload_type: str, reply_type: str | None = None, timeout: float = 3.0
    ) -> HiveMessage | None:
        """Send a message and return the next envelope of ``reply_type`` (default: its own) with such a
        payload.
        """
        own = message.msg_type if isinstance(message, HiveMessage) else HiveMessageType.BUS
        test = has_payload(payload_type, reply_type or own)
        return await self._ask(message, AsyncHiveMessageWaiter(self, "", test), timeout)

    async def _ask(self, message: Any, waiter: AsyncHiveMessageWaiter, timeout: float) -> HiveMessage | None:
        try:
            await self.emit(message)
            return await waiter.wait(timeout)
        finally:
            waiter.cancel()
