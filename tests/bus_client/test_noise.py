"""Noise: recorded handshakes byte for byte, another implementation on the other side, and what must never happen."""

from __future__ import annotations

import itertools
import json
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from noise.connection import Keypair, NoiseConnection

from helpers import vectors
from helpers.transcripts import recorded_bodies, recorded_transport
from hivemind_bus_client import noise
from hivemind_bus_client.exceptions import NoiseHandshakeFailed, NoiseTransportFailed
from hivemind_bus_client.noise import (
    CHUNK_SIZE,
    MAX_NONCE,
    MAX_REASSEMBLY_BYTES,
    NOISE_PATTERN_KK,
    NOISE_PATTERN_XX,
    NOISE_PATTERNS,
    NOISE_SUITE_AESGCM,
    NOISE_SUITE_CHACHA,
    NOISE_SUITES,
    CipherState,
    Handshake,
    HandshakeKeys,
    build_prologue,
    canonical_json,
    derive_psk,
    generate_static_key,
    noise_protocol_name,
    public_key,
    select_noise_options,
)
from hivemind_bus_client.parts import Reassembler, split_message

KINDS = list(itertools.product(NOISE_PATTERNS, NOISE_SUITES))
every_kind = pytest.mark.parametrize(("pattern", "suite"), KINDS)
every_suite = pytest.mark.parametrize("suite", NOISE_SUITES)
PSK = bytes(range(32))
INITIATOR, RESPONDER = generate_static_key(), generate_static_key()
TRANSCRIPTS = [
    vectors.load(f"noise_{pattern}_{cipher}") for pattern in NOISE_PATTERNS for cipher in ("ChaChaPoly", "AESGCM")
]
CHUNKING = vectors.load("chunking")
PROLOGUE = vectors.load("prologue")


def pair(pattern, suite, *, psk=PSK, other_psk=PSK, prologue=b"p", other_prologue=b"p"):
    """Both sides of a handshake, with what each knows."""
    is_kk = pattern == NOISE_PATTERN_KK
    mine = HandshakeKeys(INITIATOR, psk, public_key(RESPONDER) if is_kk else None)
    theirs = HandshakeKeys(RESPONDER, other_psk, public_key(INITIATOR) if is_kk else None)
    return (
        Handshake(pattern, suite, initiator=True, prologue=prologue, keys=mine),
        Handshake(pattern, suite, initiator=False, prologue=other_prologue, keys=theirs),
    )


def shake(initiator, responder):
    """Run a handshake to its end and return both transports."""
    sender, receiver = initiator, responder
    while not sender.finished:
        assert receiver.read(sender.write(b"payload")) == b"payload"
        sender, receiver = receiver, sender
    return initiator.transport(), responder.transport()


# --- recorded -----------------------------------------------------------------------------------------------


every_transcript = pytest.mark.parametrize("record", TRANSCRIPTS, ids=lambda r: r["protocol_name"])


class TestRecorded:
    @every_transcript
    def test_transcript(self, record):
        ends = {role: recorded_transport(record, role) for role in ("initiator", "responder")}
        parts = {role: Reassembler() for role in ends}
        senders = set()
        for sender, body, binary, digests in recorded_bodies(record):
            receiver = "responder" if sender == "initiator" else "initiator"
            frames = ends[sender].seal(body, binary)
            assert [sha256(frame).hexdigest() for frame in frames] == digests
            opened = [parts[receiver].feed(ends[receiver].receiving.decrypt(frame)) for frame in frames]
            assert opened == [None] * (len(frames) - 1) + [(body, binary)]
            senders.add(sender)
        assert senders == set(ends)

    @every_transcript
    def test_split_keys(self, record):
        transport = recorded_transport(record, "initiator")
        for cipher, name in (
            (transport.sending, "initiator_to_responder"),
            (transport.receiving, "responder_to_initiator"),
        ):
            twin = CipherState(record["protocol_name"].split("_", 2)[2], bytes.fromhex(record[f"{name}_key_hex"]))
            assert cipher.copy().encrypt(b"x") == twin.encrypt(b"x")
        responder = recorded_transport(record, "responder")
        assert responder.remote_static.hex() == record["initiator_static_public_hex"]
        assert transport.remote_static.hex() == record["responder_static_public_hex"]
        assert transport.handshake_hash == responder.handshake_hash

    @every_transcript
    def test_prologue(self, record):
        prologue = build_prologue(record["hello_payload"], record["handshake_payload"], record["protocol_name"])
        assert prologue.hex() == record["prologue_hex"]

    @pytest.mark.parametrize("case", PROLOGUE["canonical_json"], ids=lambda c: c["canonical_text"][:24])
    def test_canonical_json(self, case):
        assert canonical_json(case["object"]).hex() == case["canonical_utf8_hex"]

    @pytest.mark.parametrize("case", PROLOGUE["prologues"], ids=lambda c: c["prologue_sha256_hex"][:8])
    def test_prologues(self, case):
        prologue = build_prologue(case["hello_payload"], case["handshake_payload"], case["protocol_name"])
        assert prologue.hex() == case["prologue_hex"]

    def test_psk(self):
        for case in vectors.load("psk_argon2id")["cases"]:
            assert derive_psk(case["password"], case["node_id"]).hex() == case["psk_hex"]


