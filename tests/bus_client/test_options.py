from __future__ import annotations

import pytest

from hivemind_bus_client.options import Mistake, Target, bus_message, question

UTTERANCE = "recognizer_loop:utterance"


def test_a_message() -> None:
    made = bus_message("speak", '{"utterance": "hello"}')
    assert (made.msg_type, made.data) == ("speak", {"utterance": "hello"})
    assert bus_message("mycroft.stop", "").data == {}


@pytest.mark.parametrize(
    ("msg_type", "payload", "text"),
    [("", "", "--msg"), ("x", "{", "--payload is not JSON"), ("x", "[]", "must be a JSON object")],
)
def test_what_makes_no_message(msg_type: str, payload: str, text: str) -> None:
    with pytest.raises(Mistake, match=text):
        bus_message(msg_type, payload)


def test_a_question() -> None:
    asked = question(" what time is it ", "")
    assert (asked.msg_type, asked.data) == (UTTERANCE, {"utterances": ["what time is it"]})
    asked = question("", '{"utterances": ["olá"], "lang": "pt-PT"}')
    assert (asked.msg_type, asked.data["lang"]) == (UTTERANCE, "pt-PT")
    assert question("ovos.utterance.handle", '{"utterances": ["x"]}').msg_type == "ovos.utterance.handle"


@pytest.mark.parametrize("msg", ["", "  ", UTTERANCE, "ovos.utterance.handle"])
def test_what_asks_nothing(msg: str) -> None:
    with pytest.raises(Mistake, match="--msg"):
        question(msg, "")


def test_secrets_are_not_shown() -> None:
    shown = repr(Target("the key", "the password", "hub", None, "", 1.0))
    assert "the key" not in shown
    assert "the password" not in shown
