"""What systemd is told of a running hub: that it serves, how it stands, and, ever again, that its loop turns."""

from __future__ import annotations

import asyncio
import logging

from hivemind_bus_client.sd_notify import Notifier

from .hub import Hub

log = logging.getLogger(__name__)


class Supervision:
    """Reports to a service manager from the hub's own loop, so that a hub whose loop is stuck falls silent."""

    def __init__(self, hub: Hub, notifier: Notifier, address: str) -> None:
        self._hub = hub
        self._notifier = notifier
        self._address = address
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Say that the hub serves, and go on reporting."""
        self._notifier.ready(self.status())
        if self._notifier.is_heard:
            self._task = asyncio.get_running_loop().create_task(self._report())

    def stop(self) -> None:
        """Say that the hub ends."""
        if self._task is not None:
            self._task.cancel()
        self._notifier.stopping("Taking leave of the satellites")

    def status(self) -> str:
        """Return one line for `systemctl status`."""
        hub, count = self._hub, len(self._hub.peers)
        parts = [
            f"Listening on {self._address}",
            "1 satellite" if count == 1 else f"{count} satellites",
            f"assistant {hub.agent.name} {'answers' if hub.agent.available else 'is not there'}",
        ]
        if hub.parent is not None:
            parts.append("joined to the hub above" if hub.parent.available else "no way to the hub above")
        return ", ".join(parts)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._notifier.every_s)
            try:
                self._notifier.alive(self.status())
            except Exception:  # top of a task
                log.exception("could not report to the service manager")
