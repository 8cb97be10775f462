"""What a new client is granted in one word."""

from hivemind_core.roles import DEFAULT_ROLE, ROLES


def test_a_new_client_may_talk_and_acknowledge_playback() -> None:
    assert DEFAULT_ROLE == "chat"
    assert set(ROLES["chat"]) == {
        "recognizer_loop:utterance",
        "ovos.utterance.handle",
        "recognizer_loop:audio_output_start",
        "recognizer_loop:audio_output_end",
        "ovos.audio.output.started",
        "ovos.audio.output.ended",
    }


def test_none_grants_nothing() -> None:
    assert ROLES["none"] == ()
