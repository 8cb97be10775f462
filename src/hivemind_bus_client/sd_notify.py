"""Tells the service manager (systemd) how this process is doing. Where there is none, nothing is told.

A datagram of lines ``NAME=value`` goes to the socket that the environment names; see sd_notify(3).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

from .log_lines import printable

log = logging.getLogger(__name__)

SOCKET, WATCHDOG_USEC, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
SEND_WITHIN_S = 0.2
"""How long is waited for one that is slow to read what it must not miss."""
USUAL_S, OFTEST_S = 1.0, 0.05
MAX_STATUS = 300
"""Characters."""
_MAX_DIGITS = 20


class Notifier:
    """Speaks for this process. Its methods may be called from any thread; they raise nothing, and `alive`
    never waits."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = _socket_address(address)
        self._watchdog = watchdog_s > 0
        self._status = ""
        self._failed = False
        self.every_s = max(OFTEST_S, min(USUAL_S, watchdog_s / 3)) if self._watchdog else USUAL_S
        """Seconds between calls of `alive`."""

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> Notifier:
        """Return one that speaks to the service manager of this process.

        Its variables are taken out of the environment: processes that are started from here must not speak for this
        one.
        """
        address, every, for_process = (environ.pop(name, "") for name in (SOCKET, WATCHDOG_USEC, WATCHDOG_PID))
        is_for_us = for_process in ("", str(os.getpid()))
        return cls(address, int(every) / 1e6 if every.isdecimal() and len(every) <= _MAX_DIGITS and is_for_us else 0.0)

    @property
    def is_heard(self) -> bool:
        """There is a service manager."""
        return bool(self._address)

    def ready(self, status: str = "") -> None:
        """Say that this process serves from now on."""
        self._send(["READY=1", *self._watchdog_line(), *self._status_line(status)])

    def alive(self, status: str = "") -> None:
        """Say that this process still gets on with its work; to be called every `every_s` seconds."""
        self._send([*self._watchdog_line(), *self._status_line(status)], within_s=0.0)

    def stopping(self, status: str = "") -> None:
        """Say that this process is about to end."""
        self._send(["STOPPING=1", *self._status_line(status)])

    def _watchdog_line(self) -> list[str]:
        return ["WATCHDOG=1"] if self._watchdog else []

    def _status_line(self, status: str) -> list[str]:
        line = printable(" ".join(status.split()))[:MAX_STATUS]
        if not line or line == self._status:
            return []
        self._status = line
        return [f"STATUS={line}"]

    def _send(self, lines: list[str], within_s: float = SEND_WITHIN_S) -> None:
        if not self._address or not lines:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(within_s)
                sock.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError as error:
            if not self._failed:
                log.warning("the service manager does not hear this process: %s", error)
            self._failed, self._status = True, ""  # it is to be told again


def _socket_address(text: str) -> str:
    """Return the address of a Unix socket, in the file system or (``@name``) the abstract one; nothing for others."""
    if not hasattr(socket, "AF_UNIX") or text[:1] not in ("/", "@"):
        return ""
    return f"\0{text[1:]}" if text.startswith("@") else text
