"""Sealed messages (docs/protocol.md 14): opened or refused, and acted upon only where a known key signed them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from fuzz.inputs import HOSTILE_JSON, Choices
from helpers import vectors
from hivemind_bus_client import codec
from hivemind_bus_client.encryption import hybrid_encrypt
from hivemind_bus_client.exceptions import HiveMindException, InvalidJson
from hivemind_bus_client.intercom import DISPATCHED, Fate, fingerprint, is_signed_by, judge, open_sealed
from hivemind_bus_client.message import HiveMessage, HiveMessageType
from hivemind_bus_client.rsa_keys import load_private

VECTORS = vectors.load("intercom")
OURS, SENDER = VECTORS["recipient_public_pem"], VECTORS["sender_public_pem"]
OWN_KEY, SENDER_KEY = load_private(VECTORS["recipient_private_pem"]), load_private(VECTORS["sender_private_pem"])
RECORDED: dict[str, Any] = VECTORS["hybrid"]["payload"]
FIELDS = ("encrypted_key", "ciphertext", "tag", "nonce", "signature")
TARGETS = (None, OURS, SENDER, "nobody", f" {OURS} ")

WORDS: tuple[str, ...] = (*(f'"{field}": ' for field in FIELDS),)


def seeds() -> Iterator[bytes]:
    for target in range(len(TARGETS)):
        yield bytes([0, target]) + json.dumps(RECORDED).encode()
        yield bytes([2, target]) + VECTORS["hybrid"]["inner_plaintext_utf8"].encode()
    for text in HOSTILE_JSON:
        yield b"\0\0" + text
        yield b"\2\1" + text
    for field in range(len(FIELDS)):
        yield bytes([1, 1, field]) + b"AAAA"
        yield bytes([1, 1, field])


def run(data: bytes) -> None:
    choices = Choices(data)
    kind, target = choices.below(len(KINDS)), TARGETS[choices.below(len(TARGETS))]
    envelope = KINDS[kind](choices)
    if envelope is None:
        return
    try:
        message = open_sealed(envelope, OWN_KEY)
    except (HiveMindException, ValueError):
        message = None
    assert len(fingerprint(envelope)) in (0, 64)
    intercom = HiveMessage(HiveMessageType.INTERCOM, envelope, target_pubkey=target)
    for known in ((), (SENDER,), ("no key", SENDER)):
        _judged(intercom, message, known)


def _judged(intercom: HiveMessage, message: HiveMessage | None, known: tuple[str, ...]) -> None:
    verdict = judge(intercom, OURS, OWN_KEY, known)
    if verdict.fate is not Fate.DISPATCHED:
        assert verdict.message is None
        return
    assert message is not None, "what does not open was acted upon"
    assert verdict.author in known
    assert is_signed_by(intercom.body, verdict.author), "nobody known has signed it"
    assert verdict.message is not None
    assert verdict.message.msg_type in DISPATCHED


def _anything(choices: Choices) -> dict[str, Any] | None:
    try:
        value = codec.loads(choices.rest())
    except InvalidJson:
        return None
    return value if isinstance(value, dict) else None


def _recorded(choices: Choices) -> dict[str, Any]:
    """What a sender has sealed, one field of which is changed."""
    field = FIELDS[choices.below(len(FIELDS))]
    text = choices.rest().decode("utf-8", "replace")
    return {key: value for key, value in {**RECORDED, field: text or None}.items() if value is not None}


def _sealed(choices: Choices) -> dict[str, Any]:
    """What a sender seals may be anything."""
    envelope: dict[str, Any] = hybrid_encrypt(OURS, choices.rest(), SENDER_KEY)
    return envelope


KINDS: tuple[Callable[[Choices], dict[str, Any] | None], ...] = (_anything, _recorded, _sealed)
