"""Sends the acknowledgements of one client, on its event loop; what is sent when is in `playback`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from .exceptions import HiveMindException
from .playback import Acknowledgements, denied_acknowledgement, spoken_session
from .topics import TwinFilter

LOG = logging.getLogger(__name__)

Send = Callable[[str, Mapping[str, Any]], Awaitable[None]]


class Acknowledger:
    """Says for a client that plays nothing that what it was told to speak has been played.

    A hub that denies such a message gets no more of them on this connection.
    """

    def __init__(self, send: Send, is_wanted: Callable[[], bool]) -> None:
        """Send by a function that takes a message's type and its session; it may raise HiveMindException.

        `is_wanted` tells whether the program still leaves it to the client.
        """
        self._send = send
        self._is_wanted = is_wanted
        self._plan = Acknowledgements()
        self._twins = TwinFilter()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._has_sent = False
        self._denied = False

    def opened(self) -> None:
        """Note a new connection, on which the hub may take what it did not."""
        self._has_sent = self._denied = False

    def left_to_program(self) -> None:
        """Note that the program sends such messages itself, and so is to hear of a denial."""
        self._has_sent = False

    def stop(self) -> None:
        """Send nothing of what was to be sent."""
        self._plan.forget()
        self._wake.set()

    def is_own_denial(self, body: object) -> bool:
        """Tell whether a bus message (its JSON form) denies what was sent here; if so, no more is sent."""
        if not self._has_sent or not denied_acknowledgement(body):
            return False
        if not self._denied:
            LOG.debug("the hub takes no acknowledgements of playback from this satellite")
        self._denied = True
        self.stop()
        return True

    def told(self, body: object, own_session_id: str) -> Callable[[], object] | None:
        """Take in a bus message (its JSON form), on the loop.

        Returns what to call, in any thread, when the handlers of these words have returned; None if it has nothing
        to acknowledge.
        """
        session = None if self._denied else spoken_session(body, own_session_id)
        if session is None or not isinstance(body, Mapping):
            return None
        if self._twins.is_repeat(str(body["type"]), body.get("data") or {}, body["context"]):
            return None
        loop = asyncio.get_running_loop()
        number = self._plan.told(session, loop.time())
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run(), name="hivemind-playback")
        self._wake.set()
        return partial(self._shown_elsewhere, loop, str(session["session_id"]), number)

    def _shown_elsewhere(self, loop: asyncio.AbstractEventLoop, session_id: str, number: int) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._shown, session_id, number)

    def _shown(self, session_id: str, number: int) -> None:
        self._plan.shown(session_id, number)
        self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while (due_at := self._plan.deadline()) is not None:
                if due_at > loop.time():
                    await self._until(due_at)
                for msg_type, session in self._plan.due(loop.time()):
                    if not self._is_wanted():
                        self._plan.forget()
                        break
                    self._has_sent = True
                    await self._send(msg_type, session)
        except HiveMindException as error:
            LOG.debug("playback is not acknowledged: %s", error)
            self._plan.forget()

    async def _until(self, due_at: float) -> None:
        """Wait for a time, or until the plan changes."""
        self._wake.clear()
        timer = asyncio.get_running_loop().call_at(due_at, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
