"""A Link never raises on what a peer sends, and holds no more than the limits allow."""

from __future__ import annotations

import json
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.bad_frames import shake
from helpers.link_pair import End, LinkPair, client_terms, hub_terms, open_pair
from hivemind_bus_client.exceptions import MalformedBinaryFrame
from hivemind_bus_client.link import Link, Malformed, Refused
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.noise import MAX_REASSEMBLY_BYTES, NOISE_SUITES
from hivemind_bus_client.serialization import unpack_frame

BUS = HiveMessage(HiveMessageType.BUS, Message("speak", {"utterance": "olá"}))


any_frame = st.binary(max_size=80) | st.text(max_size=80)
json_leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
json_any = st.recursive(
    json_leaf, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=6), v, max_size=3), max_leaves=6
)
envelope = st.fixed_dictionaries(
    {"msg_type": st.sampled_from(["hello", "shake", "bus"]) | json_any},
    optional={
        "payload": st.fixed_dictionaries(
            {},
            optional={
                "noise": st.fixed_dictionaries(
                    {},
                    optional={
                        "pattern": st.sampled_from(["XXpsk2", "KKpsk0"]) | json_any,
                        "suite": st.sampled_from(NOISE_SUITES) | json_any,
                        "msg": st.binary(max_size=100).map(bytes.hex) | json_any,
                        "patterns": st.just(["XXpsk2"]) | json_any,
                        "suites": st.just(NOISE_SUITES) | json_any,
                    },
                )
                | json_any,
                "max_protocol_version": st.just(3) | json_any,
                "node_id": st.just("n") | json_any,
                "binarize": json_any,
            },
        )
        | json_any,
        "metadata": json_any,
        "route": json_any,
        "bin_type": json_any,
        "source_peer": json_any,
    },
).map(json.dumps)


@settings(deadline=None)
@given(frames=st.lists(any_frame | envelope, max_size=6))
def test_before_the_session(frames):
    for link in (Link.hub(hub_terms(), 0), Link.client(client_terms(), 0)):
        end = End(link)
        for frame in frames:
            end.take(link.receive(frame, 0), 0)
        assert not link.is_open


@settings(deadline=None)
@given(frames=st.lists(any_frame | envelope, max_size=6))
def test_in_the_session(frames):
    pair = open_pair()
    for end in (pair.hub, pair.client):
        for frame in frames:
            assert all(isinstance(e, (Refused, Malformed)) for e in end.link.receive(frame, 0))


@settings(deadline=None)
@given(body=st.binary(max_size=80) | envelope.map(str.encode), binary=st.booleans())
def test_sealed_by_the_peer(body, binary):
    for name in ("hub", "client"):
        pair = open_pair()
        sender, receiver = (pair.client, pair.hub) if name == "hub" else (pair.hub, pair.client)
        for frame in sender.link._session.seal(body, binary):
            receiver.link.receive(frame, 0)


@given(target=st.integers(0, 5), at=st.integers(0, 4000), bit=st.integers(0, 6), cut=st.booleans())
@settings(max_examples=200, deadline=None)
def test_one_frame_of_the_course_is_changed(target, at, bit, cut):
    count = iter(range(1000))

    def change(_, frame):
        if next(count) != target:
            return [frame]
        place = at % len(frame)
        if isinstance(frame, str):
            return [frame[:place] if cut else frame[:place] + chr(ord(frame[place]) ^ 1 << bit) + frame[place + 1 :]]
        changed = bytearray(frame)
        changed[place] ^= 1 << bit
        return [frame[:place] if cut else bytes(changed)]

    pair = LinkPair()
    pair.change = change
    pair.run()
    for end in (pair.hub, pair.client):
        if end.link.is_open:
            end.link.send(BUS)
    pair.run()


def test_unfinished_parts_hold_at_most_the_limit():
    pair = open_pair()
    sending = pair.client.link._session._transport.sending
    part = bytes(65_000)
    tracemalloc.start()
    try:
        assert pair.hub.link.receive(sending.encrypt(b"\x02" + part), 0) == []
        while not pair.hub.link.receive(sending.encrypt(b"\x04" + part), 0):
            assert tracemalloc.get_traced_memory()[0] < MAX_REASSEMBLY_BYTES + 2**20
        assert tracemalloc.get_traced_memory()[0] < 2**20
    finally:
        tracemalloc.stop()


def test_frames_before_the_session_are_not_kept():
    link = Link.client(client_terms(), 0)
    tracemalloc.start()
    try:
        for number in range(300):
            link.receive(shake({"n": number, "pad": "x" * 60_000}), 0)
            link.receive(json.dumps({"msg_type": "hello", "payload": {"n": number, "pad": "x" * 60_000}}), 0)
        assert tracemalloc.get_traced_memory()[0] < 2**20
    finally:
        tracemalloc.stop()


def test_a_frame_that_inflates_is_bounded():
    pair = open_pair()
    bomb = b"\x83\0" + zlib.compress(b'{"type":"x","data":{"x":"' + b"0" * (33 * 2**20) + b'"}}')
    with pytest.raises(MalformedBinaryFrame, match="inflates to more"):
        unpack_frame(bomb)
    assert len(bomb) < 65_000
    (frame,) = pair.client.link._session.seal(bomb, True)
    assert pair.hub.link.receive(frame, 0) == [Refused("invalid_frame", "invalid message")]
