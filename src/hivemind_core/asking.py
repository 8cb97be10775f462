"""Asking the local agent over its bus, for a QUERY or a CASCADE (docs/protocol.md 13.2). Pure.

A question goes onto the bus as an utterance whose context carries a token; whatever the agent says under that token
is the answer. It is addressed to nobody's peer id, so nothing of it reaches a satellite as a BUS message.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from hivemind_bus_client.message import HiveMessageType, Message

from .sessions import AGENT_ADDRESS

QUERY_ADDRESS = "hive.query"
"""Where a question says it comes from, and so where the answers of the agent are addressed."""
TOKEN = "query_id"
SPOKEN, HANDLED = "speak", "ovos.utterance.handled"
SPEAK_TYPES = frozenset({SPOKEN, "ovos.utterance.speak"})
DEFAULT_LANG = "en-US"
MAX_FINISHED = 1024
"""Tokens of answered questions that are remembered, so that what comes late reaches nobody."""


@dataclass(frozen=True)
class Question:
    """A question that the agent was asked."""

    query_id: str
    asker: str
    kind: HiveMessageType
    lang: str
    token: str


@dataclass(frozen=True)
class Said:
    """The agent said a part of the answer."""

    question: Question
    utterance: str
    lang: str


@dataclass(frozen=True)
class Finished:
    """The agent is done with a question, or is waited for no longer."""

    question: Question
    said: int
    """How many parts the answer had; with none, the agent declined."""


@dataclass
class _Waiting:
    question: Question
    heard_at: float
    said: int = 0
    last: tuple[str, str] = ("", "")


class Asking:
    """The questions that are open at the agent."""

    def __init__(self, silence_s: float = 10.0, most: int = 64, most_each: int = 16) -> None:
        """Give a question up after so long a silence; take so many at once, and of one asker no more than its part."""
        self._silence_s = silence_s
        self._most = most
        self._most_each = most_each
        self._open: dict[str, _Waiting] = {}
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._of_asker: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, query_id: str, asker: str, kind: HiveMessageType, message: Message, now: float) -> Message | None:
        """Open a question and return what to put on the agent's bus; None if it is none, or one too many.

        `message` is an utterance as the policies let it through, stamped with the asker's session.
        """
        utterance = _first_utterance(message.data)
        if not utterance or len(self._open) >= self._most or self._of_asker[asker] >= self._most_each:
            return None
        question = Question(query_id, asker, kind, _language(message), str(uuid4()))
        self._open[question.token] = _Waiting(question, now)
        self._of_asker[asker] += 1
        context = {**message.context, TOKEN: question.token, "source": QUERY_ADDRESS, "destination": AGENT_ADDRESS}
        return Message(message.msg_type, {**message.data, "utterances": [utterance], "lang": question.lang}, context)

    def hear(self, message: Message, now: float) -> list[Said | Finished] | None:
        """Take any message of the agent's bus: None if it belongs to no question, else what it means."""
        token = message.context.get(TOKEN)
        if not isinstance(token, str):
            return None
        waiting = self._open.get(token)
        if waiting is None:
            return [] if token in self._finished else None
        waiting.heard_at = now
        if message.msg_type in SPEAK_TYPES:
            return self._said(waiting, message)
        return [self._end(waiting)] if message.msg_type == HANDLED else []

    def _said(self, waiting: _Waiting, message: Message) -> list[Said | Finished]:
        utterance, lang = message.data.get("utterance"), message.data.get("lang")
        if not isinstance(utterance, str) or not utterance:
            return []
        before, waiting.last = waiting.last, (message.msg_type, utterance)
        if before[1] == utterance and before[0] != message.msg_type:
            waiting.last = ("", "")
            return []  # the same words under the other name of the message
        waiting.said += 1
        return [Said(waiting.question, utterance, lang if isinstance(lang, str) and lang else waiting.question.lang)]

    def tick(self, now: float) -> list[Finished]:
        """Give up the questions that nothing was heard of for too long."""
        late = [waiting for waiting in self._open.values() if now - waiting.heard_at >= self._silence_s]
        return [self._end(waiting) for waiting in late]

    def forget(self, asker: str) -> None:
        """Forget what an asker wanted to know: it has gone."""
        for waiting in [waiting for waiting in self._open.values() if waiting.question.asker == asker]:
            self._end(waiting)

    def unavailable(self) -> list[Finished]:
        """Give up every question: the agent's bus was lost."""
        return [self._end(waiting) for waiting in list(self._open.values())]

    def _end(self, waiting: _Waiting) -> Finished:
        question = waiting.question
        del self._open[question.token]
        self._of_asker[question.asker] -= 1
        if not self._of_asker[question.asker]:
            del self._of_asker[question.asker]
        self._finished[question.token] = None
        if len(self._finished) > MAX_FINISHED:
            self._finished.popitem(last=False)
        return Finished(question, waiting.said)


def _first_utterance(data: Mapping[str, Any]) -> str:
    utterances = data.get("utterances")
    first = utterances[0] if isinstance(utterances, list) and utterances else data.get("utterance")
    return first.strip() if isinstance(first, str) else ""


def _language(message: Message) -> str:
    session = message.context.get("session")
    told = [message.data, message.context, session if isinstance(session, Mapping) else {}]
    return next((lang for source in told if isinstance(lang := source.get("lang"), str) and lang), DEFAULT_LANG)
