"""The ciphers of protocol versions 1 and 2, and messages sealed for one RSA key."""

from __future__ import annotations

import base64
import json
import platform

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from hypothesis import given
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
    optimal_ciphers,
)
from hivemind_bus_client.exceptions import (
    DecodingError,
    DecryptionKeyError,
    EncryptionKeyError,
    InvalidCipher,
    InvalidEncoding,
    InvalidKeySize,
)

RECORDED = vectors.load(vectors.AEAD)
INTERCOM = vectors.load("intercom.json")
CIPHERS = list(SupportedCiphers)
KEY = bytes(range(32))
every_cipher = pytest.mark.parametrize("cipher", CIPHERS, ids=lambda c: c.value)
every_case = pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda c: c["name"])


def key_of(case):
    key = bytes.fromhex(case["key_hex"])
    return key.decode() if case["key_form"].endswith("string") else key


class TestRecorded:
    @every_case
    def test_binary(self, case):
        key, plaintext, nonce = (
            key_of(case),
            bytes.fromhex(case["plaintext_utf8_hex"]),
            bytes.fromhex(case["nonce_hex"]),
        )
        sealed = Aead(key, case["cipher"]).seal(plaintext, nonce)
        assert b"".join(sealed).hex() == case["binary_hex"]
        assert [part.hex() for part in sealed] == [case["nonce_hex"], case["ciphertext_hex"], case["tag_hex"]]
        assert decrypt_bin(key, bytes.fromhex(case["binary_hex"]), case["cipher"]) == plaintext

    @every_case
    @pytest.mark.parametrize("encoding", [*SupportedEncodings, "no tag"], ids=str)
    def test_text(self, case, encoding):
        plaintext = bytes.fromhex(case["plaintext_utf8_hex"]).decode()
        if encoding == "no tag":
            text, encoding = case["json_without_tag_JSON-HEX"], "JSON-HEX"
        else:
            text = case["json"][encoding.value]
        for form in (text, text.encode(), json.loads(text)):
            assert decrypt_from_json(key_of(case), form, case["cipher"], encoding) == plaintext

    @pytest.mark.parametrize("row", RECORDED["nonce_length_tolerance_when_decrypting_json"])
    def test_nonce_length(self, row):
        cipher, size = row["cipher"], row["json_nonce_bytes"]
        right = Aead(KEY, cipher).nonce_size
        _, ciphertext, tag = Aead(KEY, cipher).seal(b"hello", bytes(right))
        fields = {"ciphertext": ciphertext.hex(), "tag": tag.hex(), "nonce": bytes(size).hex()}
        if vectors.expected(vectors.AEAD, f"nonce/{cipher}/{size}") == "ok":
            assert decrypt_from_json(KEY, fields, cipher, "JSON-HEX") == "hello"
        else:
            with pytest.raises(DecryptionKeyError):
                decrypt_from_json(KEY, fields, cipher, "JSON-HEX")

    @pytest.mark.parametrize("row", RECORDED["bad_key_lengths"])
    def test_key_length(self, row):
        with pytest.raises(InvalidKeySize):
            encrypt_bin(bytes(row["key_len"]), b"", row["cipher"])


