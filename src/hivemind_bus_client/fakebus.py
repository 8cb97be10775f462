"""A message bus inside one process: what a client hands its messages to when it is given no other bus."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

from .dispatch import Emitter, Handler, call_handler
from .message import Message, as_message


class FakeBus:
    """Calls handlers of OVOS messages, here and now, in the thread that emits."""

    def __init__(self, session_id: str | None = None) -> None:
        self.session_id = session_id or str(uuid4())
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
        return found + [partial(handler, message) for handler in self.emitter.take(message.msg_type)]

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
