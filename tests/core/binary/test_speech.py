"""Text in, speech out: as binary data or as a message, and an answer for everything that cannot be said."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import Any, cast

import pytest

from helpers.sound import need_engine, sound
from hivemind_bus_client.message import HiveMindBinaryPayloadType, Message
from hivemind_core.binary import Declined
from hivemind_core.binary.espeak import Engine
from hivemind_core.binary.sender import Sender
from hivemind_core.binary.speech import SpeechHandler, SpeechSettings
from hivemind_core.config_values import ConfigError, Values


class Client:
    """A satellite that keeps what it is sent."""

    peer = "ua::1::kitchen::session"

    def __init__(self) -> None:
        self.binary: list[tuple[bytes, int, dict[str, Any]]] = []
        self.bus: list[Message] = []

    def send_binary(self, data: bytes, bin_type: int, metadata: dict[str, Any]) -> None:
        self.binary.append((data, bin_type, metadata))

    def send_bus(self, message: Message) -> None:
        self.bus.append(message)


def answer(msg_type: str, settings: SpeechSettings | None = None, context: Any = None, **data: Any) -> Client:
    client = Client()
    SpeechHandler(settings).handle_message(Message(msg_type, data, context or {}), cast(Sender, client))
    return client


def declined(settings: SpeechSettings | None = None, **data: Any) -> tuple[str, str]:
    with pytest.raises(Declined) as found:
        answer("speak:synth", settings, **data)
    return found.value.code, found.value.detail


def test_synth_is_answered_with_binary_speech() -> None:
    need_engine()
    [(data, kind, about)] = answer("speak:synth", utterance="hello world", lang="en-GB").binary
    assert sound(data).is_speech
    assert kind == HiveMindBinaryPayloadType.TTS_AUDIO
    assert (about["lang"], about["utterance"]) == ("en-GB", "hello world")
    assert Path(about["file_name"]).suffix == ".wav"


def test_one_text_has_one_file_name_and_another_has_another() -> None:
    need_engine()
    texts = (("hello", "en"), ("hello", "en"), ("hello", "de"), ("bye", "en"))
    names = [answer("speak:synth", utterance=text, lang=lang).binary[0][2]["file_name"] for text, lang in texts]
    assert names[0] == names[1]
    assert len(set(names)) == 3


@pytest.mark.parametrize("msg_type", ["speak:b64_audio", "ovos.utterance.speak.b64"])
def test_the_others_are_answered_with_a_message(msg_type: str) -> None:
    need_engine()
    client = answer(msg_type, context={"source": "me", "destination": "hivemind"}, utterance="hello world", listen=True)
    [message] = client.bus
    assert message.msg_type == f"{msg_type}.response"
    assert message.data.keys() == {"utterance", "listen", "audio"}
    assert message.context["destination"] == "me"
    assert sound(base64.b64decode(message.data["audio"], validate=True)).is_speech


@pytest.mark.parametrize(
    ("data", "context", "lang"),
    [
        ({"lang": "de"}, {"lang": "fr", "session": {"lang": "it"}}, "de"),
        ({}, {"lang": "fr", "session": {"lang": "it"}}, "fr"),
        ({"lang": None}, {"session": {"lang": "it"}}, "it"),
        ({"lang": ""}, {"session": "none"}, "pt"),
    ],
)
def test_the_language_is_the_nearest_that_is_named(data: Any, context: Any, lang: str) -> None:
    need_engine()
    client = answer("speak:synth", SpeechSettings(lang="pt"), context, utterance="radio", **data)
    assert client.binary[0][2]["lang"] == lang


@pytest.mark.parametrize("utterance", [None, "", "  ", 3, ["hello"]])
def test_what_is_no_text_is_declined(utterance: Any) -> None:
    assert declined(utterance=utterance) == ("malformed_payload", "utterance is not a text")


def test_a_text_that_is_too_long_is_declined() -> None:
    problem = "malformed_payload", "utterance has more than 5 characters"
    assert declined(SpeechSettings(max_text=5), utterance="123456") == problem


def test_a_language_without_a_voice_is_declined() -> None:
    need_engine()
    assert declined(utterance="hello", lang="zz") == ("speech_unavailable", "there is no voice for 'zz'")


def test_without_an_engine_it_is_said_at_the_start_and_to_each_who_asks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    code, detail = declined(SpeechSettings(Engine("no-such-engine")), utterance="hello")
    assert (code, detail) == ("speech_unavailable", "no-such-engine cannot be run: No such file or directory")
    assert "apt install espeak-ng" in caplog.text
    assert "no speech for ua::1::kitchen::session" in caplog.text


def settings(**block: Any) -> SpeechSettings:
    document = {"binary_protocol": {"speech": block}}
    return SpeechSettings.read(Values("server.json", document), ("binary_protocol", "speech"))


def test_settings() -> None:
    assert settings() == SpeechSettings()
    given = {"program": "espeak", "words_per_minute": 120, "timeout": 5, "lang": "de", "max_text": 9}
    read = settings(**given, at_once=3, waiting_each=4)
    assert read == SpeechSettings(Engine("espeak", 120, 5.0), "de", 9, 3, 4)
    assert (SpeechHandler(read).limits.threads, SpeechHandler(read).limits.waiting) == (3, 4)


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ({"program": ""}, r"`binary_protocol\.speech\.program` must be the name of a program"),
        ({"words_per_minute": 10}, "`binary_protocol.speech.words_per_minute` must be a whole number from 80 to 450"),
        ({"timeout": 0}, "timeout"),
        ({"lang": "English please"}, "lang` must be a language like en-US"),
        ({"max_text": "all"}, "max_text"),
        ({"at_once": 1000}, "at_once"),
        ({"waiting_each": 0}, "waiting_each"),
    ],
)
def test_settings_that_cannot_be(block: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        settings(**block)
