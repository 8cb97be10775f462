"""Recorded Noise handshakes, played by our own."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from hivemind_bus_client.noise import NOISE_PATTERN_KK, Handshake, HandshakeKeys, Transport

Record = dict[str, Any]


def recorded_handshake(record: Record, role: str) -> Handshake:
    """One side of a transcript, as it began."""
    other = {"initiator": "responder", "responder": "initiator"}[role]
    _, pattern, suite = record["protocol_name"].split("_", 2)
    keys = HandshakeKeys(
        bytes.fromhex(record[f"{role}_static_private_hex"]),
        bytes.fromhex(record["psk_hex"]),
        bytes.fromhex(record[f"{other}_static_public_hex"]) if pattern == NOISE_PATTERN_KK else None,
        bytes.fromhex(record[f"{role}_ephemeral_private_hex"]),
    )
    prologue = bytes.fromhex(record["prologue_hex"])
    return Handshake(pattern, suite, initiator=role == "initiator", prologue=prologue, keys=keys)


def recorded_transport(record: Record, role: str) -> Transport:
    """Play one role of a transcript, every message compared, and return its transport."""
    handshake = recorded_handshake(record, role)
    for message in record["handshake_messages"]:
        payload, data = bytes.fromhex(message["payload_hex"]), bytes.fromhex(message["message_hex"])
        if message["sender"] == role:
            assert handshake.write(payload) == data
        else:
            assert handshake.read(data) == payload
        assert handshake.hash.hex() == message["h_after_hex"]
    assert handshake.hash.hex() == record["handshake_hash_hex"]
    return handshake.transport()


def recorded_bodies(record: Record) -> Iterator[tuple[str, bytes, bool, list[str]]]:
    """(sender, body, is binary, digests of the frames) of every message after the handshake."""
    digests: list[str] = []
    for frame in record["transport_frames"]:
        whole = frame.get("wire_hex")
        digests.append(sha256(bytes.fromhex(whole)).hexdigest() if whole else frame["wire_sha256"])
        number, total = map(int, frame["part"].split("/"))
        if number < total:
            continue
        binary = frame["payload_kind"] == "binary-frame"
        if "payload_note" in frame:
            count, letter = frame["payload_note"].split(" times letter ")
            body = letter.encode() * int(count)
        else:
            body = bytes.fromhex(frame["payload_hex"]) if binary else frame["payload_utf8"].encode()
        yield frame["direction"].partition("->")[0], body, binary, digests
        digests = []
