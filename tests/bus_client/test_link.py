"""Link: two of them on a wire, and whatever else may come over it."""

from __future__ import annotations

import json

import pytest

from helpers.bad_frames import CLEAR_REFUSALS, NOT_MESSAGES, XX, shake
from helpers.link_pair import (
    CLIENT_HELLO,
    CLIENT_KEY,
    CLIENT_PUBLIC,
    HELLO,
    HUB_KEY,
    HUB_PUBLIC,
    NODE_ID,
    PASSWORD,
    LinkPair,
    client_terms,
    hub_terms,
    offer,
    open_pair,
    quick_psk,
)
from hivemind_bus_client.exceptions import NotOpen
from hivemind_bus_client.exchange import ENCODINGS
from hivemind_bus_client.link import KeyNeeded, Link, Malformed, Opened, Received, Refused
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message
from hivemind_bus_client.noise import MAX_REASSEMBLY_BYTES, NOISE_SUITES
from hivemind_bus_client.refusals import REFUSALS
from hivemind_bus_client.serialization import decode_frame

BUS = HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": "olá"}))
AUDIO = HiveMessage(
    HiveMessageType.BINARY, b"\0\1\xff", bin_type=HiveMindBinaryPayloadType.RAW_AUDIO, metadata={"rate": 16000}
)
both_patterns = pytest.mark.parametrize("pinned", [False, True], ids=["XXpsk2", "KKpsk0"])
every_suite = pytest.mark.parametrize("suite", NOISE_SUITES)


def known(**hub):
    """The terms of a hub and a satellite that have met before."""
    return hub_terms(pinned=CLIENT_PUBLIC, **hub), client_terms(pinned_key=HUB_PUBLIC)


# --- a session ----------------------------------------------------------------------------------------------


