"""The chatroom without sockets: clocks that stand still, a history in memory, messages as a hub sends them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hivemind_chatroom.chat import Chat, LinkState, Visitor
from hivemind_chatroom.conversation import Conversation, Moment, Wish
from hivemind_chatroom.incoming import Handled, Incoming, Spoken, Unmatched
from hivemind_chatroom.messages import ChatMessage, Draft, Role
from hivemind_chatroom.people import Person
from hivemind_chatroom.settings import Limits, Settings, Times
from hivemind_chatroom.streams import Stream

SECRET = b"a secret of the tests"
NOON = 1_700_000_000.0
"""The wall clock of a test at its beginning, Unix seconds."""
CONNECTED = LinkState("connected")
DOWN = LinkState("down", "The hub cannot be reached.", "Wait.")
REFUSED = LinkState("refused", "The key is wrong.", "Use the right one.")


class Clock:
    """Both clocks of a chatroom; they move only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOON + self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    @property
    def moment(self) -> Moment:
        return Moment(self.now, self.wall())


class MemoryKeeper:
    """A history that a test can read, and break."""

    def __init__(self, lines: Iterable[dict[str, Any]] = ()) -> None:
        self.lines = {line["id"]: line for line in lines}
        self.is_broken = False
        self.is_closed = False

    def load(self, each: int) -> list[dict[str, Any]]:
        return [self.lines[number] for number in sorted(self.lines)]

    def save(self, messages: Iterable[dict[str, Any]]) -> None:
        if self.is_broken:
            raise OSError("no space left on device")
        self.lines.update({line["id"]: json.loads(json.dumps(line)) for line in messages})

    def prune(self, each: int) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


def settings(**given: Any) -> Settings:
    """Settings with a known secret; those of `Limits` and `Times` may be given by their own names."""
    limits = {name: given.pop(name) for name in list(given) if name in Limits.__dataclass_fields__}
    times = {name: given.pop(name) for name in list(given) if name in Times.__dataclass_fields__}
    return Settings(secret=SECRET, limits=replace(Limits(), **limits), times=replace(Times(), **times), **given)


def chatroom(clock: Clock, keeper: MemoryKeeper | None = None, link: LinkState = CONNECTED, **given: Any) -> Chat:
    """A chatroom whose link stands."""
    chat = Chat(settings(**given), keeper, clock.monotonic, clock.wall)
    chat.set_link(link)
    return chat


def visitor(name: str, browser: str | None = None, address: str = "192.168.1.2") -> Visitor:
    """Somebody whose browser has their name, unless another is given."""
    return Visitor(f"browser of {name}" if browser is None else browser, name, address)


def draft(text: str = "hello", room: str = "flask", **given: Any) -> Draft:
    return Draft(**{"room": room, "role": Role.USER, "text": text, "time": NOON, "username": "alice", **given})


def converse(conversation: Conversation, clock: Clock, name: str, text: str, **given: Any) -> ChatMessage:
    """Let somebody ask; the message is accepted, not sent."""
    person = conversation.people.claim(f"browser of {name}", name, clock.now)
    wish = Wish(person, **{"room": "flask", "lang": "en", "text": text, "private": False, **given})
    person.speaks(wish.lang)
    return conversation.accept(wish, clock.moment, (), None)


def spoken(text: str, turn: int | None = None, person: Person | None = None, **given: Any) -> Spoken:
    """What the assistant says, to a question or to a person if one is named."""
    return Spoken(text, given.pop("lang", ""), **_addressed(turn, person), **given)


def handled(turn: int | None = None, person: Person | None = None) -> Handled:
    return Handled(**_addressed(turn, person))


def unmatched(turn: int | None = None, person: Person | None = None) -> Unmatched:
    return Unmatched(**_addressed(turn, person))


def _addressed(turn: int | None, person: Person | None) -> dict[str, Any]:
    return {"turn": turn, "session_id": person.session_id if person is not None else ""}


def send_all(chat: Chat) -> list[int]:
    """Do what the sender's thread does as long as there is something to send; return the numbers."""
    numbers = []
    while chat._conversation.waits():
        outgoing = chat.next_outgoing()
        assert outgoing is not None
        chat.sent(outgoing)
        numbers.append(outgoing.turn.id)
    return numbers


def hear(chat: Chat, *incoming: Incoming) -> None:
    for each in incoming:
        chat.hear(each)


def told(stream: Stream) -> list[tuple[str, Any, int | None]]:
    """All events that wait in a stream: name, data, number. The name of its end is "end"."""
    found: list[tuple[str, Any, int | None]] = []
    while (raw := stream.next(0)) != b"":
        if raw is None:
            return [*found, ("end", None, None)]
        for one in raw.decode().removesuffix("\n\n").split("\n\n"):
            fields = dict(line.split(": ", 1) for line in one.split("\n"))
            number = int(fields["id"]) if "id" in fields else None
            found.append((fields["event"], json.loads(fields["data"]), number))
    return found


def told_of(stream: Stream, name: str) -> list[Any]:
    """The data of all waiting events of one name."""
    return [data for each, data, _ in told(stream) if each == name]
