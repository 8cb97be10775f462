"""Frames before there is a session, from one who knows no secret: nobody lets it in, and nothing is told to it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from fuzz.courses import SCENARIOS, Frame, client_end, hub_end
from fuzz.inputs import BREAK, HOSTILE_JSON, Choices, as_frame, pieces
from helpers import vectors
from helpers.bad_frames import CLEAR_REFUSALS
from hivemind_bus_client.noise import NOISE_SUITES

MAX_FRAMES = 16
MAX_SENT = 64 * 1024

WORDS: tuple[str, ...] = (*(f'"{suite}"' for suite in NOISE_SUITES),)


def seeds() -> Iterator[bytes]:
    for number, scenario in enumerate(SCENARIOS):
        hub, client = hub_end(scenario), client_end(scenario)
        frames = hub.drain()
        yield bytes([number, 1]) + _joined(frames)
        for frame in frames:
            client.take(frame, 0.0)
        if client.opened is None:  # else it has begun to speak in its session
            yield bytes([number, 0]) + _joined(client.drain())
    for file in (
        "capture_v3_xx_websocket",
        "capture_v3_kk_websocket",
        "capture_v2_password_core4.15",
        "capture_v1_rsa_core4.15",
    ):
        for to_client in (0, 1):
            texts = [frame["text"] for frame in vectors.load(file)["frames"] if _is_for(frame, to_client)]
            yield bytes([0, to_client]) + _joined(texts[:MAX_FRAMES])
    for bad, _, _ in CLEAR_REFUSALS:
        if len(bad) < 1000:
            yield b"\0\0" + _joined([bad])
            yield b"\0\1" + _joined([*hub_end(SCENARIOS[0]).drain(), bad])
    for text in HOSTILE_JSON:
        yield b"\0\0" + text
        yield b'\4\0{"msg_type": "shake", "payload": {"envelope": ' + text + b"}}"
    offer = {"msg_type": "shake", "payload": {"password": True, "min_protocol_version": 0, "preshared_key": True}}
    yield b"\4\1" + _joined([json.dumps({"msg_type": "hello", "payload": {"node_id": "n"}}), json.dumps(offer)])


def _is_for(frame: dict[str, object], to_client: int) -> bool:
    return "text" in frame and str(frame.get("dir", "")).startswith("S>C" if to_client else "C>S")


def _joined(frames: list[Frame]) -> bytes:
    return BREAK.join(frame.encode() if isinstance(frame, str) else b"\0" + frame for frame in frames)


def run(data: bytes) -> None:
    choices = Choices(data)
    scenario, to_client = SCENARIOS[choices.below(len(SCENARIOS))], choices.byte() % 2
    end = client_end(scenario) if to_client else hub_end(scenario)
    end.drain()
    sent, now = 0, 0.0
    for piece in pieces(choices.rest(), MAX_FRAMES):
        end.take(as_frame(piece), now)
        sent += sum(map(len, end.drain()))
        now += 1.0
        if not (to_client and scenario.has_crypto_key):
            assert end.opened is None, "somebody without a secret was let in"
    assert sent <= MAX_SENT, "much is said to a stranger"
    end.tick(1000.0)
    assert end.link.is_open or end.refused is not None, "a handshake without an end"
    assert end.opened is not None or end.link.receive("x", 1001.0) == [], "an event after the end"
