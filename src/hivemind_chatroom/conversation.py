"""What happens in the rooms: questions are accepted, sent, answered, denied, given up. Pure; used under the lock of
`chat`. Whatever happens is returned as what changed, for those who look on.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from .incoming import TURN, Cancelled, Denied, Handled, Incoming, Played, Spoken, Unmatched
from .languages import same_language
from .messages import ChatMessage, Draft, Kind, Media, Role, State
from .names import Unfit, language_tag
from .people import People, Person
from .rates import Buckets
from .rooms import Rooms, TooManyRooms
from .sentences import Sentence, say
from .settings import Settings
from .turns import Turn, Turns

NOBODYS_SESSIONS = ("", "default")
"""Sessions that say nothing of who is meant."""
ASKED_AT_ONCE = 16
"""Questions of one address that the assistant has at a time."""
SAID_PER_S, SAID_AT_ONCE = 10.0, 200
"""What the assistant may say to one question, or unasked."""
UTTERANCES = ("recognizer_loop:utterance", "ovos.utterance.handle")


@dataclass(frozen=True)
class Moment:
    """Now, by both clocks."""

    now: float
    """Monotonic seconds."""
    wall: float
    """Unix time, seconds."""


@dataclass(frozen=True)
class Wish:
    """What somebody says in a room."""

    person: Person
    room: str
    lang: str
    text: str
    private: bool


@dataclass(frozen=True)
class Outgoing:
    """A question on its way to the hub."""

    turn: Turn
    session: dict[str, Any] = field(repr=False)

    def as_bus_message(self, platform: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Return type, data and context of the OVOS message."""
        context = {
            "source": platform,
            "platform": platform,
            "destination": "skills",
            "user": self.turn.person.name,
            "session": self.session,
            TURN: self.turn.id,
        }
        return UTTERANCES[0], {"utterances": [self.turn.text], "lang": self.turn.lang}, context


@dataclass(frozen=True)
class Speaks:
    """The assistant goes on with somebody in another language."""

    person: Person


Change: TypeAlias = "ChatMessage | Speaks"


