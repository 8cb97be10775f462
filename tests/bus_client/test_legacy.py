"""Handshakes of protocol versions 0 to 2 between two of our links, what is refused, and the recorded connections."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from urllib.parse import parse_qs

import pytest

from helpers import vectors
from helpers.link_pair import CLIENT_HELLO, CLIENT_PUBLIC, HELLO, LinkPair, client_terms, hub_terms
from hivemind_bus_client import codec, legacy, legacy_crypto
from hivemind_bus_client.exchange import Refuse
from hivemind_bus_client.legacy import HubLegacyTerms, OlderOffer
from hivemind_bus_client.legacy_crypto import OFFERED_CIPHERS, OFFERED_ENCODINGS, password_envelope
from hivemind_bus_client.link import (
    MAX_RESTARTS,
    ClientTerms,
    HubTerms,
    KeyNeeded,
    Link,
    Malformed,
    Opened,
    Received,
    Refused,
    hub_offer,
)
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message
from hivemind_bus_client.serialization import decode_frame

RSA_KEYS = vectors.load("rsa_handshake")
SECRET = "orbital-walnut-cipher-93-lantern"
CRYPTO_KEY = "0123456789abcdef"
BUS = HiveMessage(HiveMessageType.BUS, {"type": "speak", "data": {"utterance": "olá ☃"}, "context": {}})
SOUND = HiveMessage(
    HiveMessageType.BINARY, b"\0\1\2", bin_type=HiveMindBinaryPayloadType.RAW_AUDIO, metadata={"sample_rate": 16000}
)


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch):
    """PBKDF2 is checked against vectors elsewhere; its cost is not what is tested here."""
    monkeypatch.setattr(legacy_crypto, "PBKDF2_ROUNDS", 10)


class Pair(LinkPair):
    """Links that do the slow work of older handshakes at once."""

    def __init__(self, hub, client):
        super().__init__(hub, client)
        for end in (self.hub, self.client):
            end.take = self._taker(end)

    def _taker(self, end):
        def take(events, now):
            end.events.extend(events)
            for event in events:
                if isinstance(event, KeyNeeded):
                    assert event.compute is not None
                    take(end.link.key_derived(event.compute(), now), now)

        return take


def hub(kind, *, floor=0, encodings=OFFERED_ENCODINGS, ciphers=OFFERED_CIPHERS, binarize=False, noise=False):
    """A hub that serves one kind; `noise` leaves v3 in the offer."""
    older = OlderOffer(floor, kind == "password", kind == "preshared")
    offer = hub_offer(binarize=binarize, encodings=encodings, ciphers=ciphers, pinned=False, older=older)
    if not noise:
        offer.pop("noise", None)
    terms = HubLegacyTerms(encodings, ciphers, SECRET if kind == "password" else None, RSA_KEYS["server_private_pem"])
    hello = {**HELLO, "pubkey": RSA_KEYS["server_public_pem"]}
    return hub_terms(
        offer=offer, hello=hello, floor=floor, legacy=terms, crypto_key=CRYPTO_KEY if kind == "preshared" else None
    )


def satellite(**changes):
    """A satellite that may speak anything and has everything."""
    hello = {**CLIENT_HELLO, "pubkey": RSA_KEYS["client_public_pem"]}
    terms = client_terms(
        hello=hello,
        min_version=0,
        password=SECRET,
        rsa_key=RSA_KEYS["client_private_pem"],
        crypto_key=CRYPTO_KEY,
    )
    return replace(terms, **changes)


KINDS = {"password": 2, "rsa": 1, "preshared": 0}
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@pytest.mark.parametrize("binarize", [False, True])
def test_the_whole_course(kind, binarize):
    pair = Pair(hub(kind, binarize=binarize), satellite()).run()
    ours, theirs = pair.client.opened, pair.hub.opened
    assert (ours.version, ours.pattern, ours.remote_key) == (KINDS[kind], kind, b"")
    assert (theirs.version, theirs.pattern) == (KINDS[kind], kind)
    assert (ours.cipher, ours.encoding, ours.key) == (theirs.cipher, theirs.encoding, theirs.key)
    assert ours.binarize is binarize
    (hello,) = pair.hub.messages
    assert (hello.msg_type, hello.body["site_id"]) == ("hello", "kitchen")
    for message in (BUS, SOUND):
        pair.send(pair.client, message)
        pair.send(pair.hub, message)
        assert pair.hub.messages[-1].body == pair.client.messages[-1].body == message.body
    assert not pair.hub.of(Refused) + pair.client.of(Refused) + pair.client.of(Malformed)


@every_kind
def test_nothing_but_the_greeting_and_the_handshake_travels_in_the_clear(kind):
    pair = Pair(hub(kind), satellite()).run()
    pair.send(pair.client, BUS)
    pair.send(pair.hub, BUS)
    clear = [codec.loads(frame) for _, frame in pair.wire if isinstance(frame, str)]
    assert [frame["msg_type"] for frame in clear[:2]] == ["hello", "shake"]
    assert {frame.get("msg_type", "sealed") for frame in clear[2:]} <= {"shake", "sealed"}
    assert "olá" not in "".join(frame for _, frame in pair.wire if isinstance(frame, str))


@pytest.mark.parametrize("encoding", OFFERED_ENCODINGS)
@pytest.mark.parametrize("cipher", OFFERED_CIPHERS)
def test_a_hub_that_allows_one_encoding_and_one_cipher(encoding, cipher):
    pair = Pair(hub("password", encodings=(encoding,), ciphers=(cipher,)), satellite()).run()
    assert (pair.client.opened.encoding, pair.client.opened.cipher) == (encoding, cipher)
    pair.send(pair.hub, BUS)
    assert pair.client.messages[-1].body == BUS.body


def test_the_hub_takes_the_first_of_its_own_list():
    pair = Pair(hub("password", encodings=("JSON-HEX", "JSON-B91")), satellite()).run()
    assert pair.client.opened.encoding == "JSON-HEX"


def test_rsa_negotiates_nothing():
    pair = Pair(hub("rsa", encodings=("JSON-B91",), ciphers=("CHACHA20-POLY1305",)), satellite()).run()
    assert (pair.client.opened.encoding, pair.client.opened.cipher) == ("JSON-HEX", "AES-GCM")


def test_v3_is_preferred_where_both_can_speak_it():
    pair = LinkPair(hub("password", floor=2, noise=True), satellite()).run()
    assert pair.client.opened.version == pair.hub.opened.version == 3


@pytest.mark.parametrize(
    ("kind", "changes", "code"),
    [
        ("password", {"min_version": 3}, "protocol_too_old"),
        ("rsa", {"min_version": 2}, "protocol_too_old"),
        ("preshared", {"min_version": 2}, "protocol_too_old"),
        ("rsa", {"rsa_key": None}, "protocol_too_old"),
        ("preshared", {"crypto_key": None, "rsa_key": None}, "protocol_too_old"),
        ("preshared", {"crypto_key": "too short", "rsa_key": None}, "protocol_too_old"),
        ("password", {"has_password": False, "password": None, "crypto_key": None, "min_version": 2}, "no_password"),
    ],
)
def test_a_satellite_never_goes_below_its_floor_or_its_means(kind, changes, code):
    pair = Pair(hub(kind), satellite(**changes)).run()
    assert pair.client.refused.code == code
    assert not [frame for sender, frame in pair.wire if sender == "client"]


def test_an_offer_stripped_of_noise_is_refused_by_a_satellite_with_floor_3():
    pair = LinkPair(hub("password", floor=2, noise=True), satellite(min_version=3))

    def strip(sender, frame):
        document = codec.loads(frame) if isinstance(frame, str) else {}
        if sender == "hub" and "noise" in document.get("payload", {}):
            del document["payload"]["noise"]
            return [codec.dumps(document)]
        return [frame]

    pair.change = strip
    pair.run()
    assert pair.client.refused.code == "protocol_too_old"
    assert pair.client.refused.reason == "the hub offers no protocol from v3 on that this satellite can speak"


@pytest.mark.parametrize("compress", [None, False, True])
def test_binary_frames_are_always_compressed(compress):
    """Clients 0.4 and hub 4.0 inflate every binary frame, whatever its flag says."""
    pair = Pair(replace(hub("password", binarize=True), compress=compress), satellite(compress=compress)).run()
    for end in (pair.hub, pair.client):
        end.link.send(BUS)
        (frame,) = end.link.frames_to_send()
        session = legacy_crypto.LegacySession(end.opened.key, end.opened.cipher, end.opened.encoding)
        plain, binary = session.open(frame)
        assert binary
        assert plain[0] & 1


def test_a_satellite_may_say_the_same_over_and_over():
    """A hub takes no frame that inflates to too much for what it is, and everything is compressed here."""
    silence = HiveMessage(HiveMessageType.BUS, Message("audio", {"pcm": "A" * 300_000}))
    pair = Pair(hub("password", binarize=True), satellite()).run()
    pair.send(pair.client, silence)
    assert pair.hub.messages[-1].payload.data == {"pcm": "A" * 300_000}


# --- what a hub refuses


def shake(**payload):
    return HiveMessage(HiveMessageType.HANDSHAKE, {"binarize": False, **payload}).serialize()


LISTS = {"encodings": list(OFFERED_ENCODINGS), "ciphers": list(OFFERED_CIPHERS)}
FITTING = password_envelope(SECRET, b"12345678")


@pytest.mark.parametrize(
    ("kind", "floor", "payload", "code", "reason"),
    [
        ("password", 2, {}, "malformed_handshake", "invalid or unrecognized handshake"),
        (
            "password",
            2,
            {**LISTS, "envelope": password_envelope("another", b"12345678")},
            "wrong_password",
            "password handshake verification failed",
        ),
        ("password", 2, {**LISTS, "envelope": "0" * 48}, "wrong_password", "password handshake verification failed"),
        ("password", 2, {**LISTS, "envelope": 5}, "wrong_password", "password handshake verification failed"),
        ("password", 2, {"envelope": FITTING}, "no_common_cipher", "invalid cipher/encoding negotiation"),
        (
            "password",
            2,
            {"envelope": FITTING, "encodings": ["ROT13"], "ciphers": ["AES-GCM"]},
            "no_common_cipher",
            "invalid cipher/encoding negotiation",
        ),
        (
            "password",
            0,
            {**LISTS, "pubkey": RSA_KEYS["client_public_pem"]},
            "protocol_too_old",
            "legacy handshake at protocol v1 is below the configured minimum v2",
        ),
        (
            "rsa",
            2,
            {**LISTS, "pubkey": RSA_KEYS["client_public_pem"]},
            "protocol_too_old",
            "legacy handshake at protocol v1 is below the configured minimum v2",
        ),
        (
            "rsa",
            1,
            {**LISTS, "envelope": FITTING},
            "protocol_too_old",
            "legacy handshake at protocol v2 is below the configured minimum v3",
        ),
        ("rsa", 1, {"pubkey": "x" * 5000}, "malformed_handshake", "invalid or unrecognized handshake"),
        ("rsa", 1, {"pubkey": 5}, "malformed_handshake", "invalid or unrecognized handshake"),
    ],
)
def test_first_messages_that_are_refused(kind, floor, payload, code, reason):
    link = Link.hub(hub(kind, floor=floor), 0)
    assert link.receive(shake(**payload), 0) == [Refused(code, reason)]


def test_a_public_key_that_is_none_is_refused_by_the_slow_part():
    link = Link.hub(hub("rsa", floor=1), 0)
    (needed,) = link.receive(shake(pubkey="-----BEGIN PUBLIC KEY-----"), 0)
    assert link.key_derived(needed.compute(), 0) == [
        Refused("malformed_handshake", "invalid or unrecognized handshake")
    ]


def test_with_a_password_a_client_that_sends_both_kinds_gets_the_password_handshake():
    link = Link.hub(hub("password", floor=0), 0)
    (needed,) = link.receive(shake(envelope=FITTING, pubkey=RSA_KEYS["client_public_pem"], **LISTS), 0)
    assert link.pattern == "password"
    assert needed.compute is not None


def test_a_row_that_is_v3_only_refuses_older_handshakes():
    link = Link.hub(hub_terms(pinned=CLIENT_PUBLIC), 0)
    (refused,) = link.receive(shake(envelope=FITTING, **LISTS), 0)
    assert (refused.close_code, refused.reason) == (1008, "this node requires the v3 Noise handshake")


def test_a_hub_without_v3_refuses_noise():
    link = Link.hub(hub("rsa", floor=1), 0)
    (refused,) = link.receive(shake(noise={"pattern": "XXpsk2"}), 0)
    assert (refused.code, refused.reason) == ("not_offered", "protocol v3 not offered")


# --- until the key is proven


def answered(kind="password", floor=0):
    """A hub's link that has sent its part of the key and waits for the HELLO; and the client's session."""
    pair = Pair(hub(kind, floor=floor), satellite())
    pair.change = lambda sender, frame: [] if sender == "client" and "ciphertext" in str(frame) else [frame]
    pair.run()
    assert not pair.hub.of(Opened)
    return pair.hub.link, pair.client.link


@every_kind
def test_a_hub_says_nothing_before_a_frame_of_the_client_decrypts(kind):
    link, client = answered(kind)
    assert not link.is_open
    assert link.deadline() is not None
    client.send(BUS)
    (frame,) = client.frames_to_send()
    opened, received = link.receive(frame, 0)
    assert isinstance(opened, Opened)
    assert received.message.body == BUS.body
    assert link.deadline() is None


@every_kind
@pytest.mark.parametrize("frame", [b"\0" * 60, '{"ciphertext": "00", "tag": "00", "nonce": "00"}', b""])
def test_a_first_frame_that_does_not_decrypt_ends_the_link(kind, frame):
    link, _ = answered(kind)
    (refused,) = link.receive(frame, 0)
    assert refused.code == "handshake_failed"
    assert link.receive(frame, 0) == []


@every_kind
@pytest.mark.parametrize("msg_type", ["bus", "hello"])
def test_a_clear_message_instead_of_a_sealed_one_ends_the_link(kind, msg_type):
    link, _ = answered(kind)
    (refused,) = link.receive(HiveMessage(msg_type, {}).serialize(), 0)
    assert refused.code == "unencrypted_frame"


@pytest.mark.parametrize(("password", "previous"), [(SECRET, False), ("the one before", True)])
def test_either_of_two_passwords_may_be_shown(password, previous):
    terms = hub("password")
    terms = replace(terms, legacy=replace(terms.legacy, previous_password="the one before"))
    pair = Pair(terms, satellite(password=password)).run()
    assert pair.hub.opened.previous is previous
    (needed,) = pair.hub.of(KeyNeeded)
    assert needed.previous is previous
    pair.send(pair.client, BUS)
    assert [message.msg_type for message in pair.hub.messages] == [HiveMessageType.HELLO, HiveMessageType.BUS]
    assert "the one before" not in repr(terms)


def test_a_third_password_is_refused():
    terms = hub("password")
    terms = replace(terms, legacy=replace(terms.legacy, previous_password="the one before"))
    pair = Pair(terms, satellite(password="another one")).run()
    assert pair.hub.refused == Refused("wrong_password", "password handshake verification failed")


def test_a_client_that_got_impatient_may_begin_anew_but_not_for_ever():
    link, _ = answered()
    for _ in range(MAX_RESTARTS):
        (needed,) = link.receive(shake(envelope=FITTING, **LISTS), 0)
        link.key_derived(needed.compute(), 0)
        assert link.frames_to_send()
    assert link.receive(shake(envelope=FITTING, **LISTS), 0) == [
        Refused("malformed_handshake", "invalid or unrecognized handshake")
    ]


def test_the_answer_fits_the_last_of_several_impatient_messages():
    link = Link.hub(hub("password"), 0)
    link.frames_to_send()
    (needed,) = link.receive(shake(envelope=FITTING, **LISTS), 0)
    newer = b"ABCDEFGH"
    assert link.receive(shake(envelope=password_envelope(SECRET, newer), **LISTS), 0) == []
    (again,) = link.key_derived(needed.compute(), 0)
    assert link.frames_to_send() == []
    key = again.compute()
    assert link.key_derived(key, 0) == []
    (frame,) = link.frames_to_send()
    theirs = legacy_crypto.envelope_iv(codec.loads(frame)["payload"]["envelope"], SECRET)
    assert key == legacy_crypto.session_key(SECRET, legacy_crypto.xor(newer, theirs))


def test_a_handshake_that_is_not_finished_times_out():
    link, _ = answered()
    (refused,) = link.tick(link.deadline())
    assert refused.code == "handshake_timeout"


# --- inside a session


@every_kind
def test_a_late_handshake_is_ignored_and_other_clear_frames_end_the_link(kind):
    pair = Pair(hub(kind), satellite()).run()
    assert pair.hub.link.receive(shake(envelope=FITTING, **LISTS), 0) == []
    (refused,) = pair.hub.link.receive(BUS.serialize(), 0)
    assert refused.code == "invalid_frame"


@every_kind
def test_a_satellite_drops_what_comes_in_the_clear(kind):
    pair = Pair(hub(kind), satellite()).run()
    for frame in (BUS.serialize(), shake(envelope=FITTING), HiveMessage("hello", {}).serialize()):
        assert [type(event) for event in pair.client.link.receive(frame, 0)] == [Malformed]
    pair.send(pair.hub, BUS)
    assert pair.client.messages[-1].body == BUS.body


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"envelope": password_envelope("another", b"87654321")}, "wrong_password"),
        ({"envelope": None}, "wrong_password"),
        ({"envelope": password_envelope(SECRET, b"87654321"), "cipher": "ROT13"}, "no_common_cipher"),
        ({"envelope": password_envelope(SECRET, b"87654321"), "encoding": ["x"]}, "no_common_cipher"),
    ],
)
def test_answers_of_a_hub_that_a_satellite_refuses(answer, code):
    pair = Pair(hub("password"), satellite())
    for frame in pair.hub.link.frames_to_send():
        pair.client.link.receive(frame, 0)
    (refused,) = pair.client.link.receive(shake(**answer), 0)
    assert refused.code == code


def test_a_reflected_envelope_is_refused():
    pair = Pair(hub("password"), satellite())
    for frame in pair.hub.link.frames_to_send():
        pair.client.link.receive(frame, 0)
    (own,) = pair.client.link.frames_to_send()
    (refused,) = pair.client.link.receive(shake(envelope=codec.loads(own)["payload"]["envelope"]), 0)
    assert refused.code == "wrong_password"


def test_an_rsa_envelope_of_somebody_else_is_refused():
    pair = Pair(hub("rsa"), satellite())
    for frame in pair.hub.link.frames_to_send():
        pair.client.link.receive(frame, 0)
    (needed,) = pair.client.link.receive(shake(envelope="00" * 512), 0)
    (refused,) = pair.client.link.key_derived(needed.compute(), 0)
    assert refused.code == "handshake_failed"


def test_no_secret_is_shown():
    terms = HubLegacyTerms(OFFERED_ENCODINGS, OFFERED_CIPHERS, SECRET, RSA_KEYS["server_private_pem"])
    pair = Pair(hub("preshared"), satellite()).run()
    shown = repr((terms, satellite(), hub("preshared"), pair.client.events, pair.hub.events))
    assert not [text for text in (SECRET, CRYPTO_KEY, "PRIVATE KEY") if text in shown]


def test_a_refusal_names_the_version_that_is_needed():
    with pytest.raises(Refuse, match="v1 is below the configured minimum v3"):
        legacy.hub_exchange({"pubkey": "x"}, HubLegacyTerms((), ()), 3)


@pytest.mark.parametrize(
    ("older", "fields"),
    [
        (OlderOffer(2, True, False), (True, 2, True, False, 3)),
        (OlderOffer(1, False, False), (False, 1, False, False, 1)),
        (OlderOffer(0, False, True), (False, 0, False, True, 1)),
        (OlderOffer(0, True, False), (True, 1, True, False, 3)),
    ],
)
def test_what_the_offer_says_to_older_clients(older, fields):
    offer = hub_offer(binarize=False, encodings=("JSON-HEX",), ciphers=("AES-GCM",), pinned=False, older=older)
    keys = ("handshake", "min_protocol_version", "password", "preshared_key", "max_protocol_version")
    assert tuple(offer[key] for key in keys) == fields
    assert ("noise" in offer) is older.password


# --- recorded connections

CAPTURES = sorted(path.stem for path in vectors.FOLDER.glob("capture_v[012]_*.json"))
ARROWS = {"C>S": "client", "S>C": "hub"}


class Recorded:
    """A recorded connection of released ends: (sender, frame, annotation) in order."""

    def __init__(self, name):
        self.data = vectors.load(name)
        self.secrets = self.data["secrets"]
        raw = self._websocket() if "frames" in self.data else self._http()
        self.frames = [(ARROWS[arrow], frame, note if isinstance(note, dict) else {}) for arrow, frame, note in raw]
        clear = [codec.loads(frame)["payload"] for sender, frame, _ in self.frames[:2]]
        self.hello, self.offer = clear
        self.kind = name.split("_")[2].replace("0.7.0a2", "password")

    def _websocket(self):
        for frame in self.data["frames"]:
            if frame.get("opcode") in ("text", "binary"):
                data = frame["text"] if frame["opcode"] == "text" else bytes.fromhex(frame["hex"])
                yield frame["dir"], data, frame.get("annotation")

    def _http(self):
        for turn in self.data["exchanges"]:
            for frame, note in self._turn(turn):
                yield turn["dir"], frame, note

    @staticmethod
    def _turn(turn):
        notes = turn.get("annotation") or []
        if turn["dir"] == "S>C" and "messages" in turn["body"]:
            texts = json.loads(turn["body"]).get("messages", [])
            return list(zip(texts, notes or [None] * len(texts), strict=True))
        if turn["dir"] == "C>S" and turn["body"].startswith("message=%7B"):
            (text,) = parse_qs(turn["body"])["message"]
            return [(text, (notes or [None])[0])]
        return []

    def key(self):
        text = self.secrets["session_key_hex"]
        return text.encode() if self.kind == "preshared" else bytes.fromhex(text)

    def messages(self, sender):
        """The messages one end sealed."""
        for who, _, note in self.frames:
            if who == sender and "decrypted_json_text" in note:
                yield HiveMessage.from_wire(codec.loads(note["decrypted_json_text"]))
            elif who == sender and "decoded_bitstring" in note:
                yield decode_frame(bytes.fromhex(note["plaintext_hex"]))


@pytest.fixture(params=CAPTURES)
def recorded(request):
    return Recorded(request.param)


def is_shake(frame):
    return isinstance(frame, str) and codec.loads(frame).get("msg_type") == "shake"


def content(message):
    return message.msg_type, message.body, message.metadata


def test_there_are_recorded_connections():
    assert len(CAPTURES) == 6


def test_every_sealed_frame_opens_with_the_recorded_key(recorded):
    session = legacy_crypto.LegacySession(recorded.key(), recorded.secrets["cipher"], recorded.secrets["encoding"])
    sealed = 0
    for _, frame, note in recorded.frames:
        if "decrypted_json_text" in note:
            assert session.open(frame) == (note["decrypted_json_text"].encode(), False)
            sealed += 1
        elif "plaintext_hex" in note:
            assert session.open(frame) == (bytes.fromhex(note["plaintext_hex"]), True)
            sealed += 1
    assert sealed


def test_our_hub_in_the_place_of_the_released_one(recorded, monkeypatch):
    """What is random is what was recorded; the RSA envelope cannot be made again, so it is not compared."""
    shakes = [
        codec.loads(f)["payload"] for who, f, _ in recorded.frames[2:] if who == "hub" and '"shake"' in str(f)[:30]
    ]
    monkeypatch.undo()
    random = bytes.fromhex(shakes[0]["envelope"][:16]) if recorded.kind == "password" else recorded.key()
    terms = HubLegacyTerms(
        (recorded.secrets["encoding"],),
        (recorded.secrets["cipher"],),
        recorded.secrets["password"] if recorded.kind == "password" else None,
        RSA_KEYS["server_private_pem"],
        lambda size: random,
    )
    crypto_key = recorded.secrets["session_key_hex"] if recorded.kind == "preshared" else None
    link = Link.hub(
        HubTerms(recorded.hello, recorded.offer, bytes(32), floor=0, legacy=terms, crypto_key=crypto_key), 0
    )
    link.frames_to_send()
    events, ours = [], []
    for who, frame, note in recorded.frames:
        if who == "client" and (note or is_shake(frame)):
            pending = link.receive(frame, 0)
            events += pending
            if pending and isinstance(pending[-1], KeyNeeded):
                events += link.key_derived(pending[-1].compute(), 0)
            ours += [codec.loads(text)["payload"] for text in link.frames_to_send()]
    (opened,) = [event for event in events if isinstance(event, Opened)]
    assert (opened.version, opened.pattern) == (KINDS[recorded.kind], recorded.kind)
    assert opened.key == recorded.key()
    received = [content(event.message) for event in events if isinstance(event, Received)]
    assert received == [content(message) for message in recorded.messages("client")]
    assert not [event for event in events if isinstance(event, Refused)]
    if recorded.kind == "password":
        assert ours == shakes


def test_our_satellite_in_the_place_of_the_released_one(recorded, monkeypatch):
    monkeypatch.undo()
    first = next((codec.loads(f).get("payload", {}) for who, f, _ in recorded.frames[2:] if who == "client"), {})
    random = bytes.fromhex(first["envelope"][:16]) if recorded.kind == "password" else b""
    if random:
        original = legacy.ClientLegacyTerms
        monkeypatch.setattr(
            "hivemind_bus_client.sides.ClientLegacyTerms", lambda *a, **k: original(*a, **k, random=lambda size: random)
        )
    terms = ClientTerms(
        bytes(32),
        {"pubkey": first.get("pubkey")},
        min_version=0,
        max_version=2,
        password=recorded.secrets["password"] or "unused",
        rsa_key=recorded.secrets["client_rsa_private_pem"],
        crypto_key=recorded.secrets["session_key_hex"] if recorded.kind == "preshared" else None,
        binarize=False,
    )
    link, events, sent = Link.client(terms, 0), [], []
    for who, frame, _ in recorded.frames:
        if who == "hub":
            pending = link.receive(frame, 0)
            events += pending
            if pending and isinstance(pending[-1], KeyNeeded):
                events += link.key_derived(pending[-1].compute(), 0)
            sent += link.frames_to_send()
    (opened,) = [event for event in events if isinstance(event, Opened)]
    assert (opened.version, opened.pattern, opened.key) == (KINDS[recorded.kind], recorded.kind, recorded.key())
    received = [content(event.message) for event in events if isinstance(event, Received)]
    assert received == [content(message) for message in recorded.messages("hub")]
    if recorded.kind != "preshared":
        asked = codec.loads(sent[0])["payload"]
        assert asked.get("envelope") == first.get("envelope")
        assert asked.get("pubkey") == first.get("pubkey")
        assert sorted(asked["encodings"]) == sorted(first["encodings"])
    assert "ciphertext" in codec.loads(sent[-1])


def test_the_recorded_binary_post_over_http_was_the_released_clients_mistake():
    exchanges = vectors.load("capture_v2_password_http_core4.15")["exchanges"]
    posted = [turn["body"] for turn in exchanges if turn["body"].startswith("message=%C9")]
    assert len(posted) == 1
    with pytest.raises(ValueError, match=r".*"):
        base64.b64decode(parse_qs(posted[0], encoding="latin-1")["message"][0], validate=True)