class TestEnvelopes:
    @every_cipher
    @given(plaintext=st.binary(max_size=64))
    def test_binary_round_trip(self, cipher, plaintext):
        assert decrypt_bin(KEY, encrypt_bin(KEY, plaintext, cipher), cipher) == plaintext

    @every_cipher
    @pytest.mark.parametrize("encoding", SupportedEncodings, ids=lambda e: e.value)
    def test_text_round_trip(self, cipher, encoding):
        text = encrypt_as_json(KEY, "olá ☃", cipher, encoding)
        assert list(json.loads(text)) == ["ciphertext", "tag", "nonce"]
        assert decrypt_from_json(KEY, text, cipher, encoding) == "olá ☃"

    def test_a_dict_is_written_as_json(self):
        assert json.loads(decrypt_from_json(KEY, encrypt_as_json(KEY, {"a": [1]}))) == {"a": [1]}

    @every_cipher
    def test_no_two_nonces_are_the_same(self, cipher):
        size = Aead(KEY, cipher).nonce_size
        assert len({encrypt_bin(KEY, b"", cipher)[:size] for _ in range(100)}) == 100

    @every_cipher
    def test_a_changed_bit_anywhere_is_refused(self, cipher):
        sealed = encrypt_bin(KEY, b"hello", cipher)
        for at in range(len(sealed)):
            changed = bytearray(sealed)
            changed[at] ^= 1
            with pytest.raises(DecryptionKeyError):
                decrypt_bin(KEY, bytes(changed), cipher)

    @every_cipher
    def test_every_shorter_form_is_refused(self, cipher):
        sealed = encrypt_bin(KEY, b"", cipher)
        for size in range(len(sealed)):
            with pytest.raises(DecryptionKeyError):
                decrypt_bin(KEY, sealed[:size], cipher)

    def test_another_key_is_refused(self):
        with pytest.raises(DecryptionKeyError):
            decrypt_from_json(bytes(32), encrypt_as_json(KEY, "x"))

    @pytest.mark.parametrize(
        "envelope",
        [
            "",
            "[]",
            "null",
            "{}",
            '{"ciphertext":"","nonce":1}',
            '{"ciphertext":1,"nonce":""}',
            '{"ciphertext":"","nonce":"","tag":5}',
            '{"ciphertext":"!","nonce":"","tag":""}',
        ],
    )
    def test_what_is_no_envelope(self, envelope):
        with pytest.raises(DecodingError):
            decrypt_from_json(KEY, envelope)

    def test_what_is_no_text(self):
        nonce, ciphertext, tag = Aead(KEY, "AES-GCM").seal(b"\xff")
        fields = {"ciphertext": ciphertext.hex(), "tag": tag.hex(), "nonce": nonce.hex()}
        with pytest.raises(DecodingError):
            decrypt_from_json(KEY, fields, encoding="JSON-HEX")

    def test_unknown_names(self):
        with pytest.raises(InvalidCipher):
            encrypt_bin(KEY, b"", "DES")
        with pytest.raises(InvalidCipher):
            decrypt_bin(KEY, b"", "aes-gcm")
        with pytest.raises(InvalidEncoding):
            encrypt_as_json(KEY, "", encoding="JSON-B58")

    def test_what_cannot_be_encrypted(self):
        for function in (lambda: encrypt_bin(KEY, object(), "AES-GCM"), lambda: encrypt_as_json(KEY, object())):
            with pytest.raises(EncryptionKeyError):
                function()

    def test_the_key_is_in_no_repr(self):
        assert KEY.hex() not in repr(Aead(KEY, "AES-GCM")) + str(vars(encryption))


class TestOneCipher:
    def test_aes(self):
        for size in encryption.AES_KEY_SIZES:
            ciphertext, tag, nonce = encrypt_AES(KEY[:size], "olá")
            assert (len(tag), len(nonce)) == (encryption.AES_TAG_SIZE, encryption.AES_NONCE_SIZE)
            assert decrypt_AES_128(KEY[:size], ciphertext, tag, nonce).decode() == "olá"

    def test_a_given_nonce_is_used(self):
        assert encrypt_AES(KEY, b"", bytes(16))[2] == bytes(16)
        assert encrypt_ChaCha20_Poly1305(KEY, b"", bytes(12))[2] == bytes(12)

    def test_chacha(self):
        ciphertext, tag, nonce = encrypt_ChaCha20_Poly1305(KEY, b"x")
        assert decrypt_ChaCha20_Poly1305(KEY, ciphertext, tag, nonce) == b"x"
        with pytest.raises(DecryptionKeyError):
            decrypt_ChaCha20_Poly1305(KEY, ciphertext, bytes(16), nonce)

    def test_nonces_of_a_wrong_size(self):
        with pytest.raises(InvalidKeySize):
            encrypt_ChaCha20_Poly1305(KEY, b"", bytes(16))
        with pytest.raises(InvalidKeySize):
            decrypt_ChaCha20_Poly1305(KEY, b"", bytes(16), bytes(16))
        with pytest.raises(InvalidKeySize):
            encrypt_AES(KEY, b"", bytes(12))

    def test_gcm_is_the_only_mode(self):
        assert decrypt_AES_128(KEY, *encrypt_AES(KEY, b"x", mode="GCM"), mode=11) == b"x"
        with pytest.raises(InvalidCipher):
            encrypt_AES(KEY, b"", mode="CBC")


