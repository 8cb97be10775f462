"""Decorators that make a function the handler of messages of a kind.

Each takes the type of what an envelope carries and the client: ``@on_mycroft_message("speak", client)``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .bus_message import is_bus_message
from .coroutines import settle
from .dispatch import Handler
from .message import HiveMessage, HiveMessageType

LOG = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]


class HiveMessageListener:
    """Calls its handlers with every message of a type, from `listen` until `shutdown`."""

    def __init__(self, bus: Any, message_type: HiveMessageType | str = HiveMessageType.THIRDPRTY) -> None:
        self.bus = bus
        self.message_type = message_type
        self._handlers: list[Handler] = []
        self._ended = False

    def listen(self) -> HiveMessageListener:
        """Begin; returns the listener."""
        self._ended = False
        self.bus.once(self.message_type, self._handler)
        return self

    def add_handler(self, handler: Handler) -> None:
        """Call this handler, too."""
        self._handlers.append(handler)

    def clear_handlers(self) -> None:
        """Call no handler any more."""
        self._handlers.clear()

    def shutdown(self) -> None:
        """End."""
        self._ended = True
        self.bus.remove(self.message_type, self._handler)

    def _dispatch(self, found: Any) -> None:
        for handler in list(self._handlers):
            try:
                settle(handler(found))
            except Exception:
                LOG.exception("a handler failed")

    def _handler(self, message: HiveMessage) -> None:
        try:
            self._handle(message)
        finally:
            if not self._ended:
                self.bus.once(self.message_type, self._handler)

    def _handle(self, message: HiveMessage) -> None:
        self._dispatch(message)


class HivePayloadListener(HiveMessageListener):
    """Calls its handlers with what messages of a type carry, when that is of type ``payload_type``.

    That is the type of the envelope or of the OVOS message inside, or of the OVOS message at the very bottom, which is
    what handlers get then. Messages that carry plain data have no such type: handlers get the data of each.
    """

    def __init__(self, payload_type: HiveMessageType | str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.payload_type = payload_type

    def _handle(self, message: HiveMessage) -> None:
        found = carried(message, self.payload_type)
        if found is not None:
            self._dispatch(found)


def carried(message: HiveMessage, payload_type: str) -> Any:
    """Return what a `HivePayloadListener` for a type finds in a message; None if that is nothing."""
    payload = message.payload
    if isinstance(payload, Mapping) or payload.msg_type == payload_type:
        return payload
    while isinstance(payload, HiveMessage):
        payload = payload.payload
    return payload if is_bus_message(payload) and payload.msg_type == payload_type else None


def on_hive_message(message_type: HiveMessageType | str, bus: Any) -> Decorator[F]:
    """Make a function the handler of a type of message; it gets the HiveMessage."""

    def decorate(func: F) -> F:
        bus.on(message_type, func)
        return func

    return decorate


def _listening(listener: HiveMessageListener) -> Decorator[F]:
    def decorate(func: F) -> F:
        listener.add_handler(func)
        listener.listen()
        func.shutdown = listener.shutdown  # type: ignore[attr-defined]
        return func

    return decorate


def on_payload(message_type: HiveMessageType | str, payload_type: str, bus: Any) -> Decorator[F]:
    """Make a function the handler of messages of a type that carry a payload of a type; it gets the payload.

    ``func.shutdown()`` ends it.
    """
    return _listening(HivePayloadListener(payload_type, bus=bus, message_type=message_type))


def on_third_party(bus: Any) -> Decorator[F]:
    """Make a function the handler of messages of unknown kind; it gets the HiveMessage."""
    return _listening(HiveMessageListener(bus, HiveMessageType.THIRDPRTY))


def _payload_decorator(name: str, message_type: HiveMessageType) -> Callable[[str, Any], Any]:
    def decorator(payload_type: str, bus: Any) -> Any:
        return on_payload(message_type, payload_type, bus)

    decorator.__name__ = decorator.__qualname__ = name
    decorator.__doc__ = f"As `on_payload`, for messages of type {message_type.name}."
    return decorator


on_mycroft_message = _payload_decorator("on_mycroft_message", HiveMessageType.BUS)
on_shared_bus = _payload_decorator("on_shared_bus", HiveMessageType.SHARED_BUS)
on_broadcast = _payload_decorator("on_broadcast", HiveMessageType.BROADCAST)
on_ping = _payload_decorator("on_ping", HiveMessageType.PING)
on_propagate = _payload_decorator("on_propagate", HiveMessageType.PROPAGATE)
on_escalate = _payload_decorator("on_escalate", HiveMessageType.ESCALATE)
on_handshake = _payload_decorator("on_handshake", HiveMessageType.HANDSHAKE)
on_hello = _payload_decorator("on_hello", HiveMessageType.HELLO)
on_query = _payload_decorator("on_query", HiveMessageType.QUERY)
on_cascade = _payload_decorator("on_cascade", HiveMessageType.CASCADE)
on_rendezvous = _payload_decorator("on_rendezvous", HiveMessageType.RENDEZVOUS)
