"""The chatroom itself: everything that happens goes through here, under one lock, and is told to who looks on.

Web requests come in threads of the server, messages from the hub in one thread of the client, time in one of its own.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from .conversation import Change, Conversation, Moment, Outgoing, Wish
from .incoming import Incoming
from .messages import ChatMessage, State, restored
from .names import Unfit, message_text
from .people import Person, TooManyPeople
from .rates import Buckets
from .rooms import IDLE_S, TooManyRooms
from .sentences import Sentence, say
from .settings import Settings
from .streams import Audience, Stream, event

log = logging.getLogger(__name__)

TICK_S = 0.5
TYPING_S = 6.0
"""After which somebody who has not typed on is typing no more."""
ADDRESS_RATE = 5
"""Times what one browser may send, one address may."""
ARRIVALS = 200
"""New names that one address may bring at once; one a second after that."""
FEW_ROOMS = 10
"""New rooms that one address may make at once in any case; half of all there may be, if that is more."""
SCRIPT = ""
"""The browser of those who carry no cookie."""


class TurnedAway(Exception):
    """A request cannot be served; the sentence says why, and what to do about it."""

    def __init__(self, why: Sentence | Unfit, status: int, retry_after_s: float = 0.0) -> None:
        self.code = why.code
        self.message = why.text if isinstance(why, Sentence) else why.message
        self.cure = why.cure
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(self.message)


@dataclass(frozen=True)
class LinkState:
    """How it stands with the hub."""

    state: str
    """connecting, connected, down or refused."""
    text: str = ""
    cure: str = ""

    @property
    def is_up(self) -> bool:
        """Messages can be sent."""
        return self.state == "connected"

    @property
    def is_refused(self) -> bool:
        """It will not come up by itself."""
        return self.state == "refused"

    def as_dict(self) -> dict[str, str]:
        """Return it ready for JSON."""
        return {"state": self.state, "text": self.text, "cure": self.cure}


class Keeper(Protocol):
    """What keeps the rooms when the chatroom is not running; see `history.History`."""

    def load(self, each: int) -> list[dict[str, Any]]: ...
    def save(self, messages: Iterable[dict[str, Any]]) -> None: ...
    def prune(self, each: int) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Visitor:
    """Who asks: the browser, the name it goes by, and where from."""

    browser: str
    name: str
    address: str


class Chat:
    """Rooms, people, and the link to the hub. Every method may be called from any thread."""

    def __init__(
        self,
        settings: Settings,
        history: Keeper | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.secret = settings.secret or secrets.token_bytes(32)
        self._clocks = monotonic, wall
        self._lock = threading.Lock()
        self._outgoing = threading.Condition(self._lock)
        limits = settings.limits
        self._conversation = Conversation(settings, self.secret, int(wall() * 1000))
        self._audience = Audience(limits.streams, limits.streams_each)
        rate = limits.messages_a_minute / 60
        burst = max(1.0, limits.messages_a_minute / 3)
        self._browser_rate = Buckets(rate, burst)
        self._address_rate = Buckets(rate * ADDRESS_RATE, burst * ADDRESS_RATE)
        self._typing_rate = Buckets(2.0, 10.0)
        self._address_typing_rate = Buckets(2.0 * ADDRESS_RATE, 10.0 * ADDRESS_RATE)
        self._arrivals = Buckets(1.0, ARRIVALS)
        new_rooms = max(FEW_ROOMS, limits.rooms / 2)
        self._new_rooms = Buckets(new_rooms / IDLE_S, new_rooms)
        self._typing: dict[str, tuple[str, str, float]] = {}
        self._moved: set[str] = set()
        self._link = LinkState("connecting", say("hub_connecting").text, say("hub_connecting").cure)
        self._history = history
        self._unsaved: dict[int, ChatMessage] = {}
        self._stopping = threading.Event()
        self._ticker = threading.Thread(target=self._ticks, name="chatroom-clock", daemon=True)
        if history is not None:
            self._restore(history)

    # --- for the web ---------------------------------------------------------------------------------------------

    @property
    def link(self) -> LinkState:
        """How it stands with the hub."""
        return self._link

    def enter(self, visitor: Visitor, room: str, lang: str) -> Person:
        """Let somebody come into a room. Raises TurnedAway."""
        with self._lock:
            person = self._claim(visitor)
            person.room = room
            person.speaks(lang)
            return person

    def post(self, visitor: Visitor, room: str, lang: str, text: str, private: bool = False) -> ChatMessage:
        """Accept a message for the assistant and the room. Raises TurnedAway."""
        private = private or self.settings.always_private
        try:
            text = message_text(text, self.settings.limits.message_length)
        except Unfit as error:
            raise TurnedAway(error, 413 if error.code == "too_long" else 400) from None
        if private and visitor.browser == SCRIPT:
            raise TurnedAway(say("private_needs_cookies"), 400)
        with self._lock:
            self._ration(visitor)
            self._check_link()
            self._check_room(visitor, room)
            person = self._claim(visitor)
            self._check_queue(person)
            person.speaks(lang)
            note = None if self._link.is_up else say("waiting_for_hub")
            wish = Wish(person, room, person.lang, text, private)
            try:
                message = self._conversation.accept(wish, self._now(), self._audience.rooms, note)
            except TooManyRooms:
                raise TurnedAway(say("too_many_rooms"), 503) from None
            self._types(person, None)
            self._tell([message])
            self._outgoing.notify()
            return message

    def messages(self, browser: str, room: str | None, since: int, limit: int) -> list[ChatMessage]:
        """Return what a browser may see, oldest first: of a room, or of all; newer than a number."""
        with self._lock:
            return self._since(browser, room, since, limit)

    def newest(self) -> int:
        """Return the number of the last change anywhere."""
        with self._lock:
            return self._conversation.rooms.newest

    def listen(self, visitor: Visitor, room: str, since: int) -> Stream:
        """Open an event stream, with what happened after a number in it already. Raises TurnedAway."""
        with self._lock:
            if self._stopping.is_set() or not self._audience.has_place_for(visitor.address):
                raise TurnedAway(say("no_streams"), 503, 30)
            person = self._claim(visitor)
            person.room = person.room or room
            stream = Stream(visitor.browser, person.user_id, person.name, room)
            stream.put(event("hello", self._status(visitor.browser, room)))
            if since > self._conversation.rooms.newest:
                stream.put(event("reset", {}))
                since = 0
            missed = self._since(visitor.browser, room, since, self.settings.limits.history)
            for message in sorted(missed, key=lambda line: line.seq):  # wherever it breaks off, it can be resumed
                stream.put(message)
            self._audience.add(stream, visitor.address)
            self._moved.add(room)
            return stream

    def leave(self, stream: Stream) -> None:
        """Note that a stream is no longer read."""
        with self._lock:
            stream.end()
            self._audience.remove(stream)
            self._moved.add(stream.room)

    def typing(self, visitor: Visitor, room: str, is_typing: bool) -> None:
        """Note that somebody types, or no more. Raises TurnedAway."""
        if self.settings.always_private:
            return
        with self._lock:
            now = self._now().now
            if self._typing_rate.take(visitor.browser or visitor.address, now):
                return
            if self._address_typing_rate.take(visitor.address, now):
                return
            self._types(self._claim(visitor), room if is_typing else None)

    def status(self, browser: str, room: str) -> dict[str, Any]:
        """Return what a page shows besides messages."""
        with self._lock:
            return self._status(browser, room)

    # --- for the hive --------------------------------------------------------------------------------------------

    def next_outgoing(self) -> Outgoing | None:
        """Wait until there is a message to send and a link to send it by, and return it; None at the end."""
        with self._lock:
            while not self._stopping.is_set():
                found = self._conversation.next_outgoing(self._now().now) if self._link.is_up else None
                if found is not None:
                    return found
                self._outgoing.wait(TICK_S if self._conversation.waits() else None)  # some wait for their turn
            return None

    def sent(self, outgoing: Outgoing) -> None:
        """Note that a message was sent."""
        with self._lock:
            self._tell(self._conversation.sent(outgoing, self._now()))

    def not_sent(self, outgoing: Outgoing) -> None:
        """Note that a message could not be sent for now."""
        with self._lock:
            self._conversation.not_sent(outgoing)
            self._give_up_if_refused()

    def refuse(self, outgoing: Outgoing, detail: str) -> None:
        """Note that a message can never be sent."""
        with self._lock:
            self._tell(self._conversation.refused(outgoing, say("not_sent", detail=detail)))

    def hear(self, incoming: Incoming) -> None:
        """Take in what came from the hub."""
        with self._lock:
            self._tell(self._conversation.hear(incoming, self._now()))
            self._outgoing.notify()

    def set_link(self, link: LinkState) -> None:
        """Note how it stands with the hub."""
        with self._lock:
            if link == self._link:
                return
            if self._link.is_up:
                self._conversation.cut()
            self._link = link
            self._give_up_if_refused()
            self._audience.tell(event("link", link.as_dict()))
            self._outgoing.notify_all()

    # --- time ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Let time pass."""
        self._ticker.start()

    def stop(self) -> None:
        """End the streams and keep what is to be kept."""
        with self._lock:
            if self._stopping.is_set():
                return
            self._stopping.set()
            self._audience.end(event("bye", {}))
            self._outgoing.notify_all()
        if self._ticker.is_alive():
            self._ticker.join(5)
        if self._history is not None:
            try:
                self._save()
            finally:
                self._history.close()

    def tick(self) -> None:
        """Do what is due."""
        with self._lock:
            at = self._now()
            self._tell(self._conversation.due(at))
            dropped, self._conversation.dropped = self._conversation.dropped, 0
            for user_id, (room, name, until) in list(self._typing.items()):
                if at.now >= until:
                    del self._typing[user_id]
                    self._tell_typing(room, user_id, name, False)
            for room in self._moved:
                self._audience.tell(event("people", self._audience.people(room)), room=room)
            self._moved.clear()
        if dropped:
            log.warning("the assistant says too much at once: %d messages of it were dropped", dropped)
        if self._history is not None:
            self._save()

    def _ticks(self) -> None:
        while not self._stopping.wait(TICK_S):
            try:
                self.tick()
            except Exception:  # top of a thread
                log.exception("the chatroom's clock tick failed")

    # --- under the lock ------------------------------------------------------------------------------------------

    def _now(self) -> Moment:
        monotonic, wall = self._clocks
        return Moment(monotonic(), wall())

    def _claim(self, visitor: Visitor) -> Person:
        people, now = self._conversation.people, self._now().now
        if not people.knows(visitor.browser, visitor.name):
            self._take(self._arrivals, visitor.address)
        try:
            return people.claim(visitor.browser, visitor.name, now, self._audience.present, visitor.address)
        except TooManyPeople:
            raise TurnedAway(say("too_many_users"), 503) from None

    def ration(self, tries: Buckets, who: str) -> None:
        """Count a try. Raises TurnedAway when there were too many."""
        with self._lock:
            self._take(tries, who)

    def _take(self, tries: Buckets, who: str) -> None:
        wait_s = tries.take(who, self._now().now)
        if wait_s:
            raise TurnedAway(say("rate_limited", seconds=wait_s), 429, wait_s)

    def _ration(self, visitor: Visitor) -> None:
        self._take(self._browser_rate, visitor.browser or f"{visitor.address} {visitor.name}")
        self._take(self._address_rate, visitor.address)

    def _check_link(self) -> None:
        if self._stopping.is_set():
            raise TurnedAway(say("stopping"), 503, 10)
        if self._link.is_refused:
            raise TurnedAway(Sentence("refused", self._link.text, self._link.cure), 503)

    def _give_up_if_refused(self) -> None:
        if self._link.is_refused:
            self._tell(self._conversation.give_up(Sentence("refused", self._link.text, self._link.cure)))

    def _check_room(self, visitor: Visitor, room: str) -> None:
        if room not in self._conversation.rooms.names():
            self._take(self._new_rooms, visitor.address)

    def _check_queue(self, person: Person) -> None:
        limits, conversation = self.settings.limits, self._conversation
        if (
            conversation.waits() >= limits.waiting
            or conversation.waits_of(person.address) >= max(limits.waiting // 2, limits.waiting_each)
            or conversation.waits(person) >= limits.waiting_each
        ):
            raise TurnedAway(say("queue_full"), 503, 10)

    def _since(self, browser: str, room: str | None, since: int, limit: int) -> list[ChatMessage]:
        rooms = self._conversation.rooms
        return rooms.since(room, 0 if since > rooms.newest else since, browser, limit)

    def _status(self, browser: str, room: str) -> dict[str, Any]:
        return {
            "room": room,
            "link": self._link.as_dict(),
            "people": self._audience.people(room),
            "typing": [name for where, name, _ in self._typing.values() if where == room],
            "you": self._conversation.people.ids_of(browser),
        }

    def _tell(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, ChatMessage):
                self._audience.changed(change)
                if self._history is not None:
                    self._unsaved[change.id] = change
            else:
                person = change.person
                if person.user_id in self._audience.present:  # the page learns of it, and sends it from now on
                    person.chosen_lang = person.lang
                told = event("you", {"user_id": person.user_id, "lang": person.lang})
                self._audience.tell(told, browser=person.browser)

    def _types(self, person: Person, room: str | None) -> None:
        before = self._typing.pop(person.user_id, None)
        if before is not None and before[0] != room:
            self._tell_typing(before[0], person.user_id, before[1], False)
        if room is None:
            return
        self._typing[person.user_id] = (room, person.name, self._now().now + TYPING_S)
        if before is None or before[0] != room:
            self._tell_typing(room, person.user_id, person.name, True)

    def _tell_typing(self, room: str, user_id: str, name: str, is_typing: bool) -> None:
        self._audience.tell(event("typing", {"user_id": user_id, "username": name, "typing": is_typing}), room=room)

    # --- what is kept --------------------------------------------------------------------------------------------

    def _restore(self, history: Keeper) -> None:
        rooms = self._conversation.rooms
        rooms.restore(filter(None, map(_readable, history.load(self.settings.limits.history))))
        for message in list(rooms.all()):
            if message.state in (State.SENDING, State.SENT):
                changed = rooms.change(message.id, state=State.FAILED, note=str(say("restarted")))
                if changed is not None:
                    self._unsaved[changed.id] = changed

    def _save(self) -> None:
        with self._lock:
            unsaved, self._unsaved = self._unsaved, {}
        if not unsaved or self._history is None:
            return
        try:
            self._history.save([message.stored() for message in unsaved.values()])
        except Exception:
            with self._lock:
                kept = {number: line for number, line in unsaved.items() if self._conversation.rooms.get(number)}
                self._unsaved = {**kept, **self._unsaved}
            raise
        self._history.prune(self.settings.limits.history)


def _readable(stored: dict[str, Any]) -> ChatMessage | None:
    try:
        return restored(stored)
    except (KeyError, TypeError, ValueError):
        log.warning("a line of the history cannot be read and is left out")
        return None
