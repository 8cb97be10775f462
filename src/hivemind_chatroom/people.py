"""Who is who: a person is a browser and a name. Pure; used under the lock of `chat`."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from .names import MAX_USER_NAME, name_key

IDLE_S = 600.0
"""After which a person who is not here makes room for another, when there are too many."""
NAMES_EACH = 16
"""Names that one browser may hold."""
ID = 16
"""Hex digits of a public id; a session has two of them."""
SHARE = 4
"""One address may hold this part of all names; once there are no more, who has more than that makes room."""

_NOT_KEPT = frozenset(
    {"session_id", "site_id", "pipeline", "location", "is_speaking", "is_recording"}
    | {"blacklisted_skills", "blacklisted_intents", "active_skills", "utterance_states"}
)
"""What the assistant's side decides anew each time, or the chatroom itself; the client sends the last two back when a
skill waits for an answer, and only then: OVOS would ask all of those skills first, each time."""


class TooManyPeople(Exception):
    """Every name there may be is in use."""


@dataclass
class Person:
    """One browser under one name."""

    browser: str = field(repr=False)
    name: str
    user_id: str
    session_id: str = field(repr=False)
    seen: float = 0.0
    """Last sign, in monotonic seconds."""
    room: str = ""
    """Where that was."""
    address: str = field(default="", repr=False)
    """Where it came from."""
    lang: str = ""
    """The language spoken with the assistant."""
    chosen_lang: str = ""
    """The one this person asked for; the assistant may have changed it since."""
    is_private: bool = False
    """The last message was for nobody else's eyes."""
    session: dict[str, Any] = field(default_factory=dict, repr=False)
    """What the assistant last said of this conversation, to be sent back."""

    def speaks(self, lang: str) -> None:
        """Note the language that came with a message: a new wish goes before what the assistant chose."""
        if lang != self.chosen_lang:
            self.chosen_lang = self.lang = lang

    def remember(self, session: dict[str, Any]) -> None:
        """Keep the assistant's changes of the conversation."""
        self.session = {key: value for key, value in session.items() if key not in _NOT_KEPT and value is not None}

    def outgoing_session(self) -> dict[str, Any]:
        """Return the OVOS session of this person's next message."""
        return {**self.session, "session_id": self.session_id, "site_id": self.room, "lang": self.lang}


class People:
    """Everybody, bounded. ``secret`` makes ids that nobody can guess, the same in every run."""

    def __init__(self, secret: bytes, most: int, held_s: float) -> None:
        self._secret = secret
        self._most = most
        self._held_s = held_s
        self._by_name: dict[str, Person] = {}
        self._by_session: dict[str, Person] = {}
        self._wishes: dict[tuple[str, str], Person] = {}

    def claim(self, browser: str, wanted: str, now: float, here: Collection[str] = (), address: str = "") -> Person:
        """Return the person that a browser is under a name, which others hold or not: then it gets a number.

        ``here`` are the user ids of those who are looking at a room, ``address`` is where the browser is. Raises
        TooManyPeople.
        """
        wish = (browser, name_key(wanted))
        person = self._wishes.get(wish) or self._of(browser, wanted)
        if person is None:
            self._make_way(browser, now, here, address)
            person = self._new(browser, self._free_name(wanted, now, here))
            self._wishes[wish] = person
        person.seen, person.address = now, address
        return person

    def knows(self, browser: str, name: str) -> bool:
        """Tell whether a browser has gone by a name, or wished to."""
        return (browser, name_key(name)) in self._wishes or self._of(browser, name) is not None

    def _of(self, browser: str, name: str) -> Person | None:
        found = self._by_name.get(name_key(name))
        return found if found is not None and found.browser == browser else None

    def _free_name(self, wanted: str, now: float, here: Collection[str]) -> str:
        name, number = wanted, 1
        while (holder := self._by_name.get(name_key(name))) is not None:
            if now - holder.seen > self._held_s and holder.user_id not in here:
                self._forget(holder)
                break
            number += 1
            numbered = f" {number}"
            name = wanted[: MAX_USER_NAME - len(numbered)].rstrip() + numbered
        return name

    def _new(self, browser: str, name: str) -> Person:
        key = name_key(name)
        person = Person(browser, name, self._digest("user", browser, key)[:ID], self._session_id(browser, key))
        self._by_name[key] = self._by_session[person.session_id] = person
        return person

    def _session_id(self, browser: str, key: str) -> str:
        """An id, and a seal that tells it from all others when its person is forgotten."""
        found = self._digest("session", browser, key)[:ID]
        return found + self._digest("seal", found)[:ID]

    def is_ours(self, session_id: str) -> bool:
        """Tell whether an OVOS session is of somebody who is or was here."""
        seal = self._digest("seal", session_id[:ID])[:ID]
        return hmac.compare_digest(session_id[ID:].encode("utf-8", "replace"), seal.encode())

    def _digest(self, *parts: str) -> str:
        return hmac.new(self._secret, "\0".join(parts).encode("utf-8", "replace"), "sha256").hexdigest()[:32]

    def _make_way(self, browser: str, now: float, here: Collection[str], address: str) -> None:
        own = [person for person in self._by_name.values() if person.browser == browser] if browser else []
        if len(own) >= NAMES_EACH:
            self._forget(min(own, key=lambda person: person.seen))
        if len(self._by_name) < self._most:
            return
        leaving = min(self._dispensable(now, here, address), key=lambda person: person.seen, default=None)
        if leaving is None:
            raise TooManyPeople
        self._forget(leaving)

    def _dispensable(self, now: float, here: Collection[str], address: str) -> list[Person]:
        """Those away, of whom one may go. An address with more than its share has to choose among its own, and gives
        way to others even for somebody who was here a moment ago: names cost nothing.
        """
        absent = [person for person in self._by_name.values() if person.user_id not in here]
        held = Counter(person.address for person in self._by_name.values())
        share = max(1, self._most // SHARE)
        away = [p for p in absent if now - p.seen > IDLE_S and (held[address] <= share or p.address == address)]
        [(greedy, number)] = held.most_common(1)
        if away or number <= max(share, held[address] + 1):
            return away
        return [person for person in absent if person.address == greedy]

    def _forget(self, person: Person) -> None:
        del self._by_name[name_key(person.name)]
        del self._by_session[person.session_id]
        self._wishes = {wish: who for wish, who in self._wishes.items() if who is not person}

    def of_session(self, session_id: str) -> Person | None:
        """Return whose conversation an OVOS session is."""
        return self._by_session.get(session_id)

    def ids_of(self, browser: str) -> list[str]:
        """Return the public ids of all that a browser is."""
        return [person.user_id for person in self._by_name.values() if browser and person.browser == browser]

    def named(self, name: str) -> Person | None:
        """Return who holds a name."""
        return self._by_name.get(name_key(name))
