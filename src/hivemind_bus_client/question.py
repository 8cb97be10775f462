"""`hivemind-client query` and `cascade`: one question to the mesh, and the answers as they come
(docs/protocol.md 13.2, 13.3).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

from .answers import QUERY_STREAM_END, QUERY_TIMEOUT, inner_topic, is_request, query_id
from .denials import DENIED, read_denial
from .message import HiveMessage, HiveMessageType, Message

COLLECT_S = 5.0
"""How long after an answer to a CASCADE others are waited for."""
NOBODY = "nobody answered"
WHY_NOT = {
    "no_answer": f"{NOBODY}: no assistant that was asked has an answer",
    "upstream_unavailable": f"{NOBODY}: the hub above is not connected",
}
"""What is told when a hub gives up, by the error that it names."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Reply:
    """Something that a node said."""

    utterance: str
    lang: str | None
    responder: str
    """The public key (PEM) of the hub whose assistant said it; empty where it names none."""


class Question:
    """One question. To a QUERY one node answers; to a CASCADE every node may."""

    def __init__(self, client: Any, kind: HiveMessageType, tell: Tell) -> None:
        """Listen from now on; `tell` gets what is said, as it comes."""
        self.query_id = str(uuid4())
        self.replies: list[Reply] = []
        self.problem = ""
        """Why there is no answer, or not the whole of it; empty if there is."""
        self._client = client
        self._kind = kind
        self._tell = tell
        self._changed = threading.Condition()
        self._over = False
        self._heard_at = 0.0
        client.on(kind, self._on_answer)
        client.on_mycroft(DENIED, self._on_denied)
        client.on("auth_rejected", self._on_lost)
        client.on("reconnecting", self._on_lost)

    def ask(self, message: Message, timeout_s: float) -> bool:
        """Send the question, wait for the answers, and tell whether there were any.

        Gives up when nothing has come for so many seconds.
        """
        question = HiveMessage(
            self._kind, HiveMessage(HiveMessageType.BUS, message), metadata={"query_id": self.query_id}
        )
        self._heard_at = time.monotonic()
        self._client.emit(question)
        with self._changed:
            while not self._over and (left_s := self._heard_at + self._patience(timeout_s) - time.monotonic()) > 0:
                self._changed.wait(left_s)
            if not self._over and (self._kind == HiveMessageType.QUERY or not self.replies):
                self.problem = (
                    f"nothing more came within {timeout_s:g} s" if self.replies else f"{NOBODY} within {timeout_s:g} s"
                )
            self._over = True
        return bool(self.replies)

    def _patience(self, timeout_s: float) -> float:
        collecting = self._kind == HiveMessageType.CASCADE and self.replies
        return min(COLLECT_S, timeout_s) if collecting else timeout_s

    def as_dict(self) -> dict[str, Any]:
        """The JSON form of what was answered."""
        return {"query_id": self.query_id, "answers": [asdict(reply) for reply in self.replies]}

    def _end(self, problem: str = "") -> None:
        with self._changed:
            if not self._over:
                self._over, self.problem = True, problem
            self._changed.notify_all()

    def _on_denied(self, message: Any) -> None:
        self._end(str(read_denial(message.data, message.context)))

    def _on_lost(self, *_: str) -> None:
        self._end(self._client.problem or "the connection to the hub was lost")

    def _on_answer(self, message: HiveMessage) -> None:
        if query_id(message) != self.query_id or is_request(message):
            return
        topic, responder = inner_topic(message), str(message.metadata.get("responder_peer") or "")
        if self._kind == HiveMessageType.QUERY and self.replies and responder not in ("", self.replies[0].responder):
            return  # the first to answer has won
        if topic == "speak":
            self._said(message.payload.payload.data, responder)
        elif self._kind == HiveMessageType.QUERY and topic == QUERY_STREAM_END:
            self._end("" if self.replies else NOBODY)
        elif self._kind == HiveMessageType.QUERY and topic == QUERY_TIMEOUT:
            error = str(message.payload.payload.data.get("error") or "no_answer")
            self._end(WHY_NOT.get(error, f"{NOBODY}: {error}"))

    def _said(self, data: Mapping[str, Any], responder: str) -> None:
        lang = data.get("lang")
        reply = Reply(str(data.get("utterance") or ""), lang if isinstance(lang, str) else None, responder)
        with self._changed:
            if self._over:
                return
            self._heard_at = time.monotonic()
            self.replies.append(reply)
            self._changed.notify_all()
        self._tell(reply.utterance)
