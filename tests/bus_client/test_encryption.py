"""encryption: the ciphers and envelopes of protocols 1 and 2, and messages sealed for one RSA key."""

from __future__ import annotations

import json
import platform
import secrets
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import vectors
from hivemind_bus_client import encryption
from hivemind_bus_client.encryption import (
    Aead,
    SupportedCiphers,
    SupportedEncodings,
    decrypt_AES_128,
    decrypt_bin,
    decrypt_ChaCha20_Poly1305,
    decrypt_from_json,
    encrypt_AES,
    encrypt_as_json,
    encrypt_bin,
    encrypt_ChaCha20_Poly1305,
    hybrid_decrypt,
    hybrid_encrypt,
)
from hivemind_bus_client.exceptions import (
    DecodingError,
    DecryptionKeyError,
    EncryptionKeyError,
    InvalidCipher,
    InvalidEncoding,
    InvalidKeySize,
)

CASES = vectors.cases("aead")
CIPHERS = list(SupportedCiphers)
KEY = bytes(range(32))


def parts(name: str) -> tuple[Any, bytes, dict[str, Any]]:
    case = CASES[name]
    key: Any = bytes.fromhex(case["key_hex"])
    if case["key_form"] == "utf-8 string":
        key = key.decode()
    return key, bytes.fromhex(case["plaintext_utf8_hex"]), case


# --- vectors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_sealing_with_the_nonce_of_the_vector_gives_the_vector(name: str) -> None:
    key, plaintext, case = parts(name)
    nonce, ciphertext, tag = Aead(key, case["cipher"]).seal(plaintext, bytes.fromhex(case["nonce_hex"]))
    assert (ciphertext.hex(), tag.hex()) == (case["ciphertext_hex"], case["tag_hex"])
    assert (nonce + ciphertext + tag).hex() == case["binary_hex"]


@pytest.mark.parametrize("name", CASES)
def test_the_vector_opens_in_every_form(name: str) -> None:
    key, plaintext, case = parts(name)
    assert decrypt_bin(key, bytes.fromhex(case["binary_hex"]), case["cipher"]) == plaintext
    for encoding, text in case["json"].items():
        assert decrypt_from_json(key, text, case["cipher"], encoding).encode() == plaintext
        assert decrypt_from_json(key, json.loads(text), case["cipher"], encoding).encode() == plaintext
    without_tag = case["json_without_tag_JSON-HEX"]
    assert decrypt_from_json(key, without_tag, case["cipher"], "JSON-HEX").encode() == plaintext


@pytest.mark.parametrize("name", CASES)
def test_our_text_envelope_is_written_as_the_vector_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key, plaintext, case = parts(name)
    monkeypatch.setattr(secrets, "token_bytes", lambda size: bytes.fromhex(case["nonce_hex"]))
    for encoding, text in case["json"].items():
        assert encrypt_as_json(key, plaintext, case["cipher"], encoding) == text
    assert encrypt_bin(key, plaintext, case["cipher"]).hex() == case["binary_hex"]


@pytest.mark.parametrize("case", vectors.load("aead")["nonce_length_tolerance_when_decrypting_json"])
def test_only_a_nonce_of_the_right_length_opens(case: dict[str, Any]) -> None:
    length, cipher = case["json_nonce_bytes"], SupportedCiphers(case["cipher"])
    fits = length == Aead(KEY, cipher).nonce_size
    assert fits == (case["upstream_decrypt"] == "ok")
    nonce, ciphertext, tag = Aead(KEY, cipher).seal(b"x", bytes(length) if fits else None)
    fields = {"ciphertext": ciphertext.hex(), "tag": tag.hex(), "nonce": (nonce * 2)[:length].hex()}
    if fits:
        assert decrypt_from_json(KEY, fields, cipher, "JSON-HEX") == "x"
        return
    with pytest.raises(DecryptionKeyError):
        decrypt_from_json(KEY, fields, cipher, "JSON-HEX")
    with pytest.raises(InvalidKeySize):
        Aead(KEY, cipher).seal(b"x", bytes(length))


@pytest.mark.parametrize("case", vectors.load("aead")["bad_key_lengths"])
def test_a_key_of_the_wrong_length_is_refused(case: dict[str, Any]) -> None:
    key, cipher = bytes(case["key_len"]), case["cipher"]
    for call in (
        lambda: encrypt_bin(key, b"", cipher),
        lambda: decrypt_bin(key, bytes(40), cipher),
        lambda: encrypt_as_json(key, "", cipher),
        lambda: decrypt_from_json(key, "{}", cipher),
    ):
        with pytest.raises(InvalidKeySize):
            call()