class Conversation:
    """All rooms, people and questions."""

    def __init__(self, settings: Settings, secret: bytes, first_number: int) -> None:
        limits, times = settings.limits, settings.times
        self._settings = settings
        self.rooms = Rooms(limits.rooms, limits.history, first_number)
        self.people = People(secret, limits.users, times.name_held)
        self.turns = Turns(times.answer)
        self._waiting: deque[Turn] = deque()
        self._saying = Buckets(SAID_PER_S, SAID_AT_ONCE)
        self.dropped = 0
        """Messages of the assistant that were too many."""

    # --- questions ----------------------------------------------------------------------------------------------

    def waits(self, person: Person | None = None) -> int:
        """How many accepted messages wait for the hub, of all or of one person."""
        return sum(1 for turn in self._waiting if person is None or turn.person is person)

    def waits_of(self, address: str) -> int:
        """How many of those who come from an address wait for the hub."""
        return sum(1 for turn in self._waiting if turn.person.address == address)

    def accept(self, wish: Wish, at: Moment, in_use: Collection[str], note: Sentence | None) -> ChatMessage:
        """Take a message in, to be sent; ``note`` says why that may take a while. Raises TooManyRooms."""
        person = wish.person
        draft = Draft(
            room=wish.room,
            role=Role.USER,
            text=wish.text,
            time=at.wall,
            username=person.name,
            user_id=person.user_id,
            lang=wish.lang,
            state=State.SENDING,
            note=_told(note),
            private=wish.private,
            owner=person.browser,
        )
        message = self.rooms.post(draft, at.now, in_use, person.address)
        person.room, person.is_private = wish.room, wish.private
        deadline = at.now + self._settings.times.waiting
        turn = Turn(message.id, person, wish.room, wish.lang, wish.text, wish.private, deadline)
        self.turns.add(turn)
        self._waiting.append(turn)
        return message

    def next_outgoing(self, now: float = math.inf) -> Outgoing | None:
        """Take the question that is to be sent next. An address with many questions at the assistant waits, so that
        those of others are answered as soon as ever.
        """
        asking = self.turns.asking(now)
        for turn in list(self._waiting):
            if turn.is_open and asking[turn.person.address] >= ASKED_AT_ONCE:
                continue
            self._waiting.remove(turn)
            if turn.is_open:
                turn.is_sent = True  # what comes back may be quicker than the word that it has gone out
                session = {**turn.person.outgoing_session(), "site_id": turn.room, "lang": turn.lang}
                return Outgoing(turn, session)
        return None

    def sent(self, outgoing: Outgoing, at: Moment) -> Iterator[Change]:
        """It is on its way."""
        turn = outgoing.turn
        self.turns.sent(turn, at.now)
        if turn.is_open and not turn.replies and not turn.is_unmatched:
            yield from self._change(turn.id, State.SENT)

    def not_sent(self, outgoing: Outgoing) -> None:
        """It could not be sent now, and is the next again."""
        turn = outgoing.turn
        if turn.is_open and not turn.replies:
            turn.is_sent = False
            self._waiting.appendleft(turn)

    def refused(self, outgoing: Outgoing, why: Sentence) -> Iterator[Change]:
        """It can never be sent."""
        if outgoing.turn.is_open and not outgoing.turn.replies:
            yield from self._end(outgoing.turn, State.FAILED, why)

    def give_up(self, why: Sentence) -> Iterator[Change]:
        """Nothing that waits will be sent."""
        while self._waiting:
            turn = self._waiting.popleft()
            if turn.is_open:
                yield from self._end(turn, State.FAILED, why)

    def cut(self) -> None:
        """The link was lost: answers to what was sent may be, too."""
        for turn in self.turns.open_turns():
            turn.was_cut = turn.was_cut or turn.is_sent

    def due(self, at: Moment) -> Iterator[Change]:
        """Give up the questions whose time is over."""
        for turn in self.turns.due(at.now):
            if turn.replies or turn.is_unmatched:
                turn.is_open = False
            elif not turn.is_sent:
                self._waiting.remove(turn)
                yield from self._end(turn, State.FAILED, say("waited_too_long"))
            else:
                yield from self._end(turn, State.FAILED, say("link_lost" if turn.was_cut else "unanswered"))

    # --- what comes from the hub ---------------------------------------------------------------------------------

    def hear(self, incoming: Incoming, at: Moment) -> Iterator[Change]:
        """Take in what came from the hub."""
        turn = self.turns.answered_by(incoming.turn, incoming.session_id)
        if isinstance(incoming, Denied):
            yield from self._denied(incoming, turn)
            return
        yield from self._session(incoming, turn)
        if isinstance(incoming, (Spoken, Played)) and self._is_too_much(turn, at.now):
            return
        if isinstance(incoming, Spoken):
            yield from self._said(incoming.text, incoming, turn, at)
        elif isinstance(incoming, Played):
            for media in incoming.media:
                yield from self._said(str(media), incoming, turn, at, media)
        elif turn is not None and turn.is_open:
            end = _ENDS.get(type(incoming))
            if end is not None:
                yield from end(self, turn)

    def _is_too_much(self, turn: Turn | None, now: float) -> bool:
        is_too_much = self._saying.take(str(turn.id) if turn is not None else "", now) > 0
        self.dropped += is_too_much
        return is_too_much

    def _session(self, incoming: Incoming, turn: Turn | None) -> Iterator[Change]:
        person = self.people.of_session(incoming.session_id)
        if person is None or incoming.session is None:
            return
        asked_in = turn.lang if turn is not None and turn.person is person else person.lang
        person.remember(incoming.session)
        lang = _language(incoming.session.get("lang"))
        if lang and asked_in and not same_language(asked_in, lang) and person.lang == asked_in:
            person.lang = lang
            yield Speaks(person)

    def _said(
        self, text: str, incoming: Incoming, turn: Turn | None, at: Moment, media: Media | None = None
    ) -> Iterator[Change]:
        kind = Kind.TEXT if media is None else Kind.MEDIA
        lang = _language(getattr(incoming, "lang", ""))
        if turn is None:
            said = Draft("", Role.ASSISTANT, text, at.wall, kind, lang=lang, media=media)
            question = self.rooms.get(incoming.turn) if incoming.turn is not None else None
            if question is not None and question.role is Role.USER:
                yield from self._answered_late(said, question, at.now)
            else:
                yield from self._announced(said, incoming, at.now)
            return
        draft = Draft(
            turn.room,
            Role.ASSISTANT,
            text,
            at.wall,
            kind,
            lang=lang or turn.lang,
            reply_to=turn.id if self.rooms.get(turn.id) is not None else None,
            to=turn.person.name,
            private=turn.private,
            owner=turn.person.browser,
            media=media,
        )
        self.turns.heard(turn, at.now)
        if turn.replies == 1:
            yield from self._change(turn.id, State.ANSWERED)
        yield from self._post(draft, at.now)

    def _answered_late(self, draft: Draft, question: ChatMessage, now: float) -> Iterator[Change]:
        """Say something to a question that was asked before a restart, or many others ago."""
        if question.state is State.FAILED:
            yield from self._change(question.id, State.ANSWERED)
        addressed = replace(draft, room=question.room, reply_to=question.id, to=question.username)
        yield from self._post(replace(addressed, private=question.private, owner=question.owner), now)

    def _announced(self, draft: Draft, incoming: Incoming, now: float) -> Iterator[Change]:
        """Say something that answers no question."""
        kind = Kind.ANNOUNCEMENT if draft.media is None else Kind.MEDIA
        for room, person in self._announced_in(incoming):
            announced = replace(draft, room=room, kind=kind)
            if person is not None:
                private = person.is_private or self._settings.always_private
                announced = replace(announced, to=person.name, private=private, owner=person.browser)
            yield from self._post(announced, now)

    def _announced_in(self, incoming: Incoming) -> list[tuple[str, Person | None]]:
        """Where something is said that answers no question: to whom it names, at its site, else everywhere.

        What is for somebody who is not here, and may be for nobody else's eyes, is said nowhere.
        """
        names_only = bool(incoming.user) and incoming.turn is None and incoming.session_id in NOBODYS_SESSIONS
        person = self.people.of_session(incoming.session_id)
        if person is None and names_only:
            person = self.people.named(incoming.user)
        if person is not None:
            return [(person.room or self._settings.site_id, person)]
        is_somebodys = incoming.turn is not None or self.people.is_ours(incoming.session_id)
        if is_somebodys or (incoming.user and (not names_only or self._settings.always_private)):
            return []
        known = self.rooms.names()
        if incoming.site_id in known:
            return [(incoming.site_id, None)]
        return [(room, None) for room in known or [self._settings.site_id]]

    def _denied(self, denied: Denied, turn: Turn | None) -> Iterator[Change]:
        names_nobody = denied.turn is None and self.people.of_session(denied.session_id) is None
        if turn is None and names_nobody and denied.denied_type in UTTERANCES:
            turn = self.turns.last_sent()
        if turn is not None and turn.is_open and not turn.replies:
            yield from self._end(turn, State.DENIED, say("denied", reason=denied.reason, cure=denied.cure))

    def _handled(self, turn: Turn) -> Iterator[Change]:
        if turn.replies:
            turn.is_open = False
        elif turn.is_unmatched:
            yield from self._end(turn, State.FAILED, say("not_understood"))
        else:
            yield from self._end(turn, State.ANSWERED, say("nothing_said"))

    def _cancelled(self, turn: Turn) -> Iterator[Change]:
        if turn.replies:
            turn.is_open = False
        else:
            yield from self._end(turn, State.ANSWERED, say("cancelled"))

    def _unmatched(self, turn: Turn) -> Iterator[Change]:
        turn.is_unmatched = True
        if not turn.replies:
            yield from self._change(turn.id, State.FAILED, _told(say("not_understood")))

    # --- changes -------------------------------------------------------------------------------------------------

    def _end(self, turn: Turn, state: State, why: Sentence) -> Iterator[Change]:
        turn.is_open = False
        yield from self._change(turn.id, state, _told(why))

    def _change(self, number: int, state: State, note: str = "") -> Iterator[Change]:
        changed = self.rooms.change(number, state=state, note=note)
        if changed is not None:
            yield changed

    def _post(self, draft: Draft, now: float) -> Iterator[Change]:
        try:
            yield self.rooms.post(draft, now, self.rooms.names())
        except TooManyRooms:  # its room made way for another: nobody has been there for long
            return


_ENDS: dict[type[Incoming], Callable[[Conversation, Turn], Iterator[Change]]] = {
    Handled: Conversation._handled,
    Cancelled: Conversation._cancelled,
    Unmatched: Conversation._unmatched,
}


def _told(sentence: Sentence | None) -> str:
    return str(sentence) if sentence is not None else ""


def _language(value: Any) -> str:
    """Return a language tag in its usual spelling; empty for anything else."""
    try:
        return language_tag(value) if isinstance(value, str) else ""
    except Unfit:
        return ""
