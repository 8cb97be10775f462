"""What people are told."""

from __future__ import annotations

import string

import pytest

from hivemind_bus_client.denials import read_denial
from hivemind_bus_client.refusals import REFUSALS
from hivemind_chatroom.sentences import MAX_FIELD, SENTENCES, Sentence, say

NEEDED = """
    waiting_for_hub waited_too_long queue_full hub_down hub_connecting link_lost unanswered not_understood nothing_said
    denied refused restarted not_sent stopping rate_limited too_many_users too_many_rooms private_needs_cookies
    no_streams no_such_page wrong_room_password cross_site cancelled address_refused host_refused forwarded_refused
    sign_in
""".split()  # noqa: SIM905
FIELDS = {"text": "A sentence.", "cure": "A cure.", "reason": "so it is", "detail": "too big", "seconds": 3}


def test_every_sentence_that_is_needed_is_there_once() -> None:
    assert sorted(SENTENCES) == sorted(NEEDED)


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_each_is_a_sentence_and_has_a_cure(code: str) -> None:
    said = say(code, **FIELDS)
    assert said.code == code
    for part in (said.text, said.cure) if code != "nothing_said" else (said.text,):
        assert part[0].isupper()
        assert part.endswith(".")
        assert ".." not in part
        assert not set("{}") & set(part)


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_only_known_fields_are_used(code: str) -> None:
    row = SENTENCES[code]
    used = {name for _, name, _, _ in string.Formatter().parse(row.text + row.cure) if name}
    assert used <= FIELDS.keys()


def test_a_missing_field_leaves_a_whole_sentence() -> None:
    assert say("denied").text == "The hub denied this message."
    assert say("not_sent", detail="").text == "This message could not be sent."
    assert say("not_sent", detail="the hub is gone.").text == "This message could not be sent: the hub is gone."


def test_what_a_hub_says_is_put_in_as_it_is() -> None:
    said = say("denied", reason="{cure} {0.__class__}\n%s", cure="{reason}")
    assert said == Sentence("denied", "The hub denied this message: {cure} {0.__class__} %s.", "{reason}")


def test_what_a_hub_says_has_an_end() -> None:
    assert len(say("not_sent", detail="x" * 10_000).text) < MAX_FIELD + 50


@pytest.mark.parametrize(("seconds", "told"), [(0.2, "1 s"), (2.1, "3 s"), (4, "4 s"), (float("inf"), "a few s")])
def test_seconds_are_rounded_up(seconds: float, told: str) -> None:
    assert told in say("rate_limited", seconds=seconds).cure


def test_a_refusal_is_told_in_the_words_of_the_satellite() -> None:
    row = REFUSALS["invalid_key"]
    assert str(say("refused", text=row.sentence, cure=row.cure)) == str(row)


def test_a_denial_is_told_with_the_command_that_cures_it() -> None:
    denial = read_denial(
        {"code": "acl_disallowed_type", "denied_type": "recognizer_loop:utterance", "reason": "not allowed."},
        {"destination": "agent::7::client::session"},
    )
    said = say("denied", reason=denial.reason, cure=denial.cure)
    assert said.text == "The hub denied this message: not allowed."
    assert "`hivemind-core allow-msg recognizer_loop:utterance 7`" in said.cure


def test_no_sentence_without_a_row() -> None:
    with pytest.raises(KeyError):
        say("something_else")


def test_a_sentence_without_a_cure_ends_with_its_dot() -> None:
    assert str(say("nothing_said")) == "The assistant dealt with this without saying anything."
