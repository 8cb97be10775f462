"""What can be a name, a room, a language, a message."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_chatroom.names import (
    MAX_LANGUAGE_TAG,
    MAX_ROOM_NAME,
    MAX_USER_NAME,
    Unfit,
    clean_line,
    clean_text,
    language_tag,
    message_text,
    name_key,
    room_name,
    user_name,
)

ANYTHING = st.text(st.characters(), max_size=80)  # lone surrogates included


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("alice", "alice"),
        ("  Alice \t in\n Wonderland ", "Alice in Wonderland"),
        ("Jose\u0301", "José"),
        ("山田", "山田"),
        ("نور", "نور"),
        ("O'Brien <b>", "O'Brien <b>"),
        ("a.b", "a.b"),
        ("...", "..."),
        ("Ann ❤️", "Ann ❤️"),
        ("x" * MAX_USER_NAME, "x" * MAX_USER_NAME),
    ],
)
def test_a_name_is_shown_as_it_was_typed_but_for_its_blanks(typed: str, shown: str) -> None:
    assert user_name(typed) == shown


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("", "name_empty"),
        (" \n ", "name_empty"),
        ("\ufe0f", "name_empty"),
        ("\u0301\u0302", "name_empty"),
        ("x" * (MAX_USER_NAME + 1), "name_too_long"),
        ("x" * 100_000, "name_too_long"),
        ("a/b", "name_characters"),
        ("a\\b", "name_characters"),
        (".", "name_dots"),
        ("..", "name_dots"),
        ("a\x00b", "name_characters"),
        ("a\x1bb", "name_characters"),
        ("a\u200bb", "name_characters"),
        ("a\u200db", "name_characters"),
        ("\ufeffalice", "name_characters"),
        ("a\u202eb", "name_characters"),
        ("a\u2066b", "name_characters"),
        ("a\u00adb", "name_characters"),
        ("a\ud800b", "name_characters"),
        ("a\ue000b", "name_characters"),
        ("a\U000e0041b", "name_characters"),
        ("a\u0378b", "name_characters"),
        ("\u3164", "name_characters"),
        ("\u2800", "name_characters"),
        ("HiveMind", "name_reserved"),
        (" hive  mind ", "name_reserved"),
    ],
)
def test_a_name_that_cannot_be_says_why(typed: str, code: str) -> None:
    with pytest.raises(Unfit) as caught:
        user_name(typed)
    assert caught.value.code == code
    assert str(caught.value) == f"{caught.value.message} {caught.value.cure}"
    assert caught.value.message.endswith(".")
    assert caught.value.cure.endswith(".")


@given(ANYTHING)
def test_a_name_is_accepted_or_refused_and_accepted_again_as_it_is(typed: str) -> None:
    try:
        name = user_name(typed)
    except Unfit:
        return
    assert user_name(name) == name
    assert 1 <= len(name) <= MAX_USER_NAME
    assert name.isprintable()
    assert not set(name) & {"/", "\\"}
    assert name.encode()


def test_a_room_may_be_called_like_the_assistant_and_have_a_longer_name() -> None:
    assert room_name("HiveMind") == "HiveMind"
    assert room_name(" living  room ") == "living room"
    assert room_name("x" * MAX_ROOM_NAME) == "x" * MAX_ROOM_NAME
    for typed in ("x" * (MAX_ROOM_NAME + 1), "a/b", "..", ""):
        with pytest.raises(Unfit, match="room name"):
            room_name(typed)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice", "ALICE"),
        ("Alice  in W", "alice in w"),
        ("José", "jose\u0301"),
        ("ａｌｉｃｅ", "alice"),
        ("аlice", "alice"),
        ("Аlice", "alice"),
        ("Ann ❤️", "ann ❤"),
        ("straße", "STRASSE"),
        ("ΝΙΚΟΣ", "νικος"),
        ("Иван", "ИВАН"),
        ("а\u0301nna", "ánna"),
    ],
)
def test_names_that_people_take_for_the_same_have_one_key(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(("one", "other"), [("alice", "alice 2"), ("José", "Jose"), ("ann", "anne"), ("bil1", "bill")])
def test_different_names_have_different_keys(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)


@given(ANYTHING)
def test_a_key_does_not_depend_on_how_a_name_is_composed(name: str) -> None:
    assert name_key(unicodedata.normalize("NFD", name)) == name_key(unicodedata.normalize("NFC", name))


@pytest.mark.parametrize(
    ("typed", "tag"),
    [
        ("en", "en"),
        (" EN_us ", "en-US"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("ES-419", "es-419"),
        ("de-ch-1996", "de-CH-1996"),
        ("en-u-ca-gregory", "en-u-ca-gregory"),
        ("en-US-x-IN", "en-US-x-in"),
        ("gsw", "gsw"),
    ],
)
def test_a_language_tag_gets_its_usual_spelling(typed: str, tag: str) -> None:
    assert language_tag(typed) == tag


@pytest.mark.parametrize(
    "typed", ["", "e", "english", "en-", "-en", "en--US", "en US", "en_US.UTF-8", "еn", "en/..", "en\x00", "1a", "x-a"]
)
def test_what_is_no_language_tag_is_refused(typed: str) -> None:
    with pytest.raises(Unfit) as caught:
        language_tag(typed)
    assert caught.value.code == "language_unknown"


def test_a_language_tag_has_an_end() -> None:
    longest = "en-" + "x-" + "a" * 8 + "-" + "b" * 8 + "-" + "c" * 8 + "-ddd"
    assert len(longest) == MAX_LANGUAGE_TAG
    assert language_tag(longest) == longest
    for typed in (longest + "d", "en-" + "abcdefgh-" * 10_000 + "!"):
        with pytest.raises(Unfit):
            language_tag(typed)


@given(ANYTHING | st.from_regex(r"[a-zA-Z]{2,3}([-_][a-zA-Z0-9]{1,8}){0,4}", fullmatch=True))
def test_a_language_tag_stays_as_it_is_once_it_was_read(typed: str) -> None:
    try:
        tag = language_tag(typed)
    except Unfit:
        return
    assert language_tag(tag) == tag
    assert tag.isascii()
    assert tag.lower() == typed.strip().replace("_", "-").lower()


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (" what time is it? \n", "what time is it?"),
        ("one\r\ntwo\rthree\n\tfour", "one\ntwo\nthree\n\tfour"),
        ("a\x00b\x1b[31mc\x7fd\x85e", "ab[31mcde"),
        ("a\ud800b", "ab"),
        ("👩‍👩‍👧 \u202bשלום\u202c", "👩‍👩‍👧 \u202bשלום\u202c"),
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
    ],
)
def test_a_message_keeps_all_but_what_steers_machines(typed: str, text: str) -> None:
    assert message_text(typed, 100) == text


@pytest.mark.parametrize("typed", ["", " \r\n\t ", "\x00\x1b", "\u200b\u200b", "\ud800"])
def test_a_message_without_anything_to_see_is_empty(typed: str) -> None:
    with pytest.raises(Unfit) as caught:
        message_text(typed, 100)
    assert caught.value.code == "empty"


def test_a_message_has_as_many_characters_as_allowed() -> None:
    assert message_text("x\r\n" * 5 + "y", 11) == "x\n" * 5 + "y"
    with pytest.raises(Unfit, match="12 characters; 11 are allowed") as caught:
        message_text("x" * 12, 11)
    assert caught.value.code == "too_long"


@given(ANYTHING)
def test_cleaned_text_can_be_sent_and_is_clean(typed: str) -> None:
    text = clean_text(typed)
    assert text.encode().decode() == text
    assert clean_text(text) == text
    assert not any(c < " " and c not in "\n\t" for c in text)


@given(ANYTHING, st.integers(1, 20))
def test_a_cleaned_line_can_all_be_seen(typed: str, limit: int) -> None:
    line = clean_line(typed, limit)
    assert line.isprintable()
    assert line == line.strip()
    assert len(line) <= limit
