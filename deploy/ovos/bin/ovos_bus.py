"""One connection to the message bus of OpenVoiceOS, at the address that mycroft.conf names.

A connection that is closed while the bus passes a message on costs the one who sent that message its own connection. So
whoever watches the bus stays on it, and health checks do not go there.
"""

import sys
import time
from collections.abc import Callable
from json import dumps, loads

from ovos_config import Configuration
from websocket import WebSocketTimeoutException, create_connection

TIMEOUT_S = 8
POLL_S = 2


def address() -> tuple[str, int, str]:
    """Return host, port and path."""
    named = Configuration().get("websocket") or {}
    return named.get("host", "127.0.0.1"), named.get("port", 8181), named.get("route", "/core")


class Bus:
    """Connected once it is made. Raises OSError and WebSocketException."""

    def __init__(self) -> None:
        host, port, path = address()
        self._socket = create_connection(f"ws://{host}:{port}{path}", timeout=TIMEOUT_S)
        self._socket.settimeout(1)

    def send(self, msg_type: str) -> None:
        """Say something that has no data."""
        self._socket.send(dumps({"type": msg_type, "data": {}, "context": {}}))

    def next(self) -> dict:
        """Return the next message; empty when there was none for a second."""
        try:
            return loads(self._socket.recv())
        except WebSocketTimeoutException:
            return {}

    def let_pass(self, seconds: float) -> None:
        """Read what comes for a while: what is not read now would be taken for an answer later."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.next()

    def is_ready(self, service: str) -> bool:
        """Ask a service, `skills` for the core."""
        asked = f"mycroft.{service}.is_ready"
        self.send(asked)
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            message = self.next()
            if message.get("type") == f"{asked}.response":
                return bool((message.get("data") or {}).get("status"))
        return False


def stay(watch: Callable[[Bus], None]) -> None:
    """Let something watch the bus for as long as the process runs, over a new connection where one ends."""
    while True:
        try:
            watch(Bus())
        except Exception as error:  # noqa: BLE001
            print(f"the message bus is away: {error}", file=sys.stderr, flush=True)
            time.sleep(POLL_S)