# --- round trips and refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize("cipher", CIPHERS)
@given(plaintext=st.text(max_size=200), encoding=st.sampled_from(SupportedEncodings))
@settings(max_examples=40, deadline=None)
def test_text_round_trips(cipher: SupportedCiphers, plaintext: str, encoding: SupportedEncodings) -> None:
    envelope = encrypt_as_json(KEY, plaintext, cipher, encoding)
    assert list(json.loads(envelope)) == ["ciphertext", "tag", "nonce"]
    assert decrypt_from_json(KEY, envelope, cipher, encoding) == plaintext
    assert decrypt_bin(KEY, encrypt_bin(KEY, plaintext, cipher), cipher) == plaintext.encode()


def test_the_key_is_in_no_repr() -> None:
    assert KEY.hex() not in repr(Aead(KEY, "AES-GCM"))
    assert not hasattr(Aead(KEY, "AES-GCM"), "__dict__")


def test_a_dict_is_written_as_json_first() -> None:
    assert json.loads(decrypt_from_json(KEY, encrypt_as_json(KEY, {"a": "é"}))) == {"a": "é"}


def test_every_message_has_its_own_nonce() -> None:
    assert len({encrypt_bin(KEY, b"", "AES-GCM") for _ in range(50)}) == 50


@pytest.mark.parametrize("cipher", CIPHERS)
def test_what_was_changed_or_cut_does_not_open(cipher: SupportedCiphers) -> None:
    sealed = encrypt_bin(KEY, b"plaintext", cipher)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(DecryptionKeyError):
            decrypt_bin(KEY, bytes(changed), cipher)
        with pytest.raises(DecryptionKeyError):
            decrypt_bin(KEY, sealed[:position], cipher)
    with pytest.raises(DecryptionKeyError):
        decrypt_bin(KEY[::-1], sealed, cipher)


@pytest.mark.parametrize(
    "envelope",
    ["", "[]", "1", "{}", '{"ciphertext": "00"}', '{"ciphertext": 1, "nonce": "00"}',
     '{"ciphertext": "00", "nonce": null}', '{"ciphertext": "00", "nonce": "00", "tag": []}',
     '{"ciphertext": "0", "nonce": "00"}', '{"ciphertext": "zz", "nonce": "00"}', b"\xff"],
)  # fmt: skip
def test_an_envelope_of_the_wrong_shape_is_refused(envelope: Any) -> None:
    with pytest.raises(DecodingError):
        decrypt_from_json(KEY, envelope, encoding="JSON-HEX")


def test_a_plaintext_that_is_no_text_is_refused() -> None:
    with pytest.raises(DecodingError, match="UTF-8"):
        decrypt_from_json(KEY, encrypt_as_json(KEY, b"\xff"))


@pytest.mark.parametrize("value", [None, 5, [1]])
def test_what_is_neither_text_nor_bytes_is_refused(value: Any) -> None:
    for call in (encrypt_bin, encrypt_as_json):
        for key, plaintext in ((KEY, value), (value, b"x")):
            with pytest.raises(EncryptionKeyError):
                call(key, plaintext, "AES-GCM")
    for key, ciphertext in ((KEY, value), (value, bytes(40))):
        with pytest.raises(DecryptionKeyError):
            decrypt_bin(key, ciphertext, "AES-GCM")


def test_unknown_names_are_refused() -> None:
    for call in (encrypt_bin, decrypt_bin, encrypt_as_json, decrypt_from_json):
        with pytest.raises(InvalidCipher, match="Invalid cipher: AES-CBC"):
            call(KEY, b"{}", "AES-CBC")
    for call in (encrypt_as_json, decrypt_from_json):
        with pytest.raises(InvalidEncoding, match="Invalid JSON encoding: JSON-B58"):
            call(KEY, "{}", "AES-GCM", "JSON-B58")
    assert encryption._norm_cipher("AES-GCM") is SupportedCiphers.AES_GCM
    assert encryption._norm_encoding("JSON-HEX") is SupportedEncodings.JSON_HEX


def test_the_functions_of_one_cipher() -> None:
    for size in encryption.AES_KEY_SIZES:
        ciphertext, tag, nonce = encrypt_AES(KEY[:size], "text")
        assert (len(tag), len(nonce)) == (encryption.AES_TAG_SIZE, encryption.AES_NONCE_SIZE)
        assert decrypt_AES_128(KEY[:size], ciphertext, tag, nonce) == b"text"
    with pytest.raises(InvalidCipher):
        encrypt_AES(KEY, "text", mode="CBC")
    ciphertext, tag, nonce = encrypt_ChaCha20_Poly1305(KEY, "text")
    assert decrypt_ChaCha20_Poly1305(KEY, ciphertext, tag, nonce) == b"text"
    for call in (
        lambda: encrypt_ChaCha20_Poly1305(KEY, "text", bytes(16)),
        lambda: decrypt_ChaCha20_Poly1305(KEY, ciphertext, tag, bytes(16)),
        lambda: encrypt_ChaCha20_Poly1305(KEY[:16], "text"),
        lambda: encrypt_AES(KEY[:15], "text"),
    ):
        with pytest.raises(InvalidKeySize):
            call()


