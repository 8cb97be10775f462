"""Who asked what: the ways back of QUERY and CASCADE (docs/protocol.md 13.2, 13.3).

Pure; times are monotonic seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from hivemind_bus_client.answers import QUERY_STREAM_END, QUERY_TIMEOUT
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

from .shares import Share, Shares

MAX_CHOICES = 256
MAX_RESPONSES = 256
"""Answers to one CASCADE that are chosen among; later ones are not looked at."""


class Opening(Enum):
    """What a question is to this hub."""

    NEW = auto()
    AGAIN = auto()
    """Its asker has asked it before, and gets the answers."""
    LOOP = auto()
    """Somebody else has asked it: it came round another way, or is an attempt to get another's answers."""


@dataclass
class _Open:
    query_id: str
    asker: str
    kind: HiveMessageType
    until: float
    passed: set[str] = field(default_factory=set)


class WaysBack:
    """Remembers for each open question who asked it, for so long, so many in all and in each share.

    Where there are too many, the oldest is forgotten of whoever asked most, or of the asker's own share.
    """

    def __init__(self, ttl_s: float = 300.0, most: int = 4096, most_each: int = 256) -> None:
        self._ttl_s = ttl_s
        self._open: Shares[_Open] = Shares(most, most_each)

    def __len__(self) -> int:
        return len(self._open)

    def open(self, query_id: str, asker: str, kind: HiveMessageType, now: float, share: Share | None = None) -> Opening:
        """Note a question; the first asker of an id keeps it until it is answered or forgotten.

        It takes a place of `share`, else of the asker's own: a client may ask through several connections, and several
        clients through one.
        """
        known = self._known(query_id, now)
        if known is not None and known.asker != asker:
            return Opening.LOOP
        self._open.put(query_id, asker, _Open(query_id, asker, kind, now + self._ttl_s), share)
        return Opening.NEW if known is None else Opening.AGAIN

    def _known(self, query_id: str, now: float) -> _Open | None:
        known = self._open.get(query_id)
        return known if known is not None and known.until > now else None

    def asker_of(self, query_id: str, now: float) -> str | None:
        """Return who gets the answers; None where nobody waits for any."""
        known = self._known(query_id, now)
        return known.asker if known is not None else None

    def passed(self, query_id: str, to: Iterable[str]) -> None:
        """Note who has been asked now; of a QUERY nobody else may answer."""
        known = self._open.get(query_id)
        if known is not None:
            known.passed = set(to)

    def declined(self, query_id: str, responder: str) -> bool:
        """Note that one who was asked has no answer; return whether nobody is left who might have one."""
        known = self._open.get(query_id)
        if known is None:
            return True
        known.passed.discard(responder)
        return not known.passed

    def waiting_for(self, responder: str) -> list[str]:
        """Return the QUERYs that wait for an answer of this one."""
        return [
            known.query_id
            for known in self._open.values()
            if known.kind == HiveMessageType.QUERY and responder in known.passed
        ]

    def asked_by(self, asker: str, kind: HiveMessageType) -> list[str]:
        """Return the questions of a kind that an asker waits for."""
        return [known.query_id for known in self._open.of(asker) if known.kind == kind]

    def may_answer(self, query_id: str, responder: str, now: float, kind: HiveMessageType | None = None) -> bool:
        """Tell whether an answer is taken: of whom a QUERY was passed to, to a CASCADE of anybody but its asker.

        With `kind`, what the answer comes as, it must be what the question came as.
        """
        known = self._known(query_id, now)
        if known is None or known.asker == responder or (kind is not None and kind != known.kind):
            return False
        return known.kind == HiveMessageType.CASCADE or responder in known.passed

    def done(self, query_id: str) -> None:
        """Forget a question; its id is as new afterwards."""
        self._open.pop(query_id)

    def gone(self, asker: str) -> None:
        """Forget what an asker has asked: it has left."""
        for known in self._open.of(asker):
            self._open.pop(known.query_id)

    def tick(self, now: float) -> None:
        """Forget what is too old; the oldest are the first."""
        while (oldest := self._open.oldest()) is not None and oldest.until <= now:
            self._open.pop(oldest.query_id)


# --- choosing -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CascadeResponse:
    """One answer to a CASCADE."""

    responder: str
    """The node that answered, as it names itself."""
    message: HiveMessage


Select = Callable[[str, list[CascadeResponse]], "Message | None"]


class CascadeChoice:
    """Lets whoever embeds the hub choose among the answers to the CASCADEs of its satellites."""

    def __init__(self, most: int = MAX_CHOICES, most_responses: int = MAX_RESPONSES) -> None:
        self.select: Select | None = None
        """Called with the id of the query and all answers so far, after each; what it returns ends the collection and
        goes onto the agent's bus. Without one, every answer goes to the satellite that asked."""
        self._most = most
        self._most_responses = most_responses
        self._collected: OrderedDict[str, list[CascadeResponse]] = OrderedDict()

    def add(self, query_id: str, response: HiveMessage) -> Message | None:
        """Take an answer; return the message that was chosen, if one was."""
        if self.select is None:
            return None
        collected = self._collected.setdefault(query_id, [])
        if len(self._collected) > self._most:
            self._collected.popitem(last=False)
        if len(collected) >= self._most_responses:
            return None
        responder = response.metadata.get("responder_peer")
        collected.append(CascadeResponse(responder if isinstance(responder, str) else "", response))
        chosen = self.select(query_id, list(collected))
        if chosen is not None:
            self._collected.pop(query_id, None)
        return chosen


# --- answers of this hub ------------------------------------------------------------------------------------


def chunk(query_id: str, utterance: str, lang: str) -> Message:
    """Return a part of an answer."""
    return Message("speak", {"utterance": utterance, "lang": lang}, {"query_id": query_id})


def complete() -> Message:
    """Return what says that there is nothing more to come."""
    return Message(QUERY_STREAM_END)


def unanswered(query_id: str, why: str) -> Message:
    """Return what says that there is no answer: ``no_answer``, or ``upstream_unavailable``."""
    return Message(QUERY_TIMEOUT, {"query_id": query_id, "error": why})


def response(question: HiveMessage, node_id: str, answer: Message) -> HiveMessage:
    """Return an answer of this hub as it goes back to whoever asked, by the way that the question came."""
    named: dict[str, Any] = {key: question.metadata.get(key) for key in ("query_id", "originator_peer")}
    metadata = {**named, "responder_peer": node_id, "is_response": True}
    return HiveMessage(
        question.msg_type, HiveMessage(HiveMessageType.BUS, answer), route=question.route, metadata=metadata
    )
