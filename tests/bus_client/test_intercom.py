"""intercom: messages that one node alone can read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from helpers import vectors
from hivemind_bus_client.encryption import get_encoder, hybrid_encrypt
from hivemind_bus_client.exceptions import DecodingError, DecryptionKeyError, EncryptionKeyError, HiveMindException
from hivemind_bus_client.intercom import (
    Fate,
    Verdict,
    is_signed_by,
    judge,
    max_short_text,
    open_sealed,
    propagated,
    seal,
)
from hivemind_bus_client.message import HiveMessage, Message

VECTOR = vectors.load("intercom")
SENDER, SENDER_KEY = VECTOR["sender_public_pem"], VECTOR["sender_private_pem"]
HUB, HUB_KEY = VECTOR["recipient_public_pem"], VECTOR["recipient_private_pem"]
HYBRID, SHORT = VECTOR["hybrid"], VECTOR["rsa_only_legacy"]
BUS = HiveMessage("bus", Message("speak", {"utterance": "olá"}))


def b64(data: bytes) -> str:
    return get_encoder("JSON-B64")(data).decode()


# --- recorded -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [HYBRID, SHORT], ids=["hybrid", "rsa only"])
def test_a_recorded_message_opens_and_its_signature_verifies(case: dict[str, Any]) -> None:
    expected = HiveMessage.deserialize(case["inner_plaintext_utf8"])
    assert open_sealed(case["payload"], HUB_KEY).as_dict == expected.as_dict
    assert is_signed_by(case["payload"], SENDER)
    assert not is_signed_by(case["payload"], HUB)


def test_the_shapes_on_the_wire_are_the_recorded_ones() -> None:
    addressed = HiveMessage("intercom", HYBRID["payload"], target_pubkey=HUB)
    assert addressed.as_dict == HYBRID["intercom_hivemessage_json"]
    assert propagated(addressed).serialize() == HYBRID["propagate_wrapped_json_as_sent_by_1.2.12a1"]
    bare = HiveMessage.from_wire(HYBRID["bare_json_as_sent_by_0.7.0a2_websocket_client"])
    assert open_sealed(bare.body, HUB_KEY).payload.msg_type == "recognizer_loop:utterance"


def test_how_much_the_short_shape_holds() -> None:
    assert max_short_text(2048) == SHORT["max_plaintext_bytes_2048bit"]


# --- at a hub, recorded -------------------------------------------------------------------------------------


def sealed(inner: Any = BUS, target: str | None = HUB, key: Any = HUB, signer: Any = SENDER_KEY) -> HiveMessage:
    return HiveMessage("intercom", hybrid_encrypt(key, inner.serialize(), signer), target_pubkey=target)


def short(target: str | None) -> HiveMessage:
    return HiveMessage("intercom", SHORT["payload"], target_pubkey=target)


def wrongly_signed() -> HiveMessage:
    message = sealed()
    message["signature"] = b64(bytes(256))
    return message


ACCEPTANCE: dict[str, tuple[Callable[[], HiveMessage], str | None]] = {
    "hybrid, addressed to hub": (lambda: HiveMessage("intercom", HYBRID["payload"], target_pubkey=HUB), SENDER),
    "hybrid, unaddressed": (lambda: HiveMessage("intercom", HYBRID["payload"]), SENDER),
    "hybrid, addressed to someone else": (lambda: sealed(target=SENDER), SENDER),
    "RSA-only, addressed": (lambda: short(HUB), SENDER),
    "RSA-only, unaddressed": (lambda: short(None), SENDER),
    "hybrid, wrong signature": (wrongly_signed, SENDER),
    "hybrid, no signature": (lambda: sealed(signer=None), SENDER),
    "hybrid, signer has no pinned key": (sealed, None),
    "hybrid, pinned key differs from signer": (sealed, HUB),
    "plain nested HiveMessage": (lambda: HiveMessage("intercom", BUS, target_pubkey=HUB), SENDER),
    "undecryptable, unaddressed": (lambda: sealed(target=None, key=SENDER), SENDER),
    "undecryptable, addressed to hub": (lambda: sealed(key=SENDER), SENDER),
    "inner is a bare OVOS Message": (lambda: sealed(Message("speak")), SENDER),
    **{
        f"inner is {kind}": (lambda kind=kind: sealed(HiveMessage(kind, BUS)), SENDER)
        for kind in ("propagate", "escalate", "broadcast")
    },
    "inner is shared_bus": (lambda: sealed(HiveMessage("shared_bus", Message("x"))), SENDER),
    "inner is query": (lambda: sealed(HiveMessage("query", BUS)), SENDER),
    "inner is ping": (lambda: sealed(HiveMessage("ping")), SENDER),
}


@pytest.mark.parametrize("case", VECTOR["core_5.3.10a1_acceptance"], ids=lambda case: case["case"])
def test_a_hub_decides_as_recorded(case: dict[str, Any]) -> None:
    build, sender = ACCEPTANCE[case["case"]]
    verdict = judge(build(), HUB, HUB_KEY, [sender] if sender else [])
    assert (verdict.fate is not Fate.FORWARDED) == case["consumed"]
    assert [kind for kind, _ in case["dispatched"]] == [m.msg_type for m in (verdict.message,) if m]
    for kind, bus_type in case["dispatched"]:
        if kind == "bus":
            assert verdict.message is not None
            assert verdict.message.payload.msg_type == bus_type


def test_what_opens_to_no_message_is_dropped_or_left_to_others() -> None:
    for inner in ('{"a": 1}', "no json", "[]"):
        payload = hybrid_encrypt(HUB, inner, SENDER_KEY)
        unaddressed = HiveMessage("intercom", payload)
        assert judge(unaddressed, HUB, HUB_KEY, [SENDER]) == Verdict(Fate.FORWARDED)
    assert judge(HiveMessage("intercom", payload, target_pubkey=HUB), HUB, HUB_KEY, [SENDER]) == Verdict(Fate.DROPPED)


def test_the_space_around_a_target_does_not_matter() -> None:
    assert judge(sealed(target=f"{HUB}\n"), HUB, HUB_KEY, [SENDER]).fate is Fate.DISPATCHED


# --- ours ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [BUS, Message("speak", {"long": "x" * 100_000})])
def test_what_is_sealed_opens_for_its_target_alone(message: Any) -> None:
    intercom = seal(message, HUB, SENDER_KEY)
    assert intercom.target_public_key == HUB
    assert intercom.body.keys() == HYBRID["payload"].keys()
    assert is_signed_by(intercom.body, SENDER)
    assert propagated(intercom).payload.as_dict == intercom.as_dict
    travelled = HiveMessage.from_wire(json.loads(intercom.serialize()))
    opened = open_sealed(travelled.body, HUB_KEY)
    assert opened.msg_type == "bus"
    assert opened.payload.msg_type == "speak"
    with pytest.raises(DecryptionKeyError):
        open_sealed(travelled.body, SENDER_KEY)


def test_a_key_that_is_no_text_is_no_target() -> None:
    assert seal(BUS, HUB.encode(), SENDER_KEY).target_public_key is None
    with pytest.raises(EncryptionKeyError):
        seal(BUS, "no key", SENDER_KEY)


@pytest.mark.parametrize("name", ["ciphertext", "signature"])
@pytest.mark.parametrize("value", [None, 1, "", "%", b64(bytes(256)), b64(bytes(1025))])
def test_a_changed_message_is_not_signed(name: str, value: Any) -> None:
    assert not is_signed_by({**HYBRID["payload"], name: value}, SENDER)
    without = {key: item for key, item in HYBRID["payload"].items() if key != name}
    assert not is_signed_by(without, SENDER)


@pytest.mark.parametrize("key", ["", "no pem", None, 1, b""])
def test_nobody_signed_with_a_key_that_is_none(key: Any) -> None:
    assert not is_signed_by(HYBRID["payload"], key)


@pytest.mark.parametrize(
    "envelope",
    [
        {},
        {"ciphertext": None},
        {"ciphertext": "%"},
        {"ciphertext": b64(bytes(255))},
        {**HYBRID["payload"], "encrypted_key": None},
        {**HYBRID["payload"], "encrypted_key": "A" * 2049},
        {**HYBRID["payload"], "tag": b64(bytes(16))},
    ],
)
def test_what_cannot_be_opened_is_refused(envelope: Any) -> None:
    with pytest.raises(HiveMindException):
        open_sealed(envelope, HUB_KEY)


def test_what_is_too_long_for_any_key_is_refused_without_trying() -> None:
    with pytest.raises(DecodingError, match="longer than any RSA key"):
        open_sealed({"ciphertext": b64(bytes(1025))}, HUB_KEY)
    with pytest.raises(DecodingError, match="longer than any RSA key"):
        open_sealed({**HYBRID["payload"], "encrypted_key": b64(bytes(2000))}, HUB_KEY)
