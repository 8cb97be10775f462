"""What protocol versions 0 to 2 are made of, against the recorded vectors."""

from __future__ import annotations

import pytest

from helpers import vectors
from hivemind_bus_client import codec
from hivemind_bus_client.exceptions import DecodingError, DecryptionKeyError, HiveMindException, InvalidKeySize
from hivemind_bus_client.exchange import ClearFrame
from hivemind_bus_client.legacy_crypto import (
    FAST_ENCODINGS,
    IV_BYTES,
    MAX_SLOW_TEXT,
    OFFERED_CIPHERS,
    OFFERED_ENCODINGS,
    LegacySession,
    envelope_iv,
    open_secret,
    or_nothing,
    password_envelope,
    seal_secret,
    session_key,
    xor,
)
from hivemind_bus_client.text_encodings import SupportedEncodings

PASSWORDS = vectors.load("password_handshake")
RSA = vectors.load("rsa_handshake")


@pytest.mark.parametrize("case", PASSWORDS["cases"], ids=lambda case: case["client_iv_hex"])
def test_password_handshakes(case):
    password = case["password"]
    ours, theirs = bytes.fromhex(case["client_iv_hex"]), bytes.fromhex(case["server_iv_hex"])
    assert password_envelope(password, ours) == case["client_envelope"]
    assert password_envelope(password, theirs) == case["server_envelope"]
    assert envelope_iv(case["server_envelope"], password, ours) == theirs
    assert xor(ours, theirs).hex() == case["salt_hex"]
    assert session_key(password, xor(ours, theirs)).hex() == case["session_key_hex"]


@pytest.mark.parametrize("case", PASSWORDS["envelope_acceptance"], ids=lambda case: case["case"])
def test_which_envelopes_fit(case):
    password, own = PASSWORDS["cases"][0]["password"], bytes(IV_BYTES)
    assert (envelope_iv(case["envelope"], password, own) is not None) is case["accepted"]


@pytest.mark.parametrize("envelope", [None, 7, b"00" * 24, ["00" * 24], "é" * 48, "0" * 48])
def test_what_is_no_envelope(envelope):
    assert envelope_iv(envelope, "password") is None


def test_an_envelope_of_another_password_does_not_fit():
    assert envelope_iv(password_envelope("one", bytes(8)), "other") is None


def test_the_recorded_rsa_envelope_opens():
    secret = open_secret(RSA["envelope_hex"], RSA["client_private_pem"], RSA["server_public_pem"])
    assert secret.hex() == RSA["random_draws_hex_in_order"][0] == RSA["session_key_hex"]


def test_an_rsa_secret_there_and_back():
    envelope = seal_secret(bytes(range(32)), RSA["client_public_pem"], RSA["server_private_pem"])
    assert len(envelope) == len(RSA["envelope_hex"])
    assert open_secret(envelope, RSA["client_private_pem"], RSA["server_public_pem"]) == bytes(range(32))


@pytest.mark.parametrize(
    ("envelope", "client", "hub"),
    [
        (RSA["envelope_hex"], "server_private_pem", "server_public_pem"),
        (RSA["envelope_hex"], "client_private_pem", "client_public_pem"),
        ("00" + RSA["envelope_hex"][2:], "client_private_pem", "server_public_pem"),
        (RSA["envelope_hex"][:-2], "client_private_pem", "server_public_pem"),
        ("zz", "client_private_pem", "server_public_pem"),
        ("", "client_private_pem", "server_public_pem"),
        (None, "client_private_pem", "server_public_pem"),
        ("00" * 5000, "client_private_pem", "server_public_pem"),
    ],
    ids=["another reader", "another hub", "changed signature", "cut", "not hex", "empty", "absent", "too long"],
)
def test_an_rsa_envelope_that_is_not_sound(envelope, client, hub):
    with pytest.raises(HiveMindException):
        open_secret(envelope, RSA[client], RSA[hub])
    assert or_nothing(open_secret, envelope, RSA[client], RSA[hub]) == b""


