"""Who listens to a client: its own events go through an emitter, OVOS messages through its internal bus."""

from __future__ import annotations

import inspect
from functools import cached_property, partial
from typing import Any

from .dispatch import Dispatcher, Emitter, Handler, event_key
from .fakebus import FakeBus
from .waiters import HIVE_TYPES, Tapped

CONNECTION_EVENTS = frozenset({"open", "close", "error", "reconnecting", "auth_rejected"})


class Listening(Tapped):
    """The part of both clients that handlers are registered with."""

    _dispatcher: Dispatcher
    _noted: list[tuple[str, Handler]] | None = None

    @cached_property
    def emitter(self) -> Any:
        """Handlers of envelopes and of the connection's events; its event ``message`` is every envelope as JSON
        text.
        """
        return Emitter()

    @cached_property
    def internal_bus(self) -> Any:
        """The bus of OVOS messages sent and received."""
        return FakeBus()

    @cached_property
    def _coroutines(self) -> dict[Handler, Handler]:
        return {}

    def on(self, event: str, func: Handler) -> Handler:
        """Call a function on an event: an envelope's type, an event of the connection, or an OVOS message's
        type.

        Envelopes come as HiveMessage, OVOS messages as Message, and under the type ``message`` every OVOS message
        as JSON text. The connection's events are ``open``, ``close``, ``reconnecting``, ``error`` (exception)
        and ``auth_rejected`` (text).
        """
        if self._noted is not None:
            self._noted.append((event, func))
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

    def note_listeners(self, noted: list[tuple[str, Handler]] | None) -> None:
        """From now on add to a list what `on` is called with; None ends that."""
        self._noted = noted

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
