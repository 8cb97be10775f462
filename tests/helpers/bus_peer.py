"""A service on the hub's own message bus, in this process: it hears everything and answers as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from .bus_stub import answers, reply_context
from .processes import wait_until

WAIT_S = 60.0
RETRY_S = 0.1
UTTERANCE = "recognizer_loop:utterance"
HANDLED = "ovos.utterance.handled"

Frame = dict[str, Any]
Habit = Callable[[Frame], Sequence[Frame]]


def reply(message: Frame, msg_type: str, data: Frame, **context: Any) -> Frame:
    """A message that answers another one."""
    return {"type": msg_type, "data": data, "context": {**reply_context(message["context"]), **context}}


def speak(message: Frame, utterance: Any, **context: Any) -> Frame:
    """What a skill says."""
    return reply(message, "speak", {"utterance": utterance, "lang": "en-us"}, **context)


def saying(*utterances: str) -> Habit:
    """An answer in so many sentences."""
    return lambda message: [*(speak(message, one) for one in utterances), reply(message, HANDLED, {})]


def silence(message: Frame) -> Sequence[Frame]:
    """No answer."""
    return []


class BusPeer:
    """Repeats what it hears, but for what `on` told it; joins the bus again whenever it is back."""

    def __init__(self, port: int) -> None:
        self.heard: list[Frame] = []
        self._url = f"ws://127.0.0.1:{port}/core"
        self._habits: dict[str, Habit] = {}
        self._socket: ClientConnection | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bus-peer", daemon=True)
        self._thread.start()

    def joined(self) -> BusPeer:
        """Wait until it is on the bus."""
        wait_until(lambda: self._socket, WAIT_S, f"the bus at {self._url}")
        return self

    def on(self, utterance: str, habit: Habit) -> None:
        """Answer these words so."""
        self._habits[utterance] = habit

    def emit(self, msg_type: str, data: Any, context: Any) -> None:
        """Put a message on the bus."""
        self.emit_raw(json.dumps({"type": msg_type, "data": data, "context": context}))

    def emit_raw(self, frame: str) -> None:
        self.joined()
        assert self._socket is not None
        self._socket.send(frame)

    def utterances(self) -> list[Frame]:
        """What users said so far."""
        return [frame for frame in list(self.heard) if frame.get("type") == UTTERANCE]

    def hears(self, words: str) -> Frame:
        """Wait for an utterance."""

        def found() -> list[Frame]:
            return [frame for frame in self.utterances() if frame["data"]["utterances"] == [words]]

        first: Frame = wait_until(found, WAIT_S, f"{words!r} on the bus")[0]
        return first

    def close(self) -> None:
        self._closing.set()
        if self._socket is not None:
            self._socket.close()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with connect(self._url, compression=None, ping_interval=None, max_size=None) as socket:
                    self._socket = socket
                    for text in socket:
                        self._take(socket, json.loads(text))
            except (OSError, WebSocketException):
                pass
            self._socket = None
            self._closing.wait(RETRY_S)

    def _take(self, socket: ClientConnection, frame: Frame) -> None:
        self.heard.append(frame)
        if frame.get("type") != UTTERANCE:
            return
        habit = self._habits.get(frame["data"]["utterances"][0], answers)
        for answer in habit(frame):
            socket.send(json.dumps(answer))
