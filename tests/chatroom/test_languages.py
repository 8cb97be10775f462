"""The languages to choose from, and what counts as the same one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_chatroom.languages import LANGUAGES, same_language
from hivemind_chatroom.names import language_tag

TAGS = [tag for tag, _ in LANGUAGES]


def test_tags_are_as_language_tag_spells_them_and_each_once() -> None:
    assert [language_tag(tag) for tag in TAGS] == TAGS
    assert len(set(TAGS)) == len(TAGS)
    assert len({name for _, name in LANGUAGES}) == len(LANGUAGES)


def test_english_comes_first_and_the_rest_by_name() -> None:
    assert TAGS[:3] == ["en", "en-US", "en-GB"]
    latin = [name for _, name in LANGUAGES[3:] if name[0].isascii()]
    assert latin == sorted(latin)


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ("en", "en"),
        ("en", "en-US"),
        ("en-US", "en-us"),
        ("en-US", "EN_us"),
        ("en-US", "en"),
        ("zh-TW", "zh-Hant-TW"),
        ("es", "es-419"),
        ("de", "de-DE-1996"),
        ("en", ""),
        ("en", "klingon!"),
    ],
)
def test_it_is_the_same_language(sent: str, got: str) -> None:
    assert same_language(sent, got)


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ("en-US", "de-DE"),
        ("en-GB", "en-US"),
        ("en", "de"),
        ("zh-Hans-CN", "zh-Hant-CN"),
        ("es-ES", "es-419"),
        ("", "de"),
        ("nonsense!", "en"),
    ],
)
def test_it_is_another_language(sent: str, got: str) -> None:
    assert not same_language(sent, got)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_two_texts_can_be_compared(sent: str, got: str) -> None:
    assert same_language(sent, got) in (True, False)
    assert same_language(sent, sent)
