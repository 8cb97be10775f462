"""Who listens to a client: its own events go through an emitter, OVOS messages through its internal bus."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from .dispatch import Dispatcher, Emitter, Handler, event_key
from .fakebus import FakeBus
from .waiters import HIVE_TYPES, Tapped

CONNECTION_EVENTS = frozenset({"open", "close", "error", "reconnecting", "auth_rejected", "message"})


class Listening(Tapped):
    """The part of both clients that handlers are registered with."""

    _dispatcher: Dispatcher

    def __init__(self, internal_bus: Any) -> None:
        super().__init__()
        self.emitter = Emitter()
        self.internal_bus = internal_bus
        self._coroutines: dict[Handler, Handler] = {}

    def on(self, event: str, func: Handler) -> Handler:
        """Call a function on an event: an envelope's type, an event of the connection, or an OVOS message's
        type.

        Envelopes come as HiveMessage, OVOS messages as Message. The connection's events are ``open``,
        ``close``, ``reconnecting``, ``error`` (exception), ``auth_rejected`` (text) and ``message`` (an
        envelope as JSON text).
        """
        if self._is_hive_event(event):
            self.emitter.on(event, func)
        else:
            self.on_mycroft(event, func)
        return func

    def once(self, event: str, func: Handler) -> Handler:
        """Call a function the next time an event of `on` happens."""
        if self._is_hive_event(event):
            self.emitter.once(event, func)
        else:
            self.internal_bus.once(event_key(event), self._for_bus(func))
        return func

    def remove(self, event: str, func: Handler) -> None:
        """Call a function no more."""
        if self._is_hive_event(event):
            self.emitter.remove_listener(event, func)
        else:
            self.internal_bus.remove(event_key(event), self._for_bus(func))

    def on_mycroft(self, mycroft_msg_type: str, func: Handler) -> Handler:
        """Call a function with every OVOS message of a type, sent or received."""
        self.internal_bus.on(event_key(mycroft_msg_type), self._for_bus(func))
        return func

    def _for_bus(self, func: Handler) -> Handler:
        """What to register on the internal bus: buses other than our own know nothing of coroutine functions."""
        if isinstance(self.internal_bus, FakeBus) or not inspect.iscoroutinefunction(func):
            return func
        return self._coroutines.setdefault(func, partial(self._later, func))

    def _later(self, func: Handler, message: Any) -> None:
        self._dispatcher.put(lambda: [partial(func, message)])

    def remove_all_listeners(self, event_name: str) -> None:
        """Call no function on an event any more."""
        if self._is_hive_event(event_name):
            self.emitter.remove_all_listeners(event_name)
        else:
            self.internal_bus.remove_all_listeners(event_key(event_name))

    @staticmethod
    def _is_hive_event(event: str) -> bool:
        key = event_key(event)
        return key in HIVE_TYPES or key in CONNECTION_EVENTS