@pytest.mark.parametrize(
    ("machine", "system", "first"),
    [
        ("x86_64", "Linux", "AES-GCM"),
        ("AMD64", "Windows", "AES-GCM"),
        ("arm64", "Darwin", "AES-GCM"),
        ("aarch64", "Linux", "CHACHA20-POLY1305"),
        ("armv7l", "Linux", "CHACHA20-POLY1305"),
    ],
)
def test_the_faster_cipher_comes_first(monkeypatch, machine, system, first):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "system", lambda: system)
    ciphers = optimal_ciphers()
    assert ciphers[0].value == first
    assert set(ciphers) == set(CIPHERS)


class TestHybrid:
    """Messages sealed for one RSA key (docs/protocol.md 14.1)."""

    hybrid = INTERCOM["hybrid"]
    recipient = INTERCOM["recipient_private_pem"]
    recipient_public = INTERCOM["recipient_public_pem"]
    sender = INTERCOM["sender_private_pem"]
    sender_public = INTERCOM["sender_public_pem"]

    def verify(self, envelope):
        key = load_pem_public_key(self.sender_public.encode())
        signature, signed = (base64.b64decode(envelope[name]) for name in ("signature", "ciphertext"))
        key.verify(signature, signed, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())

    def test_recorded(self):
        opened = hybrid_decrypt(self.recipient, self.hybrid["payload"])
        assert opened.decode() == self.hybrid["inner_plaintext_utf8"]
        self.verify(self.hybrid["payload"])

    def test_round_trip(self):
        sealed = hybrid_encrypt(self.recipient_public, "olá", self.sender)
        assert list(sealed) == ["encrypted_key", "ciphertext", "tag", "nonce", "signature"]
        assert hybrid_decrypt(self.recipient, sealed).decode() == "olá"
        self.verify(sealed)
        with pytest.raises(InvalidSignature):
            self.verify({**sealed, "ciphertext": "AAAA"})

    def test_without_a_signature(self):
        assert "signature" not in hybrid_encrypt(self.recipient_public, b"x")

    def test_keys_as_objects(self):
        private = load_pem_private_key(self.recipient.encode(), None)
        for public in (private, private.public_key(), self.recipient_public.encode()):
            assert hybrid_decrypt(private, hybrid_encrypt(public, b"x", private)) == b"x"

    def test_keys_of_another_library(self):
        class Exported:
            def export_key(self):
                return TestHybrid.recipient

        assert hybrid_decrypt(Exported(), hybrid_encrypt(Exported(), b"x")) == b"x"

    def test_another_key_cannot_open_it(self):
        with pytest.raises(DecryptionKeyError):
            hybrid_decrypt(self.sender, self.hybrid["payload"])

    @pytest.mark.parametrize("name", ["encrypted_key", "ciphertext", "tag", "nonce"])
    def test_a_field_is_missing_or_changed(self, name):
        payload = self.hybrid["payload"]
        with pytest.raises(DecodingError):
            hybrid_decrypt(self.recipient, {k: v for k, v in payload.items() if k != name})
        with pytest.raises(DecodingError):
            hybrid_decrypt(self.recipient, {**payload, name: "*"})
        with pytest.raises(DecryptionKeyError):
            hybrid_decrypt(self.recipient, {**payload, name: base64.b64encode(bytes(256)).decode()})

    @pytest.mark.parametrize("key", ["nonsense", b"", None, 5])
    def test_what_is_no_key(self, key):
        with pytest.raises(EncryptionKeyError):
            hybrid_encrypt(key, b"x")
        with pytest.raises(DecryptionKeyError):
            hybrid_decrypt(key, self.hybrid["payload"])
