"""What systemd is told of a running chatroom: that it serves, how its link stands, and over and over that it lives."""

from __future__ import annotations

import logging
import threading

from hivemind_bus_client.sd_notify import Notifier

from .chat import Chat
from .server import Server

log = logging.getLogger(__name__)

FIRST_LOOK_S = 0.05
ANSWER_WITHIN_S = 5.0


class Supervision(threading.Thread):
    """Reports to a service manager as long as the web server's loop turns and the chatroom's lock is free."""

    def __init__(self, notifier: Notifier, server: Server, chat: Chat) -> None:
        super().__init__(name="chatroom-supervision", daemon=True)
        self._notifier = notifier
        self._server = server
        self._chat = chat
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to look; where nobody is told, there is no thread."""
        if self._notifier.is_heard:
            super().start()

    def ending(self) -> None:
        """Say that the chatroom is about to end."""
        self._stopping.set()
        self._notifier.stopping("Saying good-bye to the browsers")

    def run(self) -> None:
        """Say once that it serves, then that it still does."""
        report, pause = self._notifier.ready, FIRST_LOOK_S
        while not self._stopping.wait(pause):
            try:
                if self._is_alive():
                    report(self.status())
                    report, pause = self._notifier.alive, self._notifier.every_s
            except Exception:  # top of a thread
                log.exception("could not report to the service manager")

    def status(self) -> str:
        """Return one line for `systemctl status`."""
        link = self._chat.link
        return f"Serving port {self._server.port}, {'connected to the hub' if link.is_up else link.text or link.state}"

    def _is_alive(self) -> bool:
        self._chat.newest()  # takes the lock
        return self._server.answers(ANSWER_WITHIN_S)
