"""A line of the conversation: what others see of it, and what is kept."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.chatroom_core import NOON, draft
from hivemind_chatroom.messages import ChatMessage, Kind, Media, Role, State, restored

KEYS = {
    "id", "seq", "time", "room", "incoming", "username", "user_id", "role", "kind", "message", "text", "lang", "state",
    "note", "reply_to", "to", "private", "media",
}  # fmt: skip


def line(**given: Any) -> ChatMessage:
    return ChatMessage(**{**asdict(draft()), "media": None, "id": 7, "seq": 9, **given})


def test_what_others_see_has_these_keys() -> None:
    assert line().as_dict().keys() == KEYS


def test_whose_browser_it_is_stays_secret() -> None:
    assert "opaque" not in json.dumps(line(owner="opaque", private=True).as_dict())
    assert line(owner="opaque").stored()["owner"] == "opaque"


def test_a_reply_reads_as_in_the_released_chatroom() -> None:
    reply = line(role=Role.ASSISTANT, username="HiveMind", to="alice", text="it is noon", reply_to=3)
    shown = reply.as_dict()
    assert (shown["message"], shown["text"]) == ("@alice - it is noon", "it is noon")
    assert (shown["incoming"], shown["username"], shown["role"]) == (True, "HiveMind", "assistant")


def test_what_is_said_to_nobody_has_no_prefix() -> None:
    assert line(role=Role.ASSISTANT, to="").as_dict()["message"] == "hello"


def test_what_a_person_says_is_not_incoming() -> None:
    shown = line(to="bob", state=State.SENDING).as_dict()
    assert (shown["incoming"], shown["message"], shown["state"], shown["time"]) == (False, "hello", "sending", NOON)


def test_a_notice_is_incoming() -> None:
    assert line(role=Role.SYSTEM, kind=Kind.NOTICE).as_dict()["incoming"]


@pytest.mark.parametrize(
    ("private", "owner", "browser", "seen"),
    [
        (False, "a", "b", True),
        (False, "", "", True),
        (True, "a", "a", True),
        (True, "a", "b", False),
        (True, "a", "", False),
        (True, "", "", False),
    ],
)
def test_a_private_line_is_for_its_own_browser(private: bool, owner: str, browser: str, seen: bool) -> None:
    assert line(private=private, owner=owner).visible_to(browser) is seen


@pytest.mark.parametrize(
    ("media", "text"),
    [
        (Media("Blue", "Miles", "https://a.example/b.mp3"), "Miles - Blue\nhttps://a.example/b.mp3"),
        (Media("Blue"), "Blue"),
        (Media(uri="file:///a"), "file:///a"),
    ],
)
def test_media_reads_as_two_lines(media: Media, text: str) -> None:
    assert str(media) == text


def test_media_is_shown_as_an_object() -> None:
    shown = line(media=Media("Blue", "Miles", "u", "i")).as_dict()["media"]
    assert shown == {"title": "Blue", "artist": "Miles", "uri": "u", "image": "i"}


lines = st.builds(
    ChatMessage,
    room=st.text(),
    role=st.sampled_from(Role),
    text=st.text(),
    time=st.floats(allow_nan=False, allow_infinity=False),
    kind=st.sampled_from(Kind),
    state=st.sampled_from(State),
    reply_to=st.none() | st.integers(0),
    private=st.booleans(),
    owner=st.text(),
    media=st.none() | st.builds(Media),
    id=st.integers(0),
    seq=st.integers(0),
)


@given(lines)
def test_what_is_kept_can_be_read_again(message: ChatMessage) -> None:
    assert restored(json.loads(json.dumps(message.stored()))) == message


def test_what_a_later_release_adds_is_left_out() -> None:
    assert restored({**line().stored(), "colour": "blue"}) == line()


@pytest.mark.parametrize(
    "change", [{"role": "king"}, {"state": "lost"}, {"kind": 3}, {"media": {"smell": "roses"}}, {"media": 3}]
)
def test_something_else_cannot_be_read(change: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        restored({**line().stored(), **change})


def test_what_lacks_something_cannot_be_read() -> None:
    stored = line().stored()
    for key in ("role", "kind", "state"):
        with pytest.raises(KeyError):
            restored({name: value for name, value in stored.items() if name != key})
    with pytest.raises(TypeError):
        restored({name: value for name, value in stored.items() if name != "room"})
