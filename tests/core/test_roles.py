"""What a new client is granted in one word."""

from __future__ import annotations

from typing import Any

import pytest

from hivemind_core.clients import Client
from hivemind_core.roles import DEFAULT_ROLE, ROLES

RENAMED = {
    "recognizer_loop:utterance": "ovos.utterance.handle",
    "recognizer_loop:audio_output_start": "ovos.audio.output.started",
    "recognizer_loop:audio_output_end": "ovos.audio.output.ended",
    "recognizer_loop:record_begin": "ovos.listener.record.started",
    "recognizer_loop:record_end": "ovos.listener.record.ended",
    "mycroft.awoken": "ovos.listener.awoken",
    "speak:b64_audio": "ovos.utterance.speak.b64",
}
"""Old name -> what the same message is called now."""
every_role = pytest.mark.parametrize("name", ROLES)


def test_there_are_the_documented_roles() -> None:
    assert list(ROLES) == ["chat", "voice", "mic", "guest", "bridge", "admin", "none"]


def test_a_new_client_may_talk_and_acknowledge_playback() -> None:
    assert DEFAULT_ROLE == "chat"
    assert set(ROLES["chat"].types) == {
        "recognizer_loop:utterance",
        "ovos.utterance.handle",
        "recognizer_loop:audio_output_start",
        "recognizer_loop:audio_output_end",
        "ovos.audio.output.started",
        "ovos.audio.output.ended",
    }


def test_none_grants_nothing() -> None:
    assert ROLES["none"].types == ()


@every_role
def test_a_message_is_granted_under_both_its_names(name: str) -> None:
    granted = set(ROLES[name].types)
    for old, new in RENAMED.items():
        assert (old in granted) == (new in granted), (old, new)


@every_role
def test_types_stand_once(name: str) -> None:
    assert len(set(ROLES[name].types)) == len(ROLES[name].types)


@every_role
def test_flags_are_columns_of_a_client(name: str) -> None:
    columns: dict[str, Any] = dict(ROLES[name].columns)
    changed = Client(1, "k", **columns)
    assert {name: getattr(changed, name) for name in columns} == columns


@pytest.mark.parametrize("name", ["chat", "voice", "mic", "bridge", "admin"])
def test_who_converses_may_acknowledge_playback(name: str) -> None:
    """Else every skill that waits for its words to be spoken waits in vain."""
    assert set(ROLES["chat"].types) <= set(ROLES[name].types)


def test_a_voice_satellite_may_have_speech_recognised_and_made_by_the_hub() -> None:
    wanted = {"recognizer_loop:b64_audio", "recognizer_loop:b64_transcribe", "speak:synth", "speak:b64_audio"}
    assert wanted <= set(ROLES["voice"].types)


@every_role
def test_no_role_commands_the_devices_of_others(name: str) -> None:
    commands = {"speak", "ovos.utterance.speak", "mycroft.stop", "ovos.stop", "mycroft.mic.listen", "ovos.mic.listen"}
    assert not commands & set(ROLES[name].types)


def test_only_the_administrator_is_one() -> None:
    assert [name for name, role in ROLES.items() if role.columns.get("is_admin")] == ["admin"]


def test_strangers_do_not_reach_the_hive() -> None:
    assert set(ROLES["guest"].columns.values()) == {False}
    assert ROLES["guest"].columns.keys() == {"can_escalate", "can_propagate", "can_broadcast"}
    assert not ROLES["bridge"].columns["can_propagate"]
