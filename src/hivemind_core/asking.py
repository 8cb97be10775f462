"""Asking the local agent over its bus, for a QUERY or a CASCADE (docs/protocol.md 13.2). Pure.

A question goes onto the bus as an utterance whose context carries a token; whatever the agent says under that token
is the answer. It is addressed to nobody's peer id, so nothing of it reaches a satellite as a BUS message.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from hivemind_bus_client.message import HiveMessageType, Message
from hivemind_bus_client.topics import TWIN_OF

from .bus_frames import TWIN_MARKS
from .sessions import AGENT_ADDRESS
from .shares import Share, Shares

QUERY_ADDRESS = "hive.query"
"""Where a question says it comes from, and so where the answers of the agent are addressed."""
TOKEN = "query_id"
SPOKEN, HANDLED = "speak", "ovos.utterance.handled"
SPEAK_TYPES = frozenset({SPOKEN, TWIN_OF[SPOKEN]})
_HEARD = SPEAK_TYPES | {HANDLED}
DEFAULT_LANG = "en-US"
LONGEST_S = 300.0
"""An answer that takes longer is cut off: nobody remembers then who asked (docs/protocol.md 16)."""
MOST, MOST_EACH, MOST_AT = 64, 16, 48
"""Questions that are open: altogether, of one client, and from one address."""
MAX_FINISHED = 1024
"""Tokens of answered questions that are remembered, so that what comes late reaches nobody."""
MAX_TWINS = 16
"""Parts of an answer that may come before the second name of the first of them."""


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
    peer: Any
    asked_at: float
    spoke_at: float
    said: int = 0
    twins: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=MAX_TWINS))
    """Names and words under which a part would come once more."""


class Asking:
    """The questions that are open at the agent."""

    def __init__(
        self, silence_s: float = 10.0, most: int = MOST, most_each: int = MOST_EACH, most_at: int = MOST_AT
    ) -> None:
        """Give a question up after so long without a word; take so many at once, in one share, and at one address."""
        self._silence_s = silence_s
        self._open: Shares[_Waiting] = Shares(most, most_each, most_at)
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._ousted: list[Finished] = []

    def __len__(self) -> int:
        return len(self._open)

    def has_room(self, query_id: str, asker: str, share: Share | None = None) -> bool:
        """Tell whether a question would be taken, beside those that are open or in place of itself."""
        is_open = any(one.question.query_id == query_id for one in self._open.of(asker))
        return is_open or self._open.has_room(asker, share)

    def ask(
        self,
        query_id: str,
        asker: str,
        kind: HiveMessageType,
        message: Message,
        now: float,
        share: Share | None = None,
    ) -> Message | None:
        """Open a question and return what to put on the agent's bus; None if it is none, or one too many.

        `message` is an utterance as the policies let it through, stamped with the asker's session. A question that its
        asker repeats is given up for the new one. It takes a place of `share`, else of the asker's own. Where there are
        too many, one of whoever asked most is given up for one of a share with fewer; `tick` tells.
        """
        utterance = _first_utterance(message.data)
        for before in self._open.of(asker):
            if before.question.query_id == query_id:
                self._end(before)
        if not utterance or not self._open.has_room(asker, share):
            return None
        question = Question(query_id, asker, kind, _language(message), str(uuid4()))
        waiting = _Waiting(question, message.context.get("peer"), now, now)
        ousted = self._open.put(question.token, asker, waiting, share)
        if ousted is not None:
            self._ousted.append(self._end(ousted))
        context = {key: value for key, value in message.context.items() if key not in TWIN_MARKS}
        context |= {TOKEN: question.token, "source": QUERY_ADDRESS, "destination": AGENT_ADDRESS}
        return Message(message.msg_type, {**message.data, "utterances": [utterance], "lang": question.lang}, context)

    def cancel(self, asked: Message) -> None:
        """Forget a question that did not get onto the agent's bus; `asked` is what `ask` returned."""
        waiting = self._open.get(asked.context[TOKEN])
        if waiting is not None:
            self._end(waiting)

    def hear(self, message: Message, now: float) -> list[Said | Finished] | None:
        """Take any message of the agent's bus: None if it is no part of an answer, else what it means.

        What else the agent does about a question is none, whatever token it carries.
        """
        token = message.context.get(TOKEN)
        if token is None or message.msg_type not in _HEARD or not isinstance(token, str):
            return None
        waiting = self._open.get(token)
        if waiting is None:
            return [] if token in self._finished else None
        if message.context.get("peer", waiting.peer) != waiting.peer:
            return None  # from a satellite that got hold of the token: the hub stamps its own name on what it says
        return [self._end(waiting)] if message.msg_type == HANDLED else self._said(waiting, message, now)

    def _said(self, waiting: _Waiting, message: Message, now: float) -> list[Said | Finished]:
        utterance, lang = message.data.get("utterance"), message.data.get("lang")
        if not isinstance(utterance, str) or not utterance:
            return []
        # Both names of one part come with marks that answers inherit, so that only the words tell.
        if (message.msg_type, utterance) in waiting.twins:
            waiting.twins.remove((message.msg_type, utterance))
            return []
        waiting.twins.append((TWIN_OF[message.msg_type], utterance))
        waiting.spoke_at = now
        waiting.said += 1
        return [Said(waiting.question, utterance, lang if isinstance(lang, str) and lang else waiting.question.lang)]

    def tick(self, now: float) -> list[Finished]:
        """Give up the questions about which nothing was said for too long; tell of those given up before."""
        ousted, self._ousted = self._ousted, []
        return ousted + [self._end(waiting) for waiting in self._open.values() if self._is_late(waiting, now)]

    def _is_late(self, waiting: _Waiting, now: float) -> bool:
        return now - waiting.spoke_at >= self._silence_s or now - waiting.asked_at >= LONGEST_S

    def forget(self, asker: str) -> None:
        """Forget what an asker wanted to know: it has gone."""
        for waiting in self._open.of(asker):
            self._end(waiting)

    def unavailable(self) -> list[Finished]:
        """Give up every question: the agent's bus was lost."""
        return [self._end(waiting) for waiting in self._open.values()]

    def _end(self, waiting: _Waiting) -> Finished:
        token = waiting.question.token
        self._open.pop(token)
        self._finished[token] = None
        if len(self._finished) > MAX_FINISHED:
            self._finished.popitem(last=False)
        return Finished(waiting.question, waiting.said)


def _first_utterance(data: Mapping[str, Any]) -> str:
    utterances = data.get("utterances")
    first = utterances[0] if isinstance(utterances, list) and utterances else utterances
    return first.strip() if isinstance(first, str) else ""


def _language(message: Message) -> str:
    session = message.context.get("session")
    told = [message.data, message.context, session if isinstance(session, Mapping) else {}]
    return next((lang for source in told if isinstance(lang := source.get("lang"), str) and lang), DEFAULT_LANG)
