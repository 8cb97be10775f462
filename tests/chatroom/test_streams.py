"""Event streams: what is sent, to whom, and that nobody who reads slowly holds anybody up."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from helpers.chatroom_core import draft, told
from hivemind_chatroom.messages import ChatMessage
from hivemind_chatroom.streams import (
    MOST_AT_ONCE,
    MOST_NAMED,
    MOST_WAITING,
    MOST_WAITING_BYTES,
    Audience,
    Stream,
    event,
)


def stream(browser: str = "a", name: str = "alice", room: str = "flask") -> Stream:
    return Stream(browser, f"id of {name}", name, room)


def line(**given: object) -> ChatMessage:
    return ChatMessage(**{**asdict(draft()), "id": 7, "seq": 9, **given})  # type: ignore[arg-type]


def joined(audience: Audience, *streams: Stream) -> None:
    for each in streams:
        audience.add(each, "10.0.0.1")


def test_an_event_has_number_name_and_data() -> None:
    assert event("message", {"a": "é"}, 5) == 'id: 5\nevent: message\ndata: {"a": "é"}\n\n'.encode()
    assert event("reset", {}) == b"event: reset\ndata: {}\n\n"


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "\n\nevent: bye\ndata: {}\n\n", "\ud800", "\u2028", "\0", "id: 1"])
def test_no_text_ends_an_event_early(text: str) -> None:
    raw = event("message", {"text": text}, 1)
    assert raw.count(b"\n") == 4
    assert b"\r" not in raw
    data = raw.decode().split("\n")[2].removeprefix("data: ")
    assert json.loads(data)["text"] == text.replace("\ud800", "?")


def test_what_is_put_comes_out_in_order() -> None:
    one = stream()
    for number in range(3):
        one.put(event("message", number, number))
    assert [number for _, _, number in told(one)] == [0, 1, 2]
    assert one.next(0) == b""


def test_what_waits_comes_out_together_up_to_a_size() -> None:
    one = stream()
    events = [event("message", "x" * (MOST_AT_ONCE // 3), number) for number in range(5)]
    for each in events:
        one.put(each)
    one.end()
    assert [one.next(0), one.next(0), one.next(0)] == [b"".join(events[:3]), b"".join(events[3:]), None]


def test_a_stream_ends_after_all_that_waits_and_a_last_word() -> None:
    one = stream()
    one.put(event("message", 1, 1))
    one.end(event("bye", {}))
    one.end(event("bye", {}))
    one.put(event("message", 2, 2))
    assert [name for name, _, _ in told(one)] == ["message", "bye", "end"]
    assert one.is_over


def test_a_stream_that_nobody_reads_ends_and_keeps_no_more() -> None:
    one = stream()
    for number in range(10 * MOST_WAITING):
        one.put(event("message", number, number))
    found = told(one)
    assert len(found) == MOST_WAITING + 1
    assert found[-1][0] == "end"


def test_there_are_so_many_places_and_so_many_for_one_address() -> None:
    audience = Audience(most=3, most_each=2)
    first = stream()
    audience.add(first, "10.0.0.1")
    audience.add(stream(), "10.0.0.1")
    assert not audience.has_place_for("10.0.0.1")
    assert audience.has_place_for("10.0.0.2")
    audience.add(stream(), "10.0.0.2")
    assert not audience.has_place_for("10.0.0.3")
    audience.remove(first)
    audience.remove(first)
    assert audience.has_place_for("10.0.0.1")
    assert len(audience) == 2


def test_a_line_is_told_in_its_room() -> None:
    audience = Audience(9, 9)
    here, elsewhere = stream("a"), stream("b", room="kitchen")
    joined(audience, here, elsewhere)
    audience.changed(line(text="hi"))
    [(name, data, number)] = told(here)
    assert (name, data["text"], number) == ("message", "hi", 9)
    assert told(elsewhere) == []


def test_a_private_line_is_told_to_its_own_browser_in_all_its_windows() -> None:
    audience = Audience(9, 9)
    streams = [stream("mine", "alice"), stream("mine", "al"), stream("other", "bob"), stream("", "script")]
    joined(audience, *streams)
    audience.changed(line(private=True, owner="mine"))
    assert [len(told(each)) for each in streams] == [1, 1, 0, 0]


def test_a_private_line_of_nobody_is_told_to_nobody() -> None:
    audience = Audience(9, 9)
    script = stream("", "script")
    joined(audience, script)
    audience.changed(line(private=True, owner=""))
    assert told(script) == []


def test_all_one_room_or_one_browser_can_be_told() -> None:
    audience = Audience(9, 9)
    streams = [stream("a", "alice", "flask"), stream("a", "al", "kitchen"), stream("b", "bob", "kitchen")]
    joined(audience, *streams)
    audience.tell(event("link", {}))
    audience.tell(event("people", []), room="kitchen")
    audience.tell(event("you", {}), browser="a")
    names = [[name for name, _, _ in told(each)] for each in streams]
    assert names == [["link", "you"], ["link", "people", "you"], ["link", "people"]]


def test_who_is_in_a_room_is_named_once_and_in_order() -> None:
    audience = Audience(9, 9)
    streams = [stream("b", "bob"), stream("a", "alice"), stream("a", "alice"), stream("c", "carol", "kitchen")]
    joined(audience, *streams)
    assert audience.people("flask") == [
        {"user_id": "id of alice", "username": "alice"},
        {"user_id": "id of bob", "username": "bob"},
    ]
    assert audience.rooms == {"flask", "kitchen"}
    assert audience.present == {"id of alice", "id of bob", "id of carol"}


def test_so_many_people_are_named() -> None:
    audience = Audience(1000, 1000)
    joined(audience, *(stream(str(number), f"n{number}") for number in range(MOST_NAMED + 5)))
    assert len(audience.people("flask")) == MOST_NAMED


def test_everybody_hears_the_end() -> None:
    audience = Audience(9, 9)
    streams = [stream("a"), stream("b", "bob", "kitchen")]
    joined(audience, *streams)
    audience.end(event("bye", {}))
    assert [[name for name, _, _ in told(each)] for each in streams] == [["bye", "end"]] * 2


def test_a_line_becomes_an_event_when_it_is_sent() -> None:
    one = stream()
    one.put(line(text="hi"))
    one.put(event("reset", {}))
    assert [(name, number) for name, _, number in told(one)] == [("message", 9), ("reset", None)]


def test_a_stream_in_which_too_much_waits_ends() -> None:
    one = stream()
    large = event("message", "x" * 100_000, 1)
    for _ in range(100):
        one.put(large)
    assert one.is_over
    assert len(told(one)) <= MOST_WAITING_BYTES // 100_000 + 2


def test_what_was_read_waits_no_more() -> None:
    one = stream()
    for number in range(100):
        one.put(event("message", "x" * 100_000, number))
        assert len(told(one)) == 1
    assert not one.is_over