class TestSession:
    @both_patterns
    @every_suite
    def test_opens(self, pinned, suite):
        made = offer(pinned=pinned, noise={"patterns": ["KKpsk0", "XXpsk2"], "suites": [suite]})
        hub, client = known(offer=made) if pinned else (hub_terms(offer=made), client_terms())
        pair = open_pair(hub, client)
        pattern = "KKpsk0" if pinned else "XXpsk2"
        assert pair.hub.opened == Opened(3, pattern, CLIENT_PUBLIC, False, {})
        assert pair.client.opened == Opened(3, pattern, HUB_PUBLIC, False, HELLO, encoding=ENCODINGS[0])
        assert pair.hub.link.pattern == pair.client.link.pattern == pattern
        assert [event.node_id for event in pair.client.of(KeyNeeded)] == [NODE_ID]
        assert len(pair.frames("hub")) == 3
        assert len(pair.frames("client")) == (2 if pinned else 3)

    def test_the_satellite_says_hello_first(self):
        (hello,) = open_pair().hub.messages
        assert hello.msg_type == HiveMessageType.HELLO
        assert hello.body == CLIENT_HELLO

    def test_the_hub_may_know_the_key(self):
        pair = open_pair(hub_terms(psk=quick_psk(PASSWORD, NODE_ID)))
        assert not pair.hub.of(KeyNeeded)

    @both_patterns
    def test_messages_both_ways(self, pinned):
        pair = open_pair(*known()) if pinned else open_pair()
        for message in (BUS, AUDIO):
            pair.send(pair.client, message)
            pair.send(pair.hub, message)
        for bus, audio in (pair.hub.messages[1:], pair.client.messages):
            assert bus.as_dict == BUS.as_dict
            assert (audio.msg_type, audio.body, audio.bin_type) == ("bin", AUDIO.body, 1)
            assert audio.metadata == {"rate": 16000}

    @pytest.mark.parametrize("size", [64_900, 65_000, 65_001, 130_001, 1_000_000])
    def test_long_messages_travel_in_parts(self, size):
        pair = open_pair()
        pair.send(pair.client, HiveMessage(HiveMessageType.BUS, Message("x", {"text": "ö" * (size // 2)})))
        pair.send(pair.hub, HiveMessage(HiveMessageType.BINARY, bytes(size)))
        assert len(pair.hub.messages[-1].body["data"]["text"]) == size // 2
        assert pair.client.messages[-1].body == bytes(size)
        assert max(len(frame) for _, frame in pair.wire) <= 65_535

    def test_a_message_over_32_mib_ends_the_link(self):
        pair = open_pair()
        pair.send(pair.client, HiveMessage(HiveMessageType.BINARY, bytes(MAX_REASSEMBLY_BYTES)))
        assert pair.hub.refused == Refused("invalid_frame", "invalid message")

    def test_nothing_can_be_sent_before_or_after(self):
        pair = LinkPair()
        for end in (pair.hub, pair.client):
            with pytest.raises(NotOpen):
                end.link.send(BUS)
        pair.run()
        pair.hub.take(pair.hub.link.receive(b"garbage", pair.now), pair.now)
        with pytest.raises(NotOpen):
            pair.hub.link.send(BUS)
        assert pair.hub.link.receive(b"more", pair.now) == []
        assert not pair.hub.link.is_open

    def test_a_link_that_rested_goes_on(self):
        LinkPair().client.link.rest()
        pair = open_pair()
        for _ in range(3):
            pair.send(pair.client, BUS)
            pair.send(pair.hub, BUS)
            pair.hub.link.rest()
            pair.client.link.rest()
        assert len(pair.client.messages) == 3

    def test_no_secret_is_in_a_repr(self):
        shown = "".join(map(repr, (hub_terms(psk=b"p" * 32), client_terms(), *open_pair().hub.events)))
        for secret in (HUB_KEY, CLIENT_KEY, b"p" * 32):
            assert repr(secret) not in shown


# --- binary links -------------------------------------------------------------------------------------------


class TestBinarized:
    """docs/protocol.md 4.5, 4.6."""

    @pytest.mark.parametrize(("hub", "client", "binarize"), [(1, 1, True), (1, 0, False), (0, 1, False), (0, 0, False)])
    def test_both_must_want_it(self, hub, client, binarize):
        pair = open_pair(hub_terms(binarize=bool(hub)), client_terms(binarize=bool(client)))
        assert pair.hub.opened.binarize is pair.client.opened.binarize is binarize

    @pytest.mark.parametrize(
        "message",
        [
            HiveMessage(HiveMessageType.INTERCOM, {"ciphertext": "x"}),
            HiveMessage(HiveMessageType.PING, {}, target_site_id="kitchen"),
            HiveMessage(HiveMessageType.PING, {}, target_pubkey="PEM"),
            HiveMessage(HiveMessageType.PING, {}, metadata={"long": "x" * 300}),
            HiveMessage(HiveMessageType.PING, {}, route=[{"source": "a", "targets": []}]),
        ],
        ids=["intercom", "site", "key", "metadata", "route"],
    )
    def test_what_a_binary_frame_would_lose_travels_as_text(self, message):
        assert self.kinds(message) == [(False, message.as_dict)]

    @pytest.mark.parametrize("message", [BUS, HiveMessage(HiveMessageType.ESCALATE, BUS)], ids=["bus", "escalate"])
    def test_the_rest_travels_binary(self, message):
        ((binary, body),) = self.kinds(message)
        assert binary
        assert body["payload"] == message.body

    @staticmethod
    def kinds(message):
        """(is binary, message) of what a satellite puts on the wire."""
        pair = open_pair(hub_terms(binarize=True))
        pair.client.link.send(message)
        opened = [pair.hub.link._session.open(frame) for frame in pair.client.link.frames_to_send()]
        return [(binary, (decode_frame(b) if binary else HiveMessage.from_wire(b)).as_dict) for b, binary in opened]

    def test_text_is_read_on_a_binary_link_and_binary_on_a_text_link(self):
        pair = open_pair(hub_terms(binarize=True), client_terms(binarize=False))
        pair.send(pair.client, AUDIO)
        pair.send(pair.client, BUS)
        assert [m.msg_type for m in pair.hub.messages] == ["hello", "bin", "bus"]


# --- refusals -----------------------------------------------------------------------------------------------


class TestRefused:
    def test_a_wrong_password_is_found_by_the_satellite(self):
        pair = LinkPair(client_password="another").run()
        assert pair.client.refused.code == "wrong_password"
        assert pair.hub.refused is None
        assert not pair.hub.link.is_open

    def test_with_kk_the_hub_finds_it(self):
        pair = LinkPair(*known(), client_password="another").run()
        assert pair.hub.refused == Refused("handshake_failed", "handshake failure: ")
        assert pair.hub.refused.close_code == 1008
        assert pair.client.refused is None
        assert pair.client.link.pattern == pair.hub.link.pattern == "KKpsk0"

    def test_the_hub_presents_another_key_than_pinned(self):
        pair = LinkPair(hub_terms(), client_terms(pinned_key=CLIENT_PUBLIC)).run()
        assert pair.client.refused.code == "key_mismatch"
        assert "forget-server" in REFUSALS["key_mismatch"].cure
        assert not pair.hub.link.is_open

    def test_the_satellite_presents_another_key_than_pinned(self):
        pair = LinkPair(hub_terms(pinned=HUB_PUBLIC), client_terms()).run()
        refused = pair.hub.refused
        assert (refused.code, refused.close_code) == ("client_key_mismatch", 1008)
        assert refused.reason == "client Noise static key contradicts the pinned key"
        assert not pair.hub.of(Opened)

    @pytest.mark.parametrize("pins", [{"pinned_key": HUB_PUBLIC}, {"pinned_key": CLIENT_PUBLIC}])
    def test_after_a_failed_kk_the_pin_still_counts(self, pins):
        pair = LinkPair(hub_terms(pinned=CLIENT_PUBLIC), client_terms(allow_kk=False, **pins)).run()
        assert pair.client.link.pattern == "XXpsk2"
        assert pair.client.link.is_open is (pins["pinned_key"] == HUB_PUBLIC)

    def test_kk_against_a_hub_that_forgot_the_key(self):
        pair = LinkPair(hub_terms(pinned=HUB_PUBLIC), client_terms(pinned_key=HUB_PUBLIC)).run()
        assert pair.hub.refused.code == "handshake_failed"

    def test_without_a_password(self):
        assert LinkPair(client=client_terms(has_password=False)).run().client.refused.code == "no_password"

    @pytest.mark.parametrize(
        "made",
        [
            {},
            {"max_protocol_version": 2},
            {"max_protocol_version": 2, "noise": {"patterns": ["XXpsk2"], "suites": NOISE_SUITES}},
            {"max_protocol_version": "3", "noise": {"patterns": ["XXpsk2"], "suites": NOISE_SUITES}},
            {"max_protocol_version": 3, "noise": None},
            {"max_protocol_version": 3, "noise": {"patterns": "XXpsk2", "suites": NOISE_SUITES}},
            {"max_protocol_version": 3, "noise": {"patterns": ["IK"], "suites": NOISE_SUITES}},
            {"max_protocol_version": 3, "noise": {"patterns": ["XXpsk2"], "suites": []}},
        ],
    )
    def test_an_offer_without_v3_we_can_do(self, made):
        assert LinkPair(hub_terms(offer=made)).run().client.refused.code == "protocol_too_old"

    def test_no_node_id(self):
        assert LinkPair(hub_terms(hello={"peer": "x"})).run().client.refused.code == "protocol_too_old"

    def test_v3_is_more_than_we_may(self):
        assert LinkPair(client=client_terms(max_version=2)).run().client.refused.code == "protocol_too_old"

    def test_unknown_keys_in_hello_and_offer_are_bound_in(self):
        made = {**offer(), "zeta": 1.5, "α": "é", "big": 2**70}
        pair = open_pair(hub_terms(hello={**HELLO, "x": [1]}, offer=made))
        assert pair.client.opened.hub["x"] == [1]

    def test_a_hello_changed_on_the_way_is_found_out(self):
        pair = LinkPair()
        pair.change = lambda sender, frame: (
            [frame.replace("someone", "anyone")] if isinstance(frame, str) and "someone" in frame else [frame]
        )
        assert pair.run().hub.refused.code == "handshake_failed"


class TestClear:
    """What comes before the session."""

    @pytest.mark.parametrize(("frame", "code", "reason"), CLEAR_REFUSALS, ids=lambda x: repr(x)[:40])
    def test_refused_by_the_hub(self, frame, code, reason):
        link = Link.hub(hub_terms(), 0)
        link.frames_to_send()
        (refused,) = link.receive(frame, 0)
        assert (refused.code, refused.reason, refused.close_code) == (code, reason, 1008)
        assert link.frames_to_send() == []
        assert link.deadline() is None

    def test_a_reason_echoes_only_a_little(self):
        link = Link.hub(hub_terms(), 0)
        (refused,) = link.receive(shake({"noise": {"pattern": "p" * 5000, "suite": "s" * 5000}}), 0)
        assert len(refused.reason) < 200

    @pytest.mark.parametrize("frame", [row[0] for row in CLEAR_REFUSALS[:6] + CLEAR_REFUSALS[9:12]], ids=repr)
    def test_the_satellite_takes_only_messages(self, frame):
        link = Link.client(client_terms(), 0)
        events = link.receive(frame if len(frame) < 100 else "x" * 70_000, 0)
        assert all(isinstance(event, Refused) for event in events)
        assert not link.is_open

    def test_the_satellite_waits_for_hello_before_the_offer(self):
        link = Link.client(client_terms(), 0)
        assert link.receive(shake(offer()), 0) == []
        assert link.receive(json.dumps({"msg_type": "hello", "payload": HELLO}), 0) == []
        assert link.receive(json.dumps({"msg_type": "hello", "payload": {"node_id": "other"}}), 0) == []
        assert link.receive(shake(offer()), 0) == [KeyNeeded(NODE_ID)]

    def test_a_second_offer_is_ignored(self):
        pair = LinkPair()
        pair.change = lambda sender, frame: [frame, frame] if sender == "hub" else [frame]
        pair.client.password = None
        pair.run()
        assert pair.client.events == [KeyNeeded(NODE_ID)]
        assert pair.client.refused is None

    @pytest.mark.parametrize("length", [0, 1, 47, 48, 63, 95])
    def test_a_third_message_that_is_wrong(self, length):
        pair = LinkPair()
        pair.change = lambda sender, frame: (
            [shake({"noise": {"msg": "00" * length}})]
            if sender == "client" and isinstance(frame, str) and '"pattern"' not in frame
            else [frame]
        )
        pair.run()
        assert pair.hub.refused == Refused("handshake_failed", "handshake failure: ")


# --- time ---------------------------------------------------------------------------------------------------


class TestTime:
    def test_the_handshake_has_30_seconds(self):
        link = Link.hub(hub_terms(), 100)
        assert link.deadline() == 130
        assert link.tick(129.9) == []
        (refused,) = link.tick(130)
        assert (refused.code, refused.close_code) == ("handshake_timeout", 1013)
        assert link.tick(131) == []
        assert link.deadline() is None

    def test_the_satellite_too(self):
        (refused,) = Link.client(client_terms(handshake_timeout_s=5), 0).tick(5)
        assert refused.code == "handshake_timeout"

    def test_waiting_for_the_key_does_not_count(self):
        pair = LinkPair(hub_password=None).run()
        assert pair.hub.of(KeyNeeded)
        assert pair.hub.link.deadline() is None
        assert pair.hub.link.tick(pair.now + 10_000) == []
        pair.now += 500
        pair.hub.take(pair.hub.link.key_derived(quick_psk(PASSWORD, NODE_ID), pair.now), pair.now)
        assert pair.hub.link.deadline() == 100 + 500 + 30
        pair.run()
        assert pair.hub.link.is_open
        assert pair.hub.link.deadline() is None
        assert pair.hub.link.tick(1e9) == []

    @pytest.mark.parametrize("end", ["hub", "client"])
    def test_the_key_could_not_be_derived(self, end):
        pair = LinkPair(**{f"{end}_password": None}).run()
        side = getattr(pair, end)
        (refused,) = side.link.key_derived(None, 0)
        assert (refused.code, refused.close_code) == ("internal_error", 1011)

    def test_a_key_nobody_asked_for(self):
        link = Link.hub(hub_terms(), 0)
        assert link.key_derived(bytes(32), 0) == []
        pair = open_pair()
        assert pair.hub.link.key_derived(None, 0) == []
        assert pair.hub.link.is_open


# --- messages of the handshake at the wrong time ------------------------------------------------------------


class TestRepeated:
    @both_patterns
    def test_message_1_again_while_the_key_is_derived(self, pinned):
        hub, client = known() if pinned else (hub_terms(), client_terms())
        pair = LinkPair(hub, client, hub_password=None).run()
        first = pair.frames("client")[0]
        for _ in range(3):
            assert pair.hub.link.receive(first, pair.now) == []
        assert pair.hub.of(KeyNeeded) == [KeyNeeded(NODE_ID)]
        pair.hub.take(pair.hub.link.key_derived(quick_psk(PASSWORD, NODE_ID), pair.now), pair.now)
        pair.run()
        assert pair.hub.link.is_open
        assert pair.client.link.is_open

    def test_garbage_as_message_1_costs_no_key(self):
        link = Link.hub(hub_terms(), 0)
        assert [type(e) for e in link.receive(shake({"noise": {**XX, "msg": "11" * 60}}), 0)] == [Refused]

    def test_handshake_messages_inside_the_session_are_ignored(self):
        pair = open_pair()
        late = HiveMessage(HiveMessageType.HANDSHAKE, {"noise": {**XX, "msg": "00"}})
        before = list(pair.hub.events), list(pair.client.events)
        pair.send(pair.client, late)
        pair.send(pair.hub, HiveMessage(HiveMessageType.HANDSHAKE, offer()))
        pair.send(pair.hub, HiveMessage(HiveMessageType.HELLO, {"node_id": "other"}))
        assert (pair.hub.events, pair.client.events) == before

    def test_an_older_handshake_inside_the_session_is_refused(self):
        pair = open_pair()
        pair.send(pair.client, HiveMessage(HiveMessageType.HANDSHAKE, {"envelope": "00"}))
        assert pair.hub.refused == Refused("protocol_too_old", "this node requires the v3 Noise handshake")

    def test_a_second_hello_of_the_satellite_is_delivered(self):
        pair = open_pair()
        pair.send(pair.client, HiveMessage(HiveMessageType.HELLO, {"site_id": "bedroom"}))
        assert [m.msg_type for m in pair.hub.messages] == ["hello", "hello"]


# --- what comes in the session ------------------------------------------------------------------------------


def sealed(end, body, binary=False):
    """Frames as this side would send them, of whatever bytes."""
    return end.link._session.seal(body, binary)


class TestInside:
    bad_bodies = pytest.mark.parametrize(("body", "binary"), NOT_MESSAGES)

    @bad_bodies
    def test_the_hub_ends_the_link(self, body, binary):
        pair = open_pair()
        (frame,) = sealed(pair.client, body, binary)
        assert pair.hub.link.receive(frame, 0) == [Refused("invalid_frame", "invalid message")]
        assert not pair.hub.link.is_open

    @bad_bodies
    def test_the_satellite_goes_on(self, body, binary):
        pair = open_pair()
        (frame,) = sealed(pair.hub, body, binary)
        (event,) = pair.client.link.receive(frame, 0)
        assert isinstance(event, Malformed)
        pair.send(pair.hub, BUS)
        assert len(pair.client.messages) == 1

    def test_unknown_keys_are_ignored(self):
        pair = open_pair()
        (frame,) = sealed(pair.client, b'{"msg_type":"ping","payload":{},"new":1}')
        (event,) = pair.hub.link.receive(frame, 0)
        assert isinstance(event, Received)

    def test_a_text_frame(self):
        pair = open_pair()
        assert pair.hub.link.receive(BUS.serialize(), 0) == [Refused("invalid_frame", "invalid message")]
        (event,) = pair.client.link.receive(BUS.serialize(), 0)
        assert isinstance(event, Malformed)
        assert pair.client.link.is_open

    @pytest.mark.parametrize("end", ["hub", "client"])
    def test_a_frame_that_does_not_verify_ends_the_link(self, end):
        pair = open_pair()
        assert getattr(pair, end).link.receive(bytes(50), 0) == [Refused("invalid_frame", "invalid message")]

    @pytest.mark.parametrize("end", ["hub", "client"])
    def test_a_frame_again_ends_the_link(self, end):
        pair = open_pair()
        sender = pair.client if end == "hub" else pair.hub
        sender.link.send(BUS)
        (frame,) = sender.link.frames_to_send()
        receiver = getattr(pair, end).link
        assert len(receiver.receive(frame, 0)) == 1
        assert [type(e) for e in receiver.receive(frame, 0)] == [Refused]

    @pytest.mark.parametrize(
        "plaintexts", [[b"\x07x"], [b"\x04x"], [b"\x05x"], [b""], [b"\x02x", b"\x00{}"], [b"\x02x", b"\x03x"]], ids=repr
    )
    def test_parts_in_disorder_end_the_link(self, plaintexts):
        pair = open_pair()
        sending = pair.client.link._session._transport.sending
        events = [pair.hub.link.receive(sending.encrypt(plaintext), 0) for plaintext in plaintexts]
        assert events[-1] == [Refused("invalid_frame", "invalid message")]


@pytest.mark.parametrize("compress", [True, None])
def test_a_satellite_may_say_the_same_over_and_over(compress: bool | None) -> None:
    """Silence, for instance: compressed it would inflate to more than a hub takes for what it is."""
    silence = HiveMessage(HiveMessageType.BUS, Message("audio", {"pcm": "A" * 300_000}))
    pair = open_pair(hub_terms(binarize=True), client_terms(compress=compress))
    pair.send(pair.client, silence)
    assert [message.payload.data for message in pair.hub.messages[1:]] == [{"pcm": "A" * 300_000}]
    pair.send(pair.hub, silence)
    assert len(pair.wire[-1][1]) < 1000, "a satellite takes what the hub compresses"
