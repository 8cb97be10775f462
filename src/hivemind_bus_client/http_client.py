"""HiveMindHTTPClient: a satellite for networks that let nothing but HTTP through."""

from __future__ import annotations

import atexit
import threading
from collections import deque
from contextlib import suppress
from functools import cached_property
from typing import Any

from .base_client import handshake_budget
from .client import HiveMessageBusClient
from .delivery import BinaryDataCallbacks
from .dispatch import STOP_TIMEOUT_S, Handler, event_key
from .driver import Driver, NotStarted
from .exceptions import NotConnected
from .message import HiveMessage, HiveMessageType
from .wire import Polling

__all__ = ["DEFAULT_HANDSHAKE_MAX_RETRIES", "HTTP_TIMEOUT", "BinaryDataCallbacks", "HiveMindHTTPClient"]

HTTP_TIMEOUT = 30
"""How many seconds one request may take."""
DEFAULT_HANDSHAKE_MAX_RETRIES = 5
MAX_UNREAD, MAX_UNREAD_BYTES = 256, 4 << 20
"""What is kept for `get_messages`: so many of the newest messages, as long as they are no longer than that."""


class Flag(threading.Event):
    """An event that is true while it is set."""

    def __bool__(self) -> bool:
        return self.is_set()


class NotConnectedYet(NotStarted, ConnectionAbortedError):
    """The client was used before `connect`."""


class Unread:
    """The newest messages nobody has asked for yet; added on one thread, taken on any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[tuple[HiveMessage, int]] = deque()
        self._size = 0

    def add(self, message: HiveMessage, size: int) -> None:
        """Keep a message; the oldest ones go where there are too many."""
        with self._lock:
            self._kept.append((message, size))
            self._size += size
            while self._kept and (len(self._kept) > MAX_UNREAD or self._size > MAX_UNREAD_BYTES):
                self._size -= self._kept.popleft()[1]

    def take(self, *, binary: bool) -> list[HiveMessage]:
        """Return and forget those that hold binary data, or those that do not."""
        with self._lock:
            kept, self._kept, self._size = self._kept, deque(), 0
            taken: list[HiveMessage] = []
            for message, size in kept:
                if is_binary(message) == binary:
                    taken.append(message)
                else:
                    self._kept.append((message, size))
                    self._size += size
            return taken


class HiveMindHTTPClient(HiveMessageBusClient):
    """A `HiveMessageBusClient` that speaks HTTP with the hub (docs/protocol.md 6); needs the extra ``http``.

    ``http_timeout`` (seconds) is for one request. A hub that can holds the question for new messages until there is
    one; any other is asked every ``poll_interval`` seconds, and more often right after something was said. The host
    may be written with http, https, ws, wss or none of them; the port is 5679 unless said otherwise. All else is as
    there, but that `connect` gives up after ``DEFAULT_HANDSHAKE_MAX_RETRIES`` times 5 s unless told otherwise.

    It may be used as the thread that the released class of this name is.
    """

    DEFAULT_USERAGENT = "HiveMindHTTPClientV1.0"
    OVER_HTTP = True

    def __init__(
        self, *args: Any, http_timeout: float = HTTP_TIMEOUT, poll_interval: float = 1.0, **options: Any
    ) -> None:
        self.http_timeout = http_timeout
        self.polling = Polling(interval_s=poll_interval, timeout_s=http_timeout)
        self.stopped = Flag()
        self._unread = Unread()
        super().__init__(*args, **{"websocket_connect_timeout": http_timeout, **options})

    @cached_property
    def connected_event(self) -> Flag:
        """Set while the hub has admitted this satellite and the session stands."""
        return Flag()

    @property
    def connected(self) -> Any:
        """The same event; it is true while it is set."""
        return self.connected_event

    def _new_driver(self) -> Driver:
        from . import http_wire  # noqa: F401 - tells the caller, not the log, that a package is missing

        return super()._new_driver()

    def _unsendable(self, message: HiveMessage | None = None) -> NotConnected:
        if self.started_running:
            return super()._unsendable(message)
        return NotConnectedYet("self.connect() needs to be called first!")

    def connect(  # type: ignore[override]
        self,
        bus: Any = None,
        protocol: Any = None,
        site_id: str | None = None,
        handshake_max_retries: int | None = None,
        *,
        timeout: float | None = None,
    ) -> dict[str, str]:
        """Connect and wait until the hub has admitted this satellite; see `HiveMessageBusClient.connect`."""
        tries = DEFAULT_HANDSHAKE_MAX_RETRIES if handshake_max_retries is None else handshake_max_retries
        limit_s = handshake_budget(tries, None) if timeout is None else timeout
        super().connect(bus, protocol, site_id, timeout=limit_s)
        return {"status": "Connected"}

    def run_in_thread(self) -> threading.Thread:
        """Begin to connect and return the thread that does; `connect` also waits for it."""
        self.stopped.clear()
        atexit.unregister(self._take_leave)
        atexit.register(self._take_leave)  # before the base's, which waits for an answer and has to be called earlier
        return super().run_in_thread()

    def close(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """End the session for good, after the handlers of what has come in so far. It can be connected anew."""
        atexit.unregister(self._take_leave)
        super().close(timeout)
        self.stopped.set()

    def _take_leave(self) -> None:
        """End the session of a program that ends without `close`: the hub would keep it for minutes."""
        if self.connected:
            with suppress(RuntimeError, NotConnected):
                self._call(self._running().close())

    def disconnect(self) -> dict[str, str]:
        """End the session, as `close` does, and say what came of it."""
        was_running = self.started_running
        self.close()
        return {"status": "Disconnected"} if was_running else {"error": "Already Disconnected"}

    def shutdown(self) -> None:
        """End the session for good."""
        self.close()

    def remove_mycroft(self, mycroft_msg_type: str, func: Handler) -> None:
        """Call a function no more, registered by `on_mycroft`."""
        self.internal_bus.remove(event_key(mycroft_msg_type), self._for_bus(func))

    # --- what the hub has sent, for programs without handlers --------------------------------------------------

    def get_messages(self) -> list[str]:
        """Return the envelopes, as JSON text, that came since the last call; handlers have had them too.

        The newest 256 are kept. Raises NotConnectedYet before `connect`.
        """
        return [message.serialize() for message in self._taken(binary=False)]

    def get_binary_messages(self) -> list[bytes]:
        """Return the binary messages, as `serialization.decode_bitstring` reads them; see `get_messages`."""
        from .serialization import encode_frame

        return [encode_frame(message, compressed=False) for message in self._taken(binary=True)]

    def _taken(self, *, binary: bool) -> list[HiveMessage]:
        if self._driver is None:
            raise self._unsendable()
        return self._unread.take(binary=binary)

    def _received(self, message: HiveMessage, size: int) -> None:
        self._unread.add(message, size)
        super()._received(message, size)

    # --- as a thread -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect."""
        self.run_in_thread()

    def run(self) -> None:
        """Connect, if that was not done, and return when the client is closed."""
        self.run_forever()

    def is_alive(self) -> bool:
        """Tell whether the client is connected or tries to be."""
        return self._driver is not None and self._driver.running

    def join(self, timeout: float | None = None) -> None:
        """Wait until the client is closed, for ``timeout`` seconds at most."""
        if self.started_running:
            self.stopped.wait(timeout)


def is_binary(message: HiveMessage) -> bool:
    """Tell whether a message holds binary data."""
    return event_key(message.msg_type) == HiveMessageType.BINARY.value