# --- negotiation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "suites", "pinned", "chosen"),
    [
        (["XXpsk2"], NOISE_SUITES, None, ("XXpsk2", NOISE_SUITE_CHACHA)),
        (["XXpsk2", "KKpsk0"], [NOISE_SUITE_AESGCM], b"k", ("KKpsk0", NOISE_SUITE_AESGCM)),
        (["XXpsk2", "KKpsk0"], NOISE_SUITES[::-1], None, ("XXpsk2", NOISE_SUITE_CHACHA)),
        (["XXpsk2"], NOISE_SUITES, b"k", ("XXpsk2", NOISE_SUITE_CHACHA)),
        (["KKpsk0"], NOISE_SUITES, None, None),
        (["XXpsk2"], ["25519_ChaChaPoly_BLAKE2s"], None, None),
        ([], [], b"k", None),
        ([None, 3, {}], [[]], b"k", None),
    ],
)
def test_select_noise_options(patterns, suites, pinned, chosen):
    assert select_noise_options(patterns, suites, pinned) == chosen


def test_static_keys_are_random():
    assert len({generate_static_key() for _ in range(20)}) == 20
    assert len(generate_static_key()) == 32
    raw = X25519PrivateKey.from_private_bytes(INITIATOR)
    assert public_key(INITIATOR) == raw.public_key().public_bytes_raw()


# --- another implementation ---------------------------------------------------------------------------------


def stranger(pattern, suite, *, initiator):
    """The same side, by the `noiseprotocol` package."""
    made = NoiseConnection.from_name(noise_protocol_name(pattern, suite).encode())
    made.set_prologue(b"p")
    made.set_psks(PSK)
    (made.set_as_initiator if initiator else made.set_as_responder)()
    static, remote = (INITIATOR, RESPONDER) if initiator else (RESPONDER, INITIATOR)
    made.set_keypair_from_private_bytes(Keypair.STATIC, static)
    if pattern == NOISE_PATTERN_KK:
        made.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, public_key(remote))
    made.start_handshake()
    return made


@every_kind
@pytest.mark.parametrize("initiator", [True, False])
def test_with_another_implementation(pattern, suite, initiator):
    ours = pair(pattern, suite)[0 if initiator else 1]
    theirs = stranger(pattern, suite, initiator=not initiator)
    our_turn = initiator
    while not ours.finished:
        if our_turn:
            assert theirs.read_message(ours.write(b"a")) == b"a"
        else:
            assert ours.read(bytes(theirs.write_message(b"b"))) == b"b"
        our_turn = not our_turn
    assert theirs.handshake_finished
    transport = ours.transport()
    assert theirs.get_handshake_hash() == transport.handshake_hash
    for body in (b"", b"x", bytes(65_519)):
        assert theirs.decrypt(transport.sending.encrypt(body)) == body
        assert transport.receiving.decrypt(theirs.encrypt(body)) == body


# --- the handshake ------------------------------------------------------------------------------------------


