"""The chatroom as a whole, from several threads: limits, streams, typing, the link, what is kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from helpers.chatroom_core import (
    CONNECTED,
    DOWN,
    NOON,
    REFUSED,
    Clock,
    MemoryKeeper,
    chatroom,
    handled,
    hear,
    send_all,
    settings,
    spoken,
    told,
    told_of,
    visitor,
)
from hivemind_chatroom.chat import ADDRESS_RATE, ARRIVALS, TYPING_S, Chat, LinkState, TurnedAway
from hivemind_chatroom.conversation import SAID_AT_ONCE, Outgoing
from hivemind_chatroom.messages import ChatMessage, State
from hivemind_chatroom.people import IDLE_S, Person
from hivemind_chatroom.sentences import say
from hivemind_chatroom.settings import Settings
from hivemind_chatroom.streams import MOST_WAITING, Stream

WAIT_S = 60.0
MUCH = {"messages_a_minute": 1_000_000}


@pytest.fixture
def clock() -> Clock:
    return Clock()


def post(chat: Chat, name: str, text: str = "hello", room: str = "flask", **given: Any) -> ChatMessage:
    private = given.pop("private", False)
    return chat.post(visitor(name, **given), room, "en", text, private)


def person_of(chat: Chat, name: str) -> Person:
    person = chat._conversation.people.named(name)
    assert person is not None
    return person


def refusal(call: Callable[..., object], *args: Any, **given: Any) -> TurnedAway:
    with pytest.raises(TurnedAway) as caught:
        call(*args, **given)
    return caught.value


def state(chat: Chat, number: int) -> State:
    found = chat._conversation.rooms.get(number)
    assert found is not None
    return found.state


def texts(chat: Chat, browser: str, room: str | None = None, since: int = 0, limit: int = 10**6) -> list[str]:
    return [message.text for message in chat.messages(browser, room, since, limit)]


# --- posting -----------------------------------------------------------------------------------------------------


def test_a_message_is_accepted_sent_and_answered(clock: Clock) -> None:
    chat = chatroom(clock)
    number = post(chat, "alice", "what time is it").id
    assert send_all(chat) == [number]
    assert state(chat, number) is State.SENT
    hear(chat, spoken("noon", number), handled(number))
    assert [message.message for message in chat.messages("", "flask", 0, 10)] == ["what time is it", "@alice - noon"]


def test_numbers_begin_with_the_time(clock: Clock) -> None:
    assert post(chatroom(clock), "alice").id == (NOON + 1000) * 1000 + 1


def test_without_a_link_a_message_is_accepted_and_waits(clock: Clock) -> None:
    chat = chatroom(clock, link=DOWN)
    message = post(chat, "alice")
    assert (message.state, message.note) == (State.SENDING, str(say("waiting_for_hub")))
    chat.set_link(CONNECTED)
    assert send_all(chat) == [message.id]


def test_a_message_that_cannot_be_sent_for_now_is_not_lost(clock: Clock) -> None:
    chat = chatroom(clock)
    first, second = post(chat, "alice").id, post(chat, "bob").id
    outgoing = chat.next_outgoing()
    assert outgoing is not None
    chat.not_sent(outgoing)
    assert send_all(chat) == [first, second]


def test_a_message_that_can_never_be_sent_has_failed(clock: Clock) -> None:
    chat = chatroom(clock)
    number = post(chat, "alice").id
    outgoing = chat.next_outgoing()
    assert outgoing is not None
    chat.refuse(outgoing, "it is too large")
    assert state(chat, number) is State.FAILED


@pytest.mark.parametrize(
    ("text", "code", "status"), [("", "empty", 400), (" \n\u200b", "empty", 400), ("x" * 11, "too_long", 413)]
)
def test_a_message_is_neither_empty_nor_too_long(clock: Clock, text: str, code: str, status: int) -> None:
    turned = refusal(post, chatroom(clock, message_length=10), "alice", text)
    assert (turned.code, turned.status) == (code, status)


def test_after_a_refusal_for_good_nothing_is_accepted(clock: Clock) -> None:
    chat = chatroom(clock, link=DOWN)
    waiting = post(chat, "alice").id
    chat.set_link(REFUSED)
    assert state(chat, waiting) is State.FAILED
    turned = refusal(post, chat, "alice")
    assert (turned.code, turned.status, turned.message) == ("refused", 503, REFUSED.text)


def test_what_was_in_hand_when_the_hub_refused_has_failed(clock: Clock) -> None:
    chat = chatroom(clock)
    number = post(chat, "alice").id
    outgoing = chat.next_outgoing()
    assert outgoing is not None
    chat.set_link(REFUSED)
    chat.not_sent(outgoing)
    assert state(chat, number) is State.FAILED


def test_what_comes_too_fast_is_turned_away_and_told_how_long(clock: Clock) -> None:
    chat = chatroom(clock, messages_a_minute=6)
    for _ in range(2):
        post(chat, "alice")
    turned = refusal(post, chat, "alice")
    assert (turned.code, turned.status, turned.retry_after_s) == ("rate_limited", 429, pytest.approx(10))
    post(chat, "bob")
    clock.advance(10)
    post(chat, "alice")


def test_one_browser_has_one_rate_under_all_its_names(clock: Clock) -> None:
    chat = chatroom(clock, messages_a_minute=6)
    for name in ("alice", "al"):
        post(chat, name, browser="one")
    assert refusal(post, chat, "ally", browser="one").status == 429


def test_one_address_has_a_rate_too(clock: Clock) -> None:
    chat = chatroom(clock, messages_a_minute=6, waiting=1000)
    for number in range(2 * ADDRESS_RATE):
        post(chat, f"script {number}", browser="")
    assert refusal(post, chat, "another script", browser="").status == 429
    post(chat, "bob", address="192.168.1.3")


def test_one_noisy_browser_does_not_use_up_the_rate_of_its_address(clock: Clock) -> None:
    chat = chatroom(clock, messages_a_minute=6)
    for _ in range(100):
        try:
            post(chat, "noisy")
        except TurnedAway:
            continue
    post(chat, "quiet")


def test_so_many_messages_wait(clock: Clock) -> None:
    chat = chatroom(clock, link=DOWN, waiting=3, waiting_each=2, **MUCH)
    for name in ("alice", "alice"):
        post(chat, name)
    assert refusal(post, chat, "alice").code == "queue_full"
    assert refusal(post, chat, "bob").status == 503  # the address has its part
    post(chat, "bob", address="192.168.1.3")
    assert refusal(post, chat, "carol", address="192.168.1.4").status == 503
    chat.set_link(CONNECTED)
    send_all(chat)
    post(chat, "carol")


def test_so_many_rooms(clock: Clock) -> None:
    chat = chatroom(clock, rooms=1)
    post(chat, "alice")
    assert (refusal(post, chat, "bob", room="kitchen").code, refusal(post, chat, "bob", room="b").status) == (
        "too_many_rooms",
        503,
    )
    clock.advance(IDLE_S + 1)
    stream = chat.listen(visitor("alice"), "flask", 0)
    assert refusal(post, chat, "bob", room="kitchen").code == "too_many_rooms"
    chat.leave(stream)
    post(chat, "bob", room="kitchen")


def test_one_address_makes_half_of_the_rooms_at_most(clock: Clock) -> None:
    chat = chatroom(clock, rooms=40, waiting=1000, waiting_each=1000, **MUCH)
    for number in range(20):
        post(chat, "alice", room=f"room {number}")
    assert refusal(post, chat, "alice", room="one more").status == 429
    post(chat, "alice", room="room 3")
    post(chat, "bob", room="one more", address="192.168.1.3")
    post(chat, "alice", room="one more")


def test_so_many_people_and_those_who_look_on_stay(clock: Clock) -> None:
    chat = chatroom(clock, users=2)
    chat.listen(visitor("alice"), "flask", 0)
    post(chat, "bob")
    assert refusal(post, chat, "carol").code == "too_many_users"
    clock.advance(IDLE_S + 1)
    post(chat, "carol")
    assert {entry["username"] for entry in chat.status("", "flask")["people"]} == {"alice"}
    assert chat.enter(visitor("alice"), "flask", "en").name == "alice"


def test_one_address_brings_so_many_new_names_at_once(clock: Clock) -> None:
    chat = chatroom(clock, users=10_000)
    for number in range(ARRIVALS):
        chat.enter(visitor(f"n{number}"), "flask", "en")
    assert refusal(chat.enter, visitor("one more"), "flask", "en").status == 429
    chat.enter(visitor("n0"), "flask", "en")
    chat.enter(visitor("elsewhere", address="192.168.1.3"), "flask", "en")


def test_a_private_message_is_seen_by_its_browser_only(clock: Clock) -> None:
    chat = chatroom(clock)
    streams = {name: chat.listen(visitor(name), "flask", 0) for name in ("alice", "bob")}
    script = chat.listen(visitor("script", browser=""), "flask", 0)
    number = post(chat, "alice", "secret question", private=True).id
    send_all(chat)
    hear(chat, spoken("secret answer", number))
    chat.tick()
    everything = [told(streams["bob"]), told(script), chat.status("browser of bob", "flask")]
    for browser in ("browser of bob", ""):
        everything += [message.as_dict() for message in chat.messages(browser, None, 0, 99)]
        late = chat.listen(visitor("late", browser=browser), "flask", 0)
        everything.append(told(late))  # type: ignore[arg-type]
    assert "secret" not in json.dumps(everything)
    assert texts(chat, "browser of alice") == ["secret question", "secret answer"]
    assert [m["text"] for m in told_of(streams["alice"], "message")][-1] == "secret answer"


def test_a_private_message_needs_a_browser(clock: Clock) -> None:
    assert refusal(post, chatroom(clock), "script", browser="", private=True).code == "private_needs_cookies"


def test_where_all_is_private_nobody_need_ask(clock: Clock) -> None:
    chat = chatroom(clock, always_private=True)
    assert post(chat, "alice").private
    assert texts(chat, "browser of bob") == []


def test_since_a_number_nobody_knows_everything_is_told(clock: Clock) -> None:
    chat = chatroom(clock)
    post(chat, "alice")
    assert texts(chat, "", since=chat.newest()) == []
    assert texts(chat, "", since=chat.newest() + 1) == ["hello"]


# --- streams -----------------------------------------------------------------------------------------------------


def test_a_stream_begins_with_how_things_stand_and_what_was_missed(clock: Clock) -> None:
    chat = chatroom(clock)
    first, second = post(chat, "alice", "one").id, post(chat, "alice", "two").id
    events = told(chat.listen(visitor("bob"), "flask", first))
    assert [(name, number) for name, _, number in events] == [("hello", None), ("message", second)]
    hello = events[0][1]
    assert hello == {
        "room": "flask",
        "link": {"state": "connected", "text": "", "cure": ""},
        "people": [],
        "typing": [],
        "you": [person_of(chat, "bob").user_id],
    }


def test_a_stream_is_told_every_change(clock: Clock) -> None:
    chat = chatroom(clock)
    stream = chat.listen(visitor("bob"), "flask", 0)
    number = post(chat, "alice").id
    send_all(chat)
    hear(chat, spoken("hi", number))
    found = [(data["id"], data["seq"], data["state"]) for name, data, _ in told(stream) if name == "message"]
    assert found == [
        (number, number, "sending"),
        (number, number + 1, "sent"),
        (number, number + 2, "answered"),
        (number + 3, number + 3, ""),
    ]


def test_a_stream_can_be_resumed_after_each_of_its_events(clock: Clock) -> None:
    chat = chatroom(clock)
    numbers = [post(chat, "alice", text).id for text in "abc"]
    send_all(chat)
    hear(chat, *(spoken(f"to {number}", number) for number in reversed(numbers)))
    whole = {m.id: m.seq for m in chat.messages("", "flask", 0, 99)}
    events = [event for event in told(chat.listen(visitor("bob"), "flask", 0)) if event[0] == "message"]
    for cut in range(len(events) + 1):
        seen = {data["id"]: data["seq"] for _, data, _ in events[:cut]}
        last = events[cut - 1][2] if cut else 0
        rest = told_of(chat.listen(visitor("bob"), "flask", last or 0), "message")
        assert {**seen, **{data["id"]: data["seq"] for data in rest}} == whole


def test_after_a_number_of_the_future_a_stream_begins_anew(clock: Clock) -> None:
    chat = chatroom(clock)
    post(chat, "alice")
    events = told(chat.listen(visitor("bob"), "flask", chat.newest() + 1))
    assert [name for name, _, _ in events] == ["hello", "reset", "message"]


def test_so_many_streams(clock: Clock) -> None:
    chat = chatroom(clock, streams=3, streams_each=2)
    first = chat.listen(visitor("alice"), "flask", 0)
    chat.listen(visitor("alice"), "flask", 0)
    assert refusal(chat.listen, visitor("alice"), "flask", 0).status == 503
    chat.listen(visitor("bob", address="192.168.1.3"), "flask", 0)
    turned = refusal(chat.listen, visitor("carol", address="192.168.1.4"), "flask", 0)
    assert (turned.code, turned.retry_after_s) == ("no_streams", 30)
    chat.leave(first)
    chat.leave(first)
    chat.listen(visitor("carol", address="192.168.1.4"), "flask", 0)


def test_a_slow_stream_ends_and_is_resumed_without_loss(clock: Clock) -> None:
    chat = chatroom(clock, history=4 * MOST_WAITING, waiting=10**6, waiting_each=10**6, **MUCH)
    slow = chat.listen(visitor("slow"), "flask", 0)
    sent = [post(chat, "alice", str(number)).id for number in range(3 * MOST_WAITING)]
    seen: list[int] = []
    streams = 0
    while len(seen) < len(sent) and streams < 99:
        streams += 1
        events = told(slow)
        seen += [data["id"] for name, data, _ in events if name == "message"]
        assert len(events) <= MOST_WAITING + 1
        chat.leave(slow)
        slow = chat.listen(visitor("slow"), "flask", seen[-1])
    assert seen == sent
    assert streams > 2


def test_those_who_come_and_go_are_told_of(clock: Clock) -> None:
    chat = chatroom(clock)
    alice = chat.listen(visitor("alice"), "flask", 0)
    bob = chat.listen(visitor("bob"), "flask", 0)
    chat.tick()
    assert [[one["username"] for one in people] for people in told_of(alice, "people")] == [["alice", "bob"]]
    chat.leave(bob)
    chat.tick()
    chat.tick()
    assert [[one["username"] for one in people] for people in told_of(alice, "people")] == [["alice"]]


def test_who_takes_the_name_of_another_is_shown_with_a_number(clock: Clock) -> None:
    chat = chatroom(clock)
    chat.listen(visitor("alice"), "flask", 0)
    other = chat.listen(visitor("alice", browser="another"), "flask", 0)
    assert other.username == "alice 2"
    assert post(chat, "alice", browser="another").username == "alice 2"


def test_many_post_while_many_listen(clock: Clock) -> None:
    chat = chatroom(clock, streams_each=1000, waiting=10**6, waiting_each=10**6, **MUCH)
    posters, listeners, each = 8, 12, 30
    total = posters * each
    stop = threading.Event()

    def say_much(name: str) -> list[int]:
        return [post(chat, name, f"{name} {number}").id for number in range(each)]

    def listen(number: int) -> list[int]:
        """Reads, goes away every so often, and comes back for what was missed."""
        who, seen, last = visitor(f"listener {number}"), [], 0
        while len(seen) < total and not stop.is_set():
            stream = chat.listen(who, "flask", last)
            for _ in range(1 + number % 3):
                lines = read(stream)
                seen += lines
                last = max([last, *lines])
            chat.leave(stream)
        return seen

    def read(stream: Stream) -> list[int]:
        raw = stream.next(0.2) or b""
        return [int(line[4:]) for line in raw.decode().split("\n") if line.startswith("id: ")]

    with ThreadPoolExecutor(posters + listeners) as pool:
        watching = [pool.submit(listen, number) for number in range(listeners)]
        try:
            posted = sorted(number for one in pool.map(say_much, map(str, range(posters))) for number in one)
            found = [one.result(WAIT_S) for one in watching]
        finally:
            stop.set()
    assert len(set(posted)) == total
    assert all(one == posted for one in found)
    assert len(chat._audience) == 0


# --- typing ------------------------------------------------------------------------------------------------------


def typed(stream: Stream) -> list[tuple[str, bool]]:
    return [(data["username"], data["typing"]) for data in told_of(stream, "typing")]


def test_who_types_is_told_once_until_they_stop(clock: Clock) -> None:
    chat = chatroom(clock)
    stream = chat.listen(visitor("bob"), "flask", 0)
    for is_typing in (False, True, True, False, False):
        chat.typing(visitor("alice"), "flask", is_typing)
    assert typed(stream) == [("alice", True), ("alice", False)]


def test_who_does_not_type_on_types_no_more(clock: Clock) -> None:
    chat = chatroom(clock)
    stream = chat.listen(visitor("bob"), "flask", 0)
    chat.typing(visitor("alice"), "flask", True)
    assert chat.status("", "flask")["typing"] == ["alice"]
    assert chat.status("", "kitchen")["typing"] == []
    clock.advance(TYPING_S)
    chat.tick()
    chat.tick()
    assert typed(stream) == [("alice", True), ("alice", False)]
    assert chat.status("", "flask")["typing"] == []


@pytest.mark.parametrize("private", [False, True])
def test_who_has_sent_types_no_more(clock: Clock, private: bool) -> None:
    chat = chatroom(clock)
    stream = chat.listen(visitor("bob"), "flask", 0)
    chat.typing(visitor("alice"), "flask", True)
    post(chat, "alice", private=private)
    assert typed(stream) == [("alice", True), ("alice", False)]


def test_who_goes_on_in_another_room_types_there(clock: Clock) -> None:
    chat = chatroom(clock)
    flask, kitchen = (chat.listen(visitor("bob"), room, 0) for room in ("flask", "kitchen"))
    for room in ("flask", "kitchen"):
        chat.typing(visitor("alice"), room, True)
    assert typed(flask) == [("alice", True), ("alice", False)]
    assert typed(kitchen) == [("alice", True)]


def test_typing_too_fast_is_not_told(clock: Clock) -> None:
    chat = chatroom(clock)
    stream = chat.listen(visitor("bob"), "flask", 0)
    for number in range(100):
        chat.typing(visitor("alice"), "flask", number % 2 == 0)
    assert len(typed(stream)) <= 10


# --- the link and the language -----------------------------------------------------------------------------------


def test_everybody_is_told_how_it_stands_with_the_hub(clock: Clock) -> None:
    chat = chatroom(clock, link=LinkState("connecting"))
    stream = chat.listen(visitor("bob"), "flask", 0)
    for link in (CONNECTED, CONNECTED, DOWN, CONNECTED):
        chat.set_link(link)
    assert [link["state"] for link in told_of(stream, "link")] == ["connected", "down", "connected"]
    assert chat.link.is_up


def test_an_answer_that_was_lost_with_the_link_is_said_to_be(clock: Clock) -> None:
    chat = chatroom(clock)
    number = post(chat, "alice").id
    send_all(chat)
    chat.set_link(DOWN)
    chat.set_link(CONNECTED)
    clock.advance(45)
    chat.tick()
    [line] = chat.messages("", None, 0, 9)
    assert (line.id, line.note) == (number, str(say("link_lost")))


def in_portuguese(chat: Chat, name: str) -> None:
    number = post(chat, name).id
    send_all(chat)
    person = person_of(chat, name)
    hear(chat, spoken("olá", number, person, session={"lang": "pt-PT"}))


def test_who_is_spoken_to_in_another_language_is_told(clock: Clock) -> None:
    chat = chatroom(clock)
    alice, bob = (chat.listen(visitor(name), "flask", 0) for name in ("alice", "bob"))
    in_portuguese(chat, "alice")
    assert told_of(alice, "you") == [{"user_id": person_of(chat, "alice").user_id, "lang": "pt-PT"}]
    assert told_of(bob, "you") == []


def test_the_assistants_language_stays_until_another_is_wished_for(clock: Clock) -> None:
    chat = chatroom(clock)
    in_portuguese(chat, "alice")
    assert post(chat, "alice").lang == "pt-PT"
    assert chat.post(visitor("alice"), "flask", "de", "hallo").lang == "de"


def test_who_was_told_of_the_language_can_wish_for_the_old_one(clock: Clock) -> None:
    chat = chatroom(clock)
    chat.listen(visitor("alice"), "flask", 0)
    in_portuguese(chat, "alice")
    assert chat.enter(visitor("alice"), "flask", "pt-PT").lang == "pt-PT"
    assert chat.enter(visitor("alice"), "flask", "en").lang == "en"


def test_an_announcement_finds_who_only_listens(clock: Clock) -> None:
    chat = chatroom(clock, site_id="porch")
    chat.listen(visitor("alice"), "kitchen", 0)
    hear(chat, spoken("your timer", person=person_of(chat, "alice")))
    assert [(m.room, m.to) for m in chat.messages("", None, 0, 9)] == [("kitchen", "alice")]


# --- the sender --------------------------------------------------------------------------------------------------


def test_the_sender_waits_for_a_message_for_a_link_and_for_the_end(clock: Clock) -> None:
    chat = chatroom(clock, link=DOWN)
    got: list[Outgoing | None] = []
    took = threading.Semaphore(0)

    def sender() -> None:
        while True:
            got.append(chat.next_outgoing())
            took.release()
            if got[-1] is None:
                return

    thread = threading.Thread(target=sender, daemon=True)
    thread.start()
    number = post(chat, "alice").id
    assert not took.acquire(timeout=0.05)
    chat.set_link(CONNECTED)
    assert took.acquire(timeout=WAIT_S)
    second = post(chat, "alice").id
    assert took.acquire(timeout=WAIT_S)
    chat.stop()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert [one.turn.id if one is not None else None for one in got] == [number, second, None]


# --- the end, and what is kept -----------------------------------------------------------------------------------


def test_at_the_end_streams_are_told_and_no_new_ones_begin(clock: Clock) -> None:
    chat = chatroom(clock)
    stream = chat.listen(visitor("alice"), "flask", 0)
    chat.stop()
    chat.stop()
    assert [name for name, _, _ in told(stream)][-2:] == ["bye", "end"]
    assert refusal(chat.listen, visitor("bob"), "flask", 0).status == 503


def test_what_can_no_longer_be_kept_is_not_accepted(clock: Clock) -> None:
    chat = chatroom(clock, MemoryKeeper())
    chat.stop()
    turned = refusal(post, chat, "alice")
    assert (turned.code, turned.status) == ("stopping", 503)


def test_time_passes_by_itself(clock: Clock) -> None:
    chat = chatroom(clock)
    stream = chat.listen(visitor("alice"), "flask", 0)
    told(stream)
    chat.start()
    try:
        raw = stream.next(WAIT_S)
    finally:
        chat.stop()
    assert raw is not None
    assert raw.startswith(b"event: people")


def test_rooms_are_there_again_after_a_restart(clock: Clock) -> None:
    keeper = MemoryKeeper()
    chat = chatroom(clock, keeper)
    answered = post(chat, "alice", "one").id
    send_all(chat)
    hear(chat, spoken("so", answered))
    unanswered = post(chat, "alice", "two", private=True).id
    send_all(chat)
    chat.stop()
    assert keeper.is_closed
    before = chat.newest()
    again = chatroom(clock, keeper)
    assert texts(again, "browser of alice") == ["one", "so", "two"]
    assert texts(again, "browser of bob") == ["one", "so"]
    assert [state(again, number) for number in (answered, unanswered)] == [State.ANSWERED, State.FAILED]
    [line] = again.messages("browser of alice", None, before, 9)
    assert (line.id, line.note) == (unanswered, str(say("restarted")))
    again.tick()
    assert keeper.lines[unanswered]["state"] == "failed"
    assert post(again, "bob").id > before


def test_an_answer_that_comes_after_a_restart_is_an_answer(clock: Clock) -> None:
    keeper = MemoryKeeper()
    chat = chatroom(clock, keeper)
    number = post(chat, "alice", private=True).id
    send_all(chat)
    session = person_of(chat, "alice")
    chat.stop()
    again = chatroom(clock, keeper)
    hear(again, spoken("secret answer", number, session))
    assert texts(again, "browser of alice") == ["hello", "secret answer"]
    assert texts(again, "browser of bob") == []
    assert state(again, number) is State.ANSWERED


def test_what_changed_is_kept_once(clock: Clock) -> None:
    keeper = MemoryKeeper()
    chat = chatroom(clock, keeper)
    number = post(chat, "alice").id
    chat.tick()
    assert keeper.lines[number]["state"] == "sending"
    keeper.lines.clear()
    chat.tick()
    assert keeper.lines == {}
    send_all(chat)
    chat.tick()
    assert keeper.lines[number]["state"] == "sent"


def test_what_could_not_be_kept_is_kept_later(clock: Clock) -> None:
    keeper = MemoryKeeper()
    chat = chatroom(clock, keeper)
    keeper.is_broken = True
    lost = post(chat, "alice").id
    with pytest.raises(OSError, match="no space"):
        chat.tick()
    send_all(chat)
    keeper.is_broken = False
    chat.tick()
    assert keeper.lines[lost]["state"] == "sent"


def test_what_cannot_be_kept_does_not_fill_the_memory(clock: Clock) -> None:
    keeper = MemoryKeeper()
    chat = Chat(settings(rooms=1, waiting=10**6, waiting_each=10**6, **MUCH), keeper, clock.monotonic, clock.wall)
    keeper.is_broken = True
    for _ in range(2000):
        post(chat, "alice")
        if chat.newest() % 100 == 0:
            with pytest.raises(OSError, match="no space"):
                chat.tick()
    assert len(chat._unsaved) < 700


def test_a_broken_history_is_closed_at_the_end(clock: Clock) -> None:
    keeper = MemoryKeeper()
    chat = chatroom(clock, keeper)
    post(chat, "alice")
    keeper.is_broken = True
    with pytest.raises(OSError, match="no space"):
        chat.stop()
    assert keeper.is_closed


def test_a_line_that_cannot_be_read_is_left_out(clock: Clock) -> None:
    keeper = MemoryKeeper()
    chat = chatroom(clock, keeper)
    for text in "abc":
        post(chat, "alice", text)
    chat.stop()
    first, second, _ = keeper.lines
    keeper.lines[first]["role"] = "king"
    del keeper.lines[second]["state"]
    assert texts(chatroom(clock, keeper), "") == ["c"]


def test_without_a_given_secret_everybody_is_somebody_else_in_every_run(clock: Clock) -> None:
    chats = [Chat(Settings(), None, clock.monotonic, clock.wall) for _ in range(2)]
    one, other = (chat.enter(visitor("alice"), "flask", "en").user_id for chat in chats)
    assert one != other


def test_what_the_assistant_says_too_much_is_told_in_the_log(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    chat = chatroom(clock)
    for _ in range(SAID_AT_ONCE + 7):
        chat.hear(spoken("spam"))
    for _ in range(2):
        chat.tick()
    assert [record.getMessage() for record in caplog.records if "too much" in record.getMessage()] == [
        "the assistant says too much at once: 7 messages of it were dropped"
    ]


def test_where_all_is_private_nobody_sees_who_types(clock: Clock) -> None:
    chat = chatroom(clock, always_private=True)
    stream = chat.listen(visitor("bob"), "flask", 0)
    chat.typing(visitor("alice"), "flask", True)
    assert told_of(stream, "typing") == []
    assert chat.status("", "flask")["typing"] == []


def test_one_address_types_so_much_whatever_browsers_it_has(clock: Clock) -> None:
    chat = chatroom(clock)
    stream = chat.listen(visitor("bob", address="192.168.1.3"), "flask", 0)
    for number in range(60 * ADDRESS_RATE):
        name = f"hostile {number % 60}"
        chat.typing(visitor(name), "flask", number // 60 % 2 == 0)
    assert len(told_of(stream, "typing")) <= 10 * ADDRESS_RATE


def test_one_address_does_not_keep_others_out(clock: Clock) -> None:
    """Names, rooms, the queue: a stranger takes all there are, and somebody else comes in all the same."""
    chat = chatroom(clock, link=DOWN, users=40, rooms=20, waiting=40, waiting_each=5)
    for number in range(2000):
        clock.advance(0.5)
        who = visitor(f"hostile {number}", browser=f"hostile {number}")
        with suppress(TurnedAway):
            chat.enter(who, "flask", "en")
        with suppress(TurnedAway):
            chat.post(who, f"room {who.name}", "en", "spam")
    said = chat.post(visitor("alice", address="192.168.1.3"), "a room of her own", "en", "hello")
    assert (said.username, said.room) == ("alice", "a room of her own")
