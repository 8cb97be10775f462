"""Whole connections of released clients and hubs: each of our ends in the place of one of theirs."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs

import pytest

from helpers import vectors
from hivemind_bus_client import exchange
from hivemind_bus_client.exchange import DEFAULT_ENCODING, ENCODINGS
from hivemind_bus_client.link import ClientTerms, HubTerms, KeyNeeded, Link, Malformed, Opened, Received, Refused
from hivemind_bus_client.message import HiveMessage
from hivemind_bus_client.noise import (
    NOISE_PATTERN_KK,
    Handshake,
    HandshakeKeys,
    build_prologue,
    derive_psk,
    public_key,
)
from hivemind_bus_client.parts import Reassembler
from hivemind_bus_client.serialization import decode_frame

NAMES = sorted(path.stem for path in vectors.FOLDER.glob("capture_v3_*.json"))
ROLES = {"client": "C>S", "hub": "S>C"}
every_role = pytest.mark.parametrize("role", ROLES)


class Capture:
    """One recorded connection."""

    def __init__(self, name):
        self.data = vectors.load(name)
        raw = self._websocket() if "frames" in self.data else self._http()
        self.frames = [(ROLES_BY_ARROW[arrow], frame, note) for arrow, frame, note in raw]
        """(sender, frame, annotation) in order."""
        clear = [json.loads(frame) for sender, frame, _ in self.frames if sender == "hub" and isinstance(frame, str)]
        self.hello, self.offer = clear[0]["payload"], clear[1]["payload"]
        secrets = self.data["secrets"]
        _, self.pattern, self.suite = secrets["noise_protocol"].split("_", 2)
        self.psk = bytes.fromhex(secrets["psk_hex"])
        self.static = {role: bytes.fromhex(secrets[f"{role}_static_private_hex"]) for role in ROLES}
        self.ephemeral = {role: bytes.fromhex(secrets[f"{role}_ephemeral_private_hex"]) for role in ROLES}
        self.public = {role: public_key(key) for role, key in self.static.items()}

    def _websocket(self):
        for frame in self.data["frames"]:
            if frame.get("opcode") in ("text", "binary"):
                data = frame["text"] if frame["opcode"] == "text" else bytes.fromhex(frame["hex"])
                yield frame["dir"], data, frame.get("annotation")

    def _http(self):
        for turn in self.data["exchanges"]:
            if "annotation" in turn:
                frames = self._posted(turn["body"]) if turn["dir"] == "C>S" else self._answered(turn["body"])
                for frame, note in zip(frames, turn["annotation"], strict=True):
                    yield turn["dir"], frame, note

    @staticmethod
    def _posted(body):
        (text,) = parse_qs(body)["message"]
        return [text if text.startswith("{") else base64.b64decode(text)]

    @staticmethod
    def _answered(body):
        fields = json.loads(body)
        return fields.get("messages") or [base64.b64decode(text) for text in fields["b64_messages"]]

    def handshake_messages(self):
        """(sender, payload, message) of the Noise messages."""
        for sender, frame, note in self.frames:
            if isinstance(note, dict) and "noise_payload" in note:
                message = json.loads(frame)["payload"]["noise"]["msg"]
                yield sender, note["noise_payload"].encode(), bytes.fromhex(message)

    def sealed(self):
        """(sender, frame, annotation) of the frames inside the session."""
        return [(sender, frame, note) for sender, frame, note in self.frames if isinstance(frame, bytes)]

    def handshake(self, role):
        other = self.public["hub" if role == "client" else "client"]
        keys = HandshakeKeys(
            self.static[role], self.psk, other if self.pattern == NOISE_PATTERN_KK else None, self.ephemeral[role]
        )
        prologue = build_prologue(self.hello, self.offer, self.data["secrets"]["noise_protocol"])
        return Handshake(self.pattern, self.suite, initiator=role == "client", prologue=prologue, keys=keys)

    def transport(self, role):
        """Play one role of the handshake, every byte compared."""
        handshake = self.handshake(role)
        for sender, payload, message in self.handshake_messages():
            if sender == role:
                assert handshake.write(payload) == message
            else:
                assert handshake.read(message) == payload
        return handshake.transport()

    def link(self, role):
        """Our link in the place of one end."""
        other = "hub" if role == "client" else "client"
        pin = self.public[other] if self.pattern == NOISE_PATTERN_KK else None
        keys = {"static_key": self.static[role], "ephemeral_for_testing_only": self.ephemeral[role], "pinned_key": pin}
        if role == "hub":
            return Link.hub(HubTerms(self.hello, self.offer, **keys), 0)
        return Link.client(ClientTerms(hello={}, **keys), 0)


ROLES_BY_ARROW = {arrow: role for role, arrow in ROLES.items()}


@pytest.fixture(params=NAMES)
def capture(request):
    return Capture(request.param)


def plaintext(note):
    """The annotated plaintext of a frame, marker first."""
    text = note.get("plaintext_json_text")
    return bytes((note["marker"],)) + (bytes.fromhex(note["plaintext_hex"]) if text is None else text.encode())


def content(message):
    """What of a message is compared."""
    return message.msg_type, message.body, message.metadata, message.bin_type


def annotated_messages(notes):
    """The messages a list of annotated frames carries."""
    parts = Reassembler()
    for note in notes:
        whole = parts.feed(plaintext(note))
        if whole is not None:
            body, binary = whole
            yield content(decode_frame(body) if binary else HiveMessage.from_wire(body))


def test_there_are_captures():
    assert len(NAMES) == 6


def test_prologue_and_psk(capture):
    secrets = capture.data["secrets"]
    prologue = build_prologue(capture.hello, capture.offer, secrets["noise_protocol"])
    assert prologue.hex() == secrets["prologue_hex"]
    assert derive_psk(secrets["password"], capture.hello["node_id"]) == capture.psk


def test_handshake_and_frames_byte_for_byte(capture):
    ends = {role: capture.transport(role) for role in ROLES}
    count = dict.fromkeys(ROLES, 0)
    for sender, frame, note in capture.sealed():
        receiver = "hub" if sender == "client" else "client"
        assert note["noise_nonce"] == count[sender] == ends[receiver].receiving.nonce
        assert ends[receiver].receiving.decrypt(frame) == plaintext(note)
        assert ends[sender].sending.encrypt(plaintext(note)) == frame
        count[sender] += 1
    assert all(count.values())


def test_binary_frames_hold_what_the_annotation_says(capture):
    for _, _, note in capture.sealed():
        if "decoded_bitstring" in note:
            said, message = note["decoded_bitstring"], decode_frame(bytes.fromhex(note["plaintext_hex"]))
            body = bytes.fromhex(said["payload_hex"]) if "payload_hex" in said else said["payload"]
            assert content(message) == (said["msg_type"], body, said["metadata"], said["bin_type"])


@every_role
def test_our_link_in_the_place_of_one_end(capture, role, monkeypatch):
    """The released hub writes its handshake payload with a space; in XXpsk2 the third message depends on it."""
    if role == "hub":
        monkeypatch.setattr(exchange, "canonical_json", lambda value: json.dumps(value).encode())
    link, events, shakes = capture.link(role), [], []
    theirs = [(frame, note) for sender, frame, note in capture.frames if sender != role]
    for frame, _ in theirs:
        pending = link.receive(frame, 0)
        while pending:
            events += pending
            pending = link.key_derived(capture.psk, 0) if isinstance(pending[-1], KeyNeeded) else []
        shakes += [json.loads(text) for text in link.frames_to_send() if isinstance(text, str)]
    (opened,) = [event for event in events if isinstance(event, Opened)]
    assert (opened.version, opened.pattern) == (3, capture.pattern)
    assert opened.remote_key == capture.public["hub" if role == "client" else "client"]
    assert opened.binarize is capture.offer["binarize"]
    assert not [event for event in events if isinstance(event, (Malformed, Refused))]
    received = [content(event.message) for event in events if isinstance(event, Received)]
    assert received == list(annotated_messages(note for frame, note in theirs if isinstance(frame, bytes)))
    noise = [shake["payload"].get("noise", {}) for shake in shakes]
    ours = [bytes.fromhex(fields["msg"]) for fields in noise if "msg" in fields]
    assert ours == [message for sender, _, message in capture.handshake_messages() if sender == role]


def test_the_released_choice_of_an_encoding_is_ours(capture):
    ((_, asked, _), (_, answered, _), *_) = capture.handshake_messages()
    first = next((name for name in json.loads(asked)["encodings"] if name in ENCODINGS), DEFAULT_ENCODING)
    assert json.loads(answered) == {"encoding": first}


def test_the_older_client_is_refused_as_the_released_hub_does():
    frames = vectors.load("capture_refused_0.7.0a2_vs_core5")["frames"]
    clear = [json.loads(frame["text"])["payload"] for frame in frames if frame["dir"] == "S>C" and "text" in frame]
    (theirs,) = [frame for frame in frames if frame["dir"] == "S>C" and frame.get("opcode") == "close"]
    link = Link.hub(HubTerms(clear[0], clear[1], bytes(range(32))), 0)
    events = [
        e for frame in frames if frame["dir"] == "C>S" and "text" in frame for e in link.receive(frame["text"], 0)
    ]
    (refused,) = events
    assert (refused.close_code, refused.reason) == (theirs["close_code"], theirs["close_reason"])
