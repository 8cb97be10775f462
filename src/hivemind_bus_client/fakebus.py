"""A message bus inside one process: what a client hands its messages to when it is given no other bus. And a client
inside one process, for programs' own tests.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

from .bus_context import Speaker, stamp
from .dispatch import Emitter, Handler, call_handler, event_key
from .message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message, as_message
from .topics import TWIN_OF
from .waiters import (
    HIVE_TYPES,
    AsyncHiveMessageWaiter,
    AsyncHivePayloadWaiter,
    answer_test,
    hive_type,
)


class FakeBus:
    """Calls handlers of OVOS messages, here and now, in the thread that emits.

    A message that has two names (see `topics`) comes to those who listen to either, once to each handler.
    """

    def __init__(self, session_id: str | None = None, session: Any = None) -> None:
        """``session`` is an object with a ``session_id``, which goes before the text given."""
        self.session_id: str = getattr(session, "session_id", None) or session_id or str(uuid4())
        self.connected_event = threading.Event()
        self.connected_event.set()
        self.started_running = True
        self.emitter = Emitter()

    def on(self, event: str, handler: Handler) -> None:
        """Call the handler with every message of a type; type ``message`` means all of them, as JSON text."""
        self.emitter.on(event, handler)

    def once(self, event: str, handler: Handler) -> None:
        """Call the handler with the next message of a type."""
        self.emitter.once(event, handler)

    def remove(self, event: str, handler: Handler) -> None:
        """Call the handler no more."""
        self.emitter.remove_listener(event, handler)

    def remove_all_listeners(self, event: str) -> None:
        """Call no handler of the type any more."""
        self.emitter.remove_all_listeners(event)

    def calls(self, message: Any) -> list[Callable[[], Any]]:
        """Return the calls that emitting this message means; handlers for one time are used up by it."""
        found: list[Callable[[], Any]] = []
        everything = self.emitter.take("message")
        if everything:
            text = message.serialize()
            found += [partial(handler, text) for handler in everything]
        named = self.emitter.take(message.msg_type)
        return found + [partial(handler, message) for handler in named] + self._twin_calls(message, named)

    def _twin_calls(self, message: Any, called: list[Handler]) -> list[Callable[[], Any]]:
        """The calls of those who know a message by its other name only."""
        twin = TWIN_OF.get(event_key(message.msg_type))
        handlers = [handler for handler in self.emitter.take(twin) if handler not in called] if twin else []
        if not twin or not handlers:
            return []
        renamed = type(message)(twin, message.data, message.context)
        return [partial(handler, renamed) for handler in handlers]

    def emit(self, message: Any) -> None:
        """Call the handlers of a message; a handler that fails is logged and concerns no other."""
        for call in self.calls(message):
            call_handler(call)

    def wait_for_message(self, message_type: str, timeout: float = 3.0) -> Any | None:
        """Wait for another thread to emit a message of a type; None after ``timeout`` seconds."""
        return self._wait(message_type, None, timeout)

    def wait_for_response(self, message: Any, reply_type: str | None = None, timeout: float = 3.0) -> Any | None:
        """Emit a message and wait for its answer, of type ``<type>.response`` unless another is named."""
        return self._wait(reply_type or f"{as_message(message).msg_type}.response", message, timeout)

    def _wait(self, message_type: str, message: Any | None, timeout: float) -> Any | None:
        found: list[Message] = []
        arrived = threading.Event()

        def note(received: Message) -> None:
            found.append(received)
            arrived.set()

        self.once(message_type, note)
        if message is not None:
            self.emit(message)
        arrived.wait(timeout)
        self.remove(message_type, note)
        return found[0] if found else None

    def run_in_thread(self) -> None:
        """Do nothing: there is nothing to run."""

    def run_forever(self) -> None:
        """Do nothing: there is nothing to run."""

    def close(self) -> None:
        """Forget all handlers."""
        self.emitter.remove_all_listeners()


class AsyncFakeHiveMessageBus:
    """Stands in for `AsyncHiveMessageBusClient` where no hub is wanted: what is emitted is kept in ``emitted`` and
    comes to the handlers, as if it had come in. It can be used before `connect` and after `close`.
    """

    def __init__(
        self,
        *,
        session_id: str = "fake-hivemind-session",
        site_id: str = "fake-site",
        useragent: str = "AsyncFakeHiveMessageBus",
        internal_bus: Any = None,
    ) -> None:
        self.session_id = session_id
        self.site_id = site_id
        self.useragent = useragent
        self.internal_bus = internal_bus if internal_bus is not None else FakeBus()
        self.emitter = Emitter()
        self.connected_event = asyncio.Event()
        self.handshake_event = asyncio.Event()
        self.emitted: list[HiveMessage] = []
        self.identity: Any = None
        self.protocol: Any = None
        self.crypto_key: bytes | None = None
        self.compress = False
        self.binarize = False

    async def connect(
        self, bus: Any = None, protocol: Any = None, site_id: str | None = None
    ) -> AsyncFakeHiveMessageBus:
        """Count as connected; a protocol is bound to ``bus``, or to the internal bus."""
        if site_id:
            self.site_id = site_id
        if protocol is not None:
            self.protocol = protocol
            protocol.bind(bus if bus is not None else self.internal_bus)
        self.connected_event.set()
        self.handshake_event.set()
        return self

    async def close(self) -> None:
        """Count as not connected."""
        self.connected_event.clear()
        self.handshake_event.clear()

    async def wait_for_handshake(self, timeout: float = 5.0, max_retries: int = 15) -> None:
        """Wait for `connect`, ``max_retries`` times ``timeout`` seconds. Raises RuntimeError after that."""
        try:
            await asyncio.wait_for(self.handshake_event.wait(), timeout * max_retries)
        except asyncio.TimeoutError:
            raise RuntimeError("timed out waiting for handshake") from None

    async def emit(self, message: Any, binary_type: HiveMindBinaryPayloadType | None = None) -> None:
        """Keep a HiveMessage, or a Message as a BUS one, and call its handlers; the context of a BUS message is filled
        in first, the caller's own.
        """
        outgoing = message if isinstance(message, HiveMessage) else HiveMessage(HiveMessageType.BUS, message)
        kind = event_key(outgoing.msg_type)
        if kind == HiveMessageType.BINARY.value and binary_type:
            outgoing = outgoing.forward(bin_type=binary_type)
        if kind == HiveMessageType.BUS.value:
            speaker = Speaker(self.useragent, self.session_id, self.site_id)
            context = outgoing.payload.context
            context.update(stamp(as_message(outgoing.payload), speaker, {}, time.time()).context)
        self.emitted.append(outgoing)
        if kind == HiveMessageType.BUS.value:
            self.internal_bus.emit(outgoing.payload)
        self.emitter.emit(kind, outgoing)

    async def emit_mycroft(self, message: Any) -> None:
        """Emit an OVOS message; see `emit`."""
        await self.emit(HiveMessage(HiveMessageType.BUS, message))

    async def emit_intercom(self, message: Any, pubkey: Any) -> None:
        """Emit a message as INTERCOM for a public key, unsealed: nobody else is here."""
        target = pubkey if isinstance(pubkey, str) else None
        await self.emit(HiveMessage(HiveMessageType.INTERCOM, message, target_pubkey=target))

    def on(self, event_name: str, func: Handler) -> Handler:
        """Call a function with messages of a type: an envelope's, or an OVOS message's."""
        self._listened(event_name).on(event_key(event_name), func)
        return func

    def once(self, event_name: str, func: Handler) -> Handler:
        """Call a function with the next message of a type."""
        self._listened(event_name).once(event_key(event_name), func)
        return func

    def remove(self, event_name: str, func: Handler) -> None:
        """Call a function no more."""
        if event_key(event_name) in HIVE_TYPES:
            self.emitter.remove_listener(event_name, func)
        else:
            self.internal_bus.remove(event_name, func)

    def on_mycroft(self, mycroft_msg_type: str, func: Handler) -> Handler:
        """Call a function with every OVOS message of a type."""
        self.internal_bus.on(mycroft_msg_type, func)
        return func

    def _listened(self, event_name: str) -> Any:
        return self.emitter if event_key(event_name) in HIVE_TYPES else self.internal_bus

    async def wait_for_message(self, message_type: str, timeout: float = 3.0) -> Any:
        """Return the next HiveMessage of a type, or the next OVOS Message of one; None after ``timeout`` seconds."""
        if hive_type(message_type):
            return await AsyncHiveMessageWaiter(self, message_type).wait(timeout)
        found = await AsyncHivePayloadWaiter(self, message_type).wait(timeout)
        return found.payload if found is not None else None

    async def wait_for_payload(
        self, payload_type: str, message_type: str = HiveMessageType.BUS, timeout: float = 3.0
    ) -> HiveMessage | None:
        """Return the next HiveMessage of a type that carries a payload of a type; None after ``timeout`` seconds."""
        return await AsyncHivePayloadWaiter(self, payload_type, message_type).wait(timeout)

    async def wait_for_mycroft(self, mycroft_msg_type: str, timeout: float = 3.0) -> HiveMessage | None:
        """Return the next BUS message that carries an OVOS message of a type; None after ``timeout`` seconds."""
        return await self.wait_for_payload(mycroft_msg_type, HiveMessageType.BUS, timeout)

    async def wait_for_response(
        self, message: Any, reply_type: str | None = None, timeout: float = 3.0
    ) -> HiveMessage | None:
        """Emit a message and return its answer: of ``reply_type``, else of its own type or ``<type>.response``."""
        own = message.msg_type if isinstance(message, HiveMessage) else HiveMessageType.BUS
        waiter = AsyncHiveMessageWaiter(self, hive_type(reply_type or "") or own, answer_test(message, reply_type))
        try:
            await self.emit(message)
            return await waiter.wait(timeout)
        finally:
            waiter.cancel()