@pytest.mark.parametrize("pem", ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "x" * 400])
def test_a_key_that_is_none(pem):
    assert or_nothing(seal_secret, bytes(32), pem, RSA["server_private_pem"]) == b""


def test_a_secret_of_another_length_is_not_used():
    envelope = seal_secret(bytes(16), RSA["client_public_pem"], RSA["server_private_pem"])
    with pytest.raises(HiveMindException, match="length"):
        open_secret(envelope, RSA["client_private_pem"], RSA["server_public_pem"])


# --- sessions


def sessions(cipher, encoding, key=bytes(range(32))):
    return LegacySession(key, cipher, encoding), LegacySession(key, cipher, encoding)


every_cipher = pytest.mark.parametrize("cipher", OFFERED_CIPHERS)
every_encoding = pytest.mark.parametrize("encoding", OFFERED_ENCODINGS)


def test_all_encodings_are_offered_and_the_fast_ones_first():
    assert sorted(OFFERED_ENCODINGS) == sorted(encoding.value for encoding in SupportedEncodings)
    assert set(OFFERED_ENCODINGS[: len(FAST_ENCODINGS)]) == FAST_ENCODINGS


@every_cipher
@every_encoding
@pytest.mark.parametrize("body", [b"", b"{}", "olá ☃".encode() * 50])
def test_text_and_binary_frames_there_and_back(cipher, encoding, body):
    ours, theirs = sessions(cipher, encoding)
    (text,) = ours.seal(body, False)
    (binary,) = ours.seal(body, True)
    assert list(codec.loads(text)) == ["ciphertext", "tag", "nonce"]
    assert theirs.open(text) == (body, False)
    assert theirs.open(binary) == (body, True)


def test_a_tag_may_stand_at_the_end_of_the_ciphertext():
    ours, theirs = sessions("AES-GCM", "JSON-HEX")
    fields = codec.loads(ours.seal(b"hello", False)[0])
    joined = codec.dumps({"ciphertext": fields["ciphertext"] + fields["tag"], "nonce": fields["nonce"]})
    assert theirs.open(joined) == (b"hello", False)


def test_no_two_messages_share_a_nonce():
    ours, _ = sessions("AES-GCM", "JSON-HEX")
    assert len({ours.seal(b"", True)[0][:16] for _ in range(100)}) == 100


@every_cipher
def test_a_changed_frame_does_not_open(cipher):
    ours, theirs = sessions(cipher, "JSON-B64")
    frame = bytearray(ours.seal(b"hello", True)[0])
    frame[-1] ^= 1
    with pytest.raises(DecryptionKeyError):
        theirs.open(bytes(frame))


@pytest.mark.parametrize("frame", [b"", b"short", '{"ciphertext": 1}', '{"ciphertext": "00"}', "[", "nul", '"text"x'])
def test_what_is_no_sealed_frame(frame):
    with pytest.raises(HiveMindException):
        sessions("AES-GCM", "JSON-HEX")[0].open(frame)


@pytest.mark.parametrize(("frame", "said"), [('{"msg_type": "bus"}', "bus"), ("[]", None), ("7", None)])
def test_a_clear_frame_is_told_apart(frame, said):
    with pytest.raises(ClearFrame) as caught:
        sessions("AES-GCM", "JSON-HEX")[0].open(frame)
    assert caught.value.msg_type == said


def test_slow_encodings_are_bounded():
    with pytest.raises(DecodingError, match="at most"):
        sessions("AES-GCM", "JSON-B91")[0].open("x" * (MAX_SLOW_TEXT + 1))


@pytest.mark.parametrize(
    ("key", "cipher"), [(bytes(15), "AES-GCM"), (bytes(16), "CHACHA20-POLY1305"), (b"", "AES-GCM")]
)
def test_a_key_of_a_wrong_length(key, cipher):
    with pytest.raises(InvalidKeySize):
        LegacySession(key, cipher, "JSON-HEX")
