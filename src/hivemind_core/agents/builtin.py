"""The small assistant in the hub itself: it answers a few questions and says what it is."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hivemind_bus_client.message import Message

from ..asking import TOKEN
from ..bus_frames import TWIN_MARKS, Twins
from .queues import Inbox

if TYPE_CHECKING:
    from . import Deliver, Peers

LANG = "en-US"
REQUESTS = frozenset({"recognizer_loop:utterance", "ovos.utterance.handle"})
HOW_TO_ATTACH = "Set the agent_protocol module in server.json to auto, start OVOS, and restart the hub."

_MAX_UTTERANCE = 256


def _greeting(now: datetime, peers: Sequence[str]) -> str:
    part = "morning" if 4 <= now.hour < 12 else "afternoon" if 12 <= now.hour < 18 else "evening"
    return f"Good {part}. I am the hub's small built-in assistant. Ask me what I can do."


def _help(now: datetime, peers: Sequence[str]) -> str:
    return (
        "I am the hub's small built-in assistant, and no other is attached."
        " I can tell you the time, the date, and who is connected."
    )


def _time(now: datetime, peers: Sequence[str]) -> str:
    return f"It is {now:%H:%M}."


def _date(now: datetime, peers: Sequence[str]) -> str:
    return f"Today is {now:%A}, {now.day} {now:%B %Y}."


def _connected(now: datetime, peers: Sequence[str]) -> str:
    if not peers:
        return "Nobody is connected."
    if len(peers) == 1:
        return f"One satellite is connected: {peers[0]}."
    return f"{len(peers)} satellites are connected: {', '.join(peers[:-1])} and {peers[-1]}."


_ANSWERS: tuple[tuple[re.Pattern[str], Callable[[datetime, Sequence[str]], str]], ...] = tuple(
    (re.compile(pattern), reply)
    for pattern, reply in (
        (r"\bwho( is|'s|s| else is)? (connected|here|online|there)\b", _connected),
        (r"\b(which|what|how many) (satellites?|devices?|clients?) (is|are)\b", _connected),
        (r"\blist (the |all )?(connected )?(satellites|devices|clients)$", _connected),
        (r"^help( me)?$|\bwhat can (you|i) (do|say|ask)\b|\b(who|what) are you\b", _help),
        (r"\bwhat time (is it|it is)$|\bwhat( is|'s|s) the time$|^(tell me )?(the )?time$", _time),
        (r"\b(what|which) (date|day) (is it|it is|is today|is it today)$", _date),
        (r"\bwhat( is|'s|s) (the|today's) (date|day)( today)?$|^(tell me )?(the |today's )?date$", _date),
        (r"^(hello|hi|hey|greetings|good (morning|afternoon|evening|day))( \w+)?$", _greeting),
    )
)
_POLITE = re.compile(r"\b(please|now|right now|thanks|thank you)\b")


def known(utterance: str, now: datetime, peers: Sequence[str]) -> str | None:
    """What the built-in assistant knows to say, in English; None where it has no answer."""
    words = re.sub(r"[^\w' ]", " ", utterance[:_MAX_UTTERANCE].lower().replace("’", "'"))
    words = " ".join(_POLITE.sub(" ", words).split())
    for pattern, reply in _ANSWERS:
        if pattern.search(words):
            return reply(now, peers)
    return None


def answer(utterance: str, lang: str, now: datetime, peers: Sequence[str], how_to_attach: str = HOW_TO_ATTACH) -> str:
    """What the built-in assistant says, in English, to an utterance heard in the language ``lang``."""
    said = known(utterance, now, peers)
    if said is not None:
        return said
    english = "" if lang.lower().startswith("en") else " I only understand English."
    return f"No assistant is attached to this hub, so I cannot answer that.{english} {how_to_attach}"


def request_in(message: Message) -> tuple[str, str] | None:
    """The first utterance and its language in a request; None when there is nothing to answer."""
    utterances = message.data.get("utterances")
    if isinstance(utterances, str):
        utterances = [utterances]
    if not isinstance(utterances, list) or not utterances or not isinstance(utterances[0], str):
        return None
    lang = message.data.get("lang")
    return (utterances[0], lang if isinstance(lang, str) else LANG) if utterances[0].strip() else None


def replies(message: Message, said: str | None, *, unknown: bool = False) -> list[Message]:
    """What a skill would send back: the answer, or that there is none, and that the utterance was handled."""
    spoken: dict[str, Any] = {"utterance": said, "lang": LANG, "expect_response": False, "meta": {}}
    answers = [message.reply("speak", spoken)] if said else []
    if unknown:
        answers.append(message.reply("complete_intent_failure", {}))
    answers.append(message.reply("ovos.utterance.handled", {}))
    for reply in answers:
        context = {key: value for key, value in reply.context.items() if key not in TWIN_MARKS}
        reply.context = copy.deepcopy(context)
    return answers


def _local_time() -> datetime:
    return datetime.now().astimezone()


class Assistant:
    """Answers messages; knows the time and who is connected."""

    def __init__(
        self, peers: Peers, how_to_attach: str = HOW_TO_ATTACH, clock: Callable[[], datetime] = _local_time
    ) -> None:
        self._peers = peers
        self._how_to_attach = how_to_attach
        self._clock = clock
        self._twins = Twins()

    def answers_to(self, message: Message) -> list[Message]:
        """The messages that answer one message; empty when it asks for nothing."""
        if message.msg_type not in REQUESTS or self._twins.repeats(message):
            return []
        request = request_in(message)
        if request is None:
            return replies(message, None)
        if TOKEN in message.context:  # a QUERY, which goes on to the hub above where nothing is known
            said = known(request[0], self._clock(), self._peers())
            return replies(message, said, unknown=said is None)
        return replies(message, answer(*request, self._clock(), self._peers(), self._how_to_attach))


class BuiltinAgent:
    """No bus at all: what is emitted is answered in process."""

    name = "builtin"

    def __init__(
        self, peers: Peers, how_to_attach: str = HOW_TO_ATTACH, clock: Callable[[], datetime] = _local_time
    ) -> None:
        self._assistant = Assistant(peers, how_to_attach, clock)
        self._inbox: Inbox | None = None

    @property
    def available(self) -> bool:
        """It has been started."""
        return self._inbox is not None

    @property
    def queued(self) -> int:
        """Nothing waits: it answers by itself."""
        return 0

    async def start(self, deliver: Deliver) -> None:
        """Begin to answer."""
        self._inbox = Inbox(deliver)

    async def stop(self) -> None:
        """Answer no more."""
        if self._inbox is not None:
            self._inbox.clear()
        self._inbox = None

    def emit(self, message: Message) -> bool:
        """Answer a message, as soon as the caller is done; False when not started."""
        if self._inbox is None:
            return False
        for reply in self._assistant.answers_to(message):
            self._inbox.put(reply)
        return True