class TestHandshake:
    @every_kind
    def test_both_ends_agree(self, pattern, suite):
        mine, theirs = shake(*pair(pattern, suite))
        assert mine.handshake_hash == theirs.handshake_hash
        assert mine.remote_static == public_key(RESPONDER)
        assert theirs.remote_static == public_key(INITIATOR)
        for body in (b"", b"x" * 200_000):
            parts = Reassembler()
            frames = [parts.feed(theirs.receiving.decrypt(frame)) for frame in mine.seal(body, True)]
            assert frames[-1] == (body, True)

    @every_kind
    @pytest.mark.parametrize("difference", [{"other_psk": bytes(32)}, {"other_prologue": b"q"}])
    def test_another_password_or_prologue_is_found_out(self, pattern, suite, difference):
        with pytest.raises(NoiseHandshakeFailed):
            shake(*pair(pattern, suite, **difference))

    def test_kk_with_another_static_key_is_found_out(self):
        initiator, responder = pair(NOISE_PATTERN_KK, NOISE_SUITE_CHACHA)
        initiator = Handshake(
            NOISE_PATTERN_KK,
            NOISE_SUITE_CHACHA,
            initiator=True,
            prologue=b"p",
            keys=HandshakeKeys(generate_static_key(), PSK, public_key(RESPONDER)),
        )
        with pytest.raises(NoiseHandshakeFailed):
            responder.read(initiator.write())

    @every_kind
    @settings(deadline=None)
    @given(at=st.integers(0, 10_000), bit=st.integers(0, 7), step=st.integers(0, 2))
    def test_a_failed_read_leaves_the_handshake_usable(self, pattern, suite, at, bit, step):
        sender, receiver = pair(pattern, suite)
        initiator, responder = sender, receiver
        while not sender.finished:
            message = sender.write(b"payload")
            if step == 0:
                self.spoil(receiver, message, at, bit)
            step -= 1
            assert receiver.read(message) == b"payload"
            sender, receiver = receiver, sender
        assert initiator.transport().handshake_hash == responder.transport().handshake_hash

    @staticmethod
    def spoil(receiver, message, at, bit):
        """Read a changed message; where only clear parts were changed it may pass unless something verifies it."""
        changed = bytearray(message)
        changed[at % len(message)] ^= 1 << bit
        before = receiver.hash, receiver.keys.remote_static
        with pytest.raises(NoiseHandshakeFailed):
            receiver.read(bytes(changed))
        for short in (b"", message[:31], message[:-1], message + b"\0"):
            with pytest.raises(NoiseHandshakeFailed):
                receiver.read(short)
        assert (receiver.hash, receiver.keys.remote_static) == before

    @every_kind
    def test_turns(self, pattern, suite):
        initiator, responder = pair(pattern, suite)
        with pytest.raises(NoiseHandshakeFailed):
            responder.write()
        with pytest.raises(NoiseHandshakeFailed):
            initiator.read(bytes(64))
        with pytest.raises(NoiseHandshakeFailed):
            initiator.transport()
        shake(initiator, responder)
        for call in (initiator.write, lambda: responder.read(bytes(64))):
            with pytest.raises(NoiseHandshakeFailed):
                call()

    def test_without_a_key(self):
        initiator, _ = pair(NOISE_PATTERN_KK, NOISE_SUITE_CHACHA, psk=None)
        with pytest.raises(NoiseHandshakeFailed):
            initiator.write()
        initiator.keys.psk = PSK
        assert initiator.write()

    def test_kk_without_the_other_key(self):
        with pytest.raises(NoiseHandshakeFailed):
            Handshake(
                NOISE_PATTERN_KK, NOISE_SUITE_CHACHA, initiator=True, prologue=b"", keys=HandshakeKeys(INITIATOR, PSK)
            )

    @every_kind
    def test_low_order_points_are_refused(self, pattern, suite):
        initiator, _ = pair(pattern, suite)
        initiator.write()
        with pytest.raises(NoiseHandshakeFailed):
            initiator.read(bytes(32) + bytes(88))

    def test_a_message_has_at_most_65535_bytes(self):
        _, responder = pair(NOISE_PATTERN_XX, NOISE_SUITE_CHACHA)
        with pytest.raises(NoiseHandshakeFailed):
            responder.read(bytes(65_536))

    def test_ephemeral_keys_are_new_each_time(self):
        first = {pair(NOISE_PATTERN_XX, NOISE_SUITE_CHACHA)[0].write()[:32] for _ in range(20)}
        assert len(first) == 20

    def test_secrets_are_in_no_repr(self):
        initiator, responder = pair(NOISE_PATTERN_KK, NOISE_SUITE_CHACHA)
        mine, _ = shake(initiator, responder)
        shown = repr(initiator.keys) + repr(mine) + repr(initiator)
        for secret in (INITIATOR, PSK, mine.handshake_hash):
            assert repr(secret) not in shown
            assert secret.hex() not in shown


# --- ciphers ------------------------------------------------------------------------------------------------


