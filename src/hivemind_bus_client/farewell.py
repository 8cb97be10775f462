"""A program that ends right after it has said something still hears the answer."""

from __future__ import annotations

import atexit
import threading

from .topics import TWIN_OF

LINGER_S = 5.0
"""How long the end of the program waits for the answer to what was said last."""

UTTERANCE = "recognizer_loop:utterance"
QUESTIONS = frozenset({UTTERANCE, TWIN_OF[UTTERANCE]})
ENDS = frozenset({"ovos.utterance.handled", "ovos.utterance.cancelled", "hive.policy.denied"})
"""Messages after which nothing more of an answer comes."""


class Farewell:
    """Knows whether an answer is awaited, and holds up the end of the program for it.

    A script that emits an utterance and ends would otherwise take the client's threads, and the answer, with it.
    """

    def __init__(self) -> None:
        self._answered = threading.Event()
        self._answered.set()

    def begin(self) -> None:
        """Take part in the end of the program."""
        atexit.unregister(self.linger)
        atexit.register(self.linger)

    def end(self) -> None:
        """Take no part any more: the client was closed."""
        atexit.unregister(self.linger)
        self._answered.set()

    def said(self, topic: str) -> None:
        """Note an OVOS message that was sent."""
        if topic in QUESTIONS:
            self._answered.clear()

    def answered(self) -> None:
        """Note that the answer is complete and its handlers have run."""
        self._answered.set()

    def linger(self, timeout_s: float = LINGER_S) -> bool:
        """Wait for the answer that is awaited, if one is; tell whether it is complete."""
        return self._answered.wait(timeout_s)