def test_the_functions_of_aes_take_other_nonces() -> None:
    ciphertext, tag, nonce = encrypt_AES(KEY, "text", b"n" * 12)
    assert nonce == b"n" * 12
    assert decrypt_AES_128(KEY, ciphertext, tag, nonce) == b"text"
    with pytest.raises(ValueError):
        encrypt_AES(KEY, "text", b"")


def test_the_wrong_key_is_a_value_error_too() -> None:
    """Callers of the released functions catch that."""
    with pytest.raises(ValueError):
        decrypt_AES_128(KEY[::-1], *encrypt_AES(KEY, "text"))
    with pytest.raises(ValueError):
        decrypt_ChaCha20_Poly1305(KEY[::-1], *encrypt_ChaCha20_Poly1305(KEY, "text"))


@pytest.mark.parametrize("name", ["ciphertext", "nonce"])
def test_a_field_that_is_missing_is_a_key_error_too(name: str) -> None:
    envelope = json.loads(encrypt_as_json(KEY, "text"))
    del envelope[name]
    with pytest.raises(KeyError) as missing:
        decrypt_from_json(KEY, envelope)
    assert str(missing.value) == f"an encrypted message has a {name}"


# --- the processor ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "system", "first"),
    [("x86_64", "Linux", "AES-GCM"), ("AMD64", "Windows", "AES-GCM"), ("arm64", "Darwin", "AES-GCM"),
     ("aarch64", "Linux", "CHACHA20-POLY1305"), ("armv7l", "Linux", "CHACHA20-POLY1305")],
)  # fmt: skip
def test_the_faster_cipher_comes_first(machine: str, system: str, first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "system", lambda: system)
    ciphers = encryption.optimal_ciphers()
    assert ciphers[0] == first
    assert set(ciphers) == set(CIPHERS)


# --- sealed for one RSA key ---------------------------------------------------------------------------------

INTERCOM = vectors.load("intercom")
HYBRID = INTERCOM["hybrid"]["payload"]


def test_a_recorded_sealed_message_opens() -> None:
    opened = hybrid_decrypt(INTERCOM["recipient_private_pem"], HYBRID)
    assert opened.decode() == INTERCOM["hybrid"]["inner_plaintext_utf8"]


def test_what_we_seal_opens_and_its_signature_verifies() -> None:
    envelope = hybrid_encrypt(INTERCOM["recipient_public_pem"], "olá", INTERCOM["sender_private_pem"])
    assert envelope.keys() == HYBRID.keys()
    assert hybrid_decrypt(INTERCOM["recipient_private_pem"].encode(), envelope) == "olá".encode()
    sender: Any = load_pem_public_key(INTERCOM["sender_public_pem"].encode())
    for sealed in (envelope, HYBRID):
        decode = encryption.get_decoder("JSON-B64")
        signature, ciphertext = decode(sealed["signature"]), decode(sealed["ciphertext"])
        sender.verify(signature, ciphertext, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())


def test_keys_may_be_objects() -> None:
    class Exporting:
        def __init__(self, pem: str) -> None:
            self.export_key = lambda: pem

    private = rsa.generate_private_key(65537, 1024)
    for public in (private, private.public_key()):
        assert hybrid_decrypt(private, hybrid_encrypt(public, b"x")) == b"x"
    envelope = hybrid_encrypt(Exporting(INTERCOM["recipient_public_pem"]), b"x")
    assert "signature" not in envelope
    assert hybrid_decrypt(Exporting(INTERCOM["recipient_private_pem"]), envelope) == b"x"


@pytest.mark.parametrize("key", ["no pem", b"", None, 1])
def test_a_key_that_is_none_is_refused(key: Any) -> None:
    with pytest.raises(EncryptionKeyError):
        hybrid_encrypt(key, b"x")
    with pytest.raises(DecryptionKeyError):
        hybrid_decrypt(key, HYBRID)


def test_a_sealed_message_for_somebody_else_is_refused() -> None:
    with pytest.raises(DecryptionKeyError):
        hybrid_decrypt(INTERCOM["sender_private_pem"], HYBRID)


@pytest.mark.parametrize("name", ["encrypted_key", "ciphertext", "tag", "nonce"])
def test_a_sealed_message_with_a_field_missing_or_changed_is_refused(name: str) -> None:
    private = INTERCOM["recipient_private_pem"]
    without = {key: value for key, value in HYBRID.items() if key != name}
    for broken in (without, {**HYBRID, name: None}, {**HYBRID, name: "%"}):
        with pytest.raises(DecodingError):
            hybrid_decrypt(private, broken)
    with pytest.raises(DecryptionKeyError):
        hybrid_decrypt(private, {**HYBRID, name: encryption.get_encoder("JSON-B64")(bytes(256)).decode()})
