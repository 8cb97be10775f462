"""The tools of these tests, without which their word is worth nothing."""

from __future__ import annotations

import pytest

from helpers.bus_stub import answers
from helpers.wire_tap import take_frame

MASK = bytes([1, 2, 3, 4])


def masked(body: bytes) -> bytes:
    return MASK + bytes(byte ^ MASK[index % 4] for index, byte in enumerate(body))


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_the_tap_reads_frames_of_every_length(size: int) -> None:
    body = b"x" * size
    long_head = b"\x7e" + size.to_bytes(2, "big") if size < 65_536 else b"\x7f" + size.to_bytes(8, "big")
    head = bytes([size]) if size < 126 else long_head
    data = bytearray(b"\x82" + head + body + b"rest")
    frame = take_frame(data)
    assert frame is not None
    assert (frame.opcode, frame.final, frame.body) == (2, True, body)
    assert data == b"rest"


def test_the_tap_unmasks_and_waits_for_the_rest() -> None:
    whole = b"\x81\x85" + masked(b"hello")
    data = bytearray()
    for byte in whole[:-1]:
        data.append(byte)
        assert take_frame(data) is None
    data.append(whole[-1])
    frame = take_frame(data)
    assert frame is not None
    assert frame.body == b"hello"


def test_the_stub_answers_as_a_skill_does() -> None:
    heard = {
        "type": "recognizer_loop:utterance",
        "data": {"utterances": ["hello"], "lang": "de-de"},
        "context": {"source": "satellite", "destination": "hivemind", "session": {"session_id": "1"}},
    }
    speak, handled = answers(heard)
    assert speak["data"]["utterance"] == "you said: hello"
    for answer in (speak, handled):
        assert answer["context"] == {
            "source": "hivemind",
            "destination": "satellite",
            "session": {"session_id": "1"},
        }


def test_the_stub_answers_a_message_and_its_twin_once() -> None:
    data = {"utterances": ["hello"]}
    assert not answers({"type": "speak", "data": data})
    twin = {"type": "recognizer_loop:utterance", "data": data, "context": {"_namespace_compat_twin": True}}
    assert not answers(twin)
    assert len(answers({"type": "ovos.utterance.handle", "data": data, "context": {}})) == 2