class TestCipherState:
    @every_suite
    def test_a_failed_decrypt_does_not_move_the_counter(self, suite):
        sending, receiving = CipherState(suite, PSK), CipherState(suite, PSK)
        frame = sending.encrypt(b"hello")
        for at in range(len(frame)):
            changed = bytearray(frame)
            changed[at] ^= 0x80
            with pytest.raises(NoiseTransportFailed):
                receiving.decrypt(bytes(changed))
            with pytest.raises(NoiseTransportFailed):
                receiving.decrypt(frame[:at])
        assert receiving.nonce == 0
        assert receiving.decrypt(frame) == b"hello"
        assert receiving.nonce == 1

    @every_suite
    def test_a_frame_is_good_once_and_in_its_place(self, suite):
        sending, receiving = CipherState(suite, PSK), CipherState(suite, PSK)
        frames = [sending.encrypt(b"x") for _ in range(3)]
        assert len(set(frames)) == 3
        with pytest.raises(NoiseTransportFailed):
            receiving.decrypt(frames[1])
        receiving.decrypt(frames[0])
        with pytest.raises(NoiseTransportFailed):
            receiving.decrypt(frames[0])

    @every_suite
    def test_the_counter_cannot_be_set_and_ends(self, suite):
        cipher = CipherState(suite, PSK)
        with pytest.raises(AttributeError):
            cipher.nonce = 0  # type: ignore[misc]
        cipher._nonce = MAX_NONCE
        cipher.encrypt(b"the last one")
        for call in (cipher.encrypt, cipher.decrypt):
            with pytest.raises(NoiseTransportFailed):
                call(b"one more")

    @every_suite
    def test_rest_does_not_change_the_counter(self, suite):
        sending, receiving = CipherState(suite, PSK), CipherState(suite, PSK)
        for body in (b"a", b"b", b"c"):
            assert receiving.decrypt(sending.encrypt(body)) == body
            sending.rest()
            receiving.rest()
        assert (sending.nonce, receiving.nonce) == (3, 3)

    def test_the_two_directions_have_different_keys(self):
        mine, theirs = shake(*pair(NOISE_PATTERN_XX, NOISE_SUITE_CHACHA))
        mine.rest()
        frame = mine.sending.encrypt(b"x")
        with pytest.raises(NoiseTransportFailed):
            mine.receiving.decrypt(frame)
        assert theirs.receiving.decrypt(frame) == b"x"

    def test_repr(self):
        assert repr(CipherState(NOISE_SUITE_CHACHA, PSK)) == "<CipherState nonce=0>"


# --- parts --------------------------------------------------------------------------------------------------


class TestParts:
    @pytest.mark.parametrize("case", CHUNKING["sender"], ids=lambda c: f"{c['kind']} {c['body_bytes']}")
    def test_recorded_sender(self, case):
        frames = list(split_message(bytes(case["body_bytes"]), case["kind"] != "text"))
        assert [{"marker": f[0], "body_bytes": len(f) - 1} for f in frames] == case["frames"]

    @pytest.mark.parametrize("case", CHUNKING["receiver"], ids=lambda c: c["name"])
    def test_recorded_receiver(self, case):
        parts = Reassembler(200_000)
        found = [self.feed(parts, self.frame(text)) for text in case["plaintext_frames_hex"]]
        assert found == case["results"]

    @staticmethod
    def frame(text):
        """A frame whose text is cut short with dots goes on as it begins, to the full size."""
        shown = bytes.fromhex(text.rstrip("."))
        return shown if text == text.rstrip(".") else shown.ljust(CHUNK_SIZE + 1, shown[-1:])

    @staticmethod
    def feed(parts, frame):
        try:
            whole = parts.feed(frame)
        except NoiseTransportFailed:
            return "NoiseTransportFailed"
        if whole is None:
            return "incomplete"
        body, binary = whole
        try:
            return f"bin:{body.hex()}" if binary else f"text:{body.decode()}"
        except UnicodeDecodeError:
            return "UnicodeDecodeError"

    @settings(deadline=None)
    @given(size=st.integers(0, 3 * CHUNK_SIZE + 2), binary=st.booleans())
    def test_round_trip(self, size, binary):
        body, parts = b"\xa5" * size, Reassembler()
        *early, last = [parts.feed(frame) for frame in split_message(body, binary)]
        assert early == [None] * len(early)
        assert last == (body, binary)

    def test_the_limit_counts_the_bodies(self):
        parts = Reassembler(10)
        assert parts.feed(b"\x0212345") is None
        assert parts.feed(b"\x0567890") == (b"1234567890", False)
        parts.feed(b"\x0212345")
        with pytest.raises(NoiseTransportFailed):
            parts.feed(b"\x04678901")

    def test_the_limit_is_32_mib(self):
        parts, frame = Reassembler(), b"\x04" + bytes(CHUNK_SIZE)
        parts.feed(b"\x03")
        for _ in range(MAX_REASSEMBLY_BYTES // CHUNK_SIZE):
            assert parts.feed(frame) is None
        with pytest.raises(NoiseTransportFailed):
            parts.feed(frame)


def test_public_names_of_the_module():
    assert noise.PROTOCOL_V3 == 3
    assert noise_protocol_name("XXpsk2", NOISE_SUITE_CHACHA) == "Noise_XXpsk2_25519_ChaChaPoly_SHA256"
    assert json.loads(canonical_json({"b": 1, "a": "é"})) == {"a": "é", "b": 1}
