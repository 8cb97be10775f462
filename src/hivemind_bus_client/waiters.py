"""Waiting for one message. What a waiter looks for is tested where messages come in, before any handler's
turn, so that waiting inside a handler works.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from .dispatch import event_key
from .message import HiveMessage, HiveMessageType, as_message
from .topics import same_topic

Tap = Callable[[HiveMessage], None]
Test = Callable[[HiveMessage], bool]

HIVE_TYPES = frozenset(member.value for member in HiveMessageType)


class Tapped:
    """Something that messages come into and that lets taps see each of them at once."""

    _taps: tuple[Tap, ...] = ()
    _taps_lock = threading.Lock()

    def add_tap(self, tap: Tap) -> None:
        """Let the tap see every message from now on; it must return at once and not raise."""
        with self._taps_lock:
            self._taps = (*self._taps, tap)

    def remove_tap(self, tap: Tap) -> None:
        """Let the tap see no more."""
        with self._taps_lock:
            self._taps = tuple(known for known in self._taps if known != tap)

    def show_taps(self, message: HiveMessage) -> None:
        """Let every tap see a message."""
        for tap in self._taps:
            tap(message)


def is_type(message_type: str) -> Test:
    """Match envelopes of a type."""
    key = event_key(message_type)
    return lambda message: event_key(message.msg_type) == key


def payload_type(message: HiveMessage) -> str | None:
    """Return the type of what an envelope carries: of the OVOS message or of the inner envelope."""
    if not isinstance(message, HiveMessage):  # something else with a payload, on a bus of the caller's own
        found = getattr(message.payload, "msg_type", None)
    elif isinstance(message.body, dict):
        found = message.body.get("type") if is_bus(message) else message.body.get("msg_type")
    else:
        return None
    return event_key(found) if isinstance(found, str) else None


def is_bus(message: HiveMessage) -> bool:
    """Tell whether an envelope carries an OVOS message itself."""
    return event_key(message.msg_type) in (HiveMessageType.BUS.value, HiveMessageType.SHARED_BUS.value)


def anything(_: HiveMessage) -> bool:
    """Match every envelope."""
    return True


def carries(wanted: str) -> Test:
    """Match envelopes by the type of what they carry, under either of its names."""
    inner = event_key(wanted)

    def test(message: HiveMessage) -> bool:
        found = payload_type(message)
        return found is not None and same_topic(found, inner)

    return test


def has_payload(wanted: str, message_type: str) -> Test:
    """Match envelopes of a type by the type of what they carry, under either of its names."""
    outer, inner = is_type(message_type), carries(wanted)
    return lambda message: outer(message) and inner(message)


def any_of(*tests: Test) -> Test:
    """Match what one of the tests matches."""
    return lambda message: any(test(message) for test in tests)


def answer_test(message: Any, reply_type: str | None) -> Test:
    """Match what answers a message: the type named; else its own type or, for an OVOS message,
    ``<type>.response``.
    """
    if isinstance(message, HiveMessage):
        if not is_bus(message) or (reply_type and hive_type(reply_type)):
            return is_type(reply_type or message.msg_type)
        message = message.payload
    asked = as_message(message).msg_type
    types = (reply_type,) if reply_type else (asked, f"{asked}.response")
    return any_of(*(has_payload(answer, HiveMessageType.BUS) for answer in types))


def hive_type(message_type: str) -> str | None:
    """Return the envelope type that a name means, or None if it is an OVOS message's."""
    key = event_key(message_type)
    return key if key in HIVE_TYPES else None


class _Waiter(ABC):
    """Sees messages from the moment it is made.

    `bus` is a client, or any bus with ``on`` and ``remove``, which is trusted to bring the right envelopes.
    """

    def __init__(self, bus: Any, message_type: str, test: Test = anything) -> None:
        self.bus = bus
        self.msg_type = message_type
        self.received_msg: HiveMessage | None = None
        self._test = test
        if isinstance(bus, Tapped):
            outer = is_type(message_type)
            if message_type:
                self._test = lambda message: outer(message) and test(message)
            bus.add_tap(self._handler)
        else:
            bus.on(message_type, self._handler)

    def _handler(self, message: HiveMessage) -> None:
        if self.received_msg is None and self._test(message):
            self.received_msg = message
            self._resolve()

    @abstractmethod
    def _resolve(self) -> None:
        """Wake whoever waits."""

    def cancel(self) -> None:
        """Stop looking; the waiter is used up."""
        if isinstance(self.bus, Tapped):
            self.bus.remove_tap(self._handler)
        else:
            self.bus.remove(self.msg_type, self._handler)


class _ThreadWaiter(_Waiter):
    def __init__(self, bus: Any, message_type: str, test: Test = anything) -> None:
        self.response_event = threading.Event()
        super().__init__(bus, message_type, test)

    def _resolve(self) -> None:
        self.response_event.set()

    def wait(self, timeout: float | None = 3.0) -> HiveMessage | None:
        """Return the message, or None after ``timeout`` seconds; the waiter is used up."""
        try:
            self.response_event.wait(timeout)
        finally:
            self.cancel()
        return self.received_msg


class _TaskWaiter(_Waiter):
    def __init__(self, bus: Any, message_type: str, test: Test = anything) -> None:
        self.response_event = asyncio.Event()
        super().__init__(bus, message_type, test)

    def _resolve(self) -> None:
        self.response_event.set()

    async def wait(self, timeout: float | None = 3.0) -> HiveMessage | None:
        """Return the message, or None after ``timeout`` seconds; the waiter is used up."""
        try:
            await asyncio.wait_for(self.response_event.wait(), timeout)
        except asyncio.TimeoutError:
            pass
        finally:
            self.cancel()
        return self.received_msg


class HiveMessageWaiter(_ThreadWaiter):
    """Waits in a thread for the next envelope of a type that passes ``test``; type ``""`` is any."""


class HivePayloadWaiter(_ThreadWaiter):
    """Waits in a thread for the next envelope of a type that carries a payload of a type."""

    def __init__(self, bus: Any, payload_type: str, message_type: str = HiveMessageType.BUS) -> None:
        self.payload_type = payload_type
        super().__init__(bus, message_type, carries(payload_type))


class AsyncHiveMessageWaiter(_TaskWaiter):
    """Waits in a task for the next envelope of a type that passes ``test``; type ``""`` is any."""


class AsyncHivePayloadWaiter(_TaskWaiter):
    """Waits in a task for the next envelope of a type that carries a payload of a type."""

    def __init__(self, bus: Any, payload_type: str, message_type: str = HiveMessageType.BUS) -> None:
        self.payload_type = payload_type
        super().__init__(bus, message_type, carries(payload_type))
