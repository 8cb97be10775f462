"""The two sides of the v3 exchange, without a link around them."""

from __future__ import annotations

import pytest

from helpers.link_pair import CLIENT_KEY, CLIENT_PUBLIC, HELLO, HUB_KEY, HUB_PUBLIC, offer
from hivemind_bus_client.exceptions import HiveMindException
from hivemind_bus_client.exchange import (
    DEFAULT_ENCODING,
    ENCODINGS,
    ClearFrame,
    ClientNoise,
    HubNoise,
    NoiseTerms,
    Previous,
    Refuse,
    Step,
    choose_noise,
)
from hivemind_bus_client.noise import NOISE_SUITE_AESGCM, NOISE_SUITE_CHACHA, Handshake, canonical_json
from hivemind_bus_client.text_encodings import SupportedEncodings

PSK = b"k" * 32
MADE = offer(pinned=True)


def hub(*, pinned=None, psk=None, made=MADE):
    return HubNoise(NoiseTerms(HELLO, made, HUB_KEY, pinned, psk))


def client(inner, *, pattern="XXpsk2", pinned=None):
    return ClientNoise(NoiseTerms(HELLO, MADE, CLIENT_KEY, pinned), (pattern, NOISE_SUITE_CHACHA), inner)


def first(inner, **terms):
    """A client that has sent message 1, and the message."""
    side = client(inner, **terms)
    assert side.start() == Step(key_needed=True)
    (message,) = side.key_derived(PSK).send
    return side, message


@pytest.mark.parametrize("pattern", ["XXpsk2", "KKpsk0"])
@pytest.mark.parametrize("psk", [None, PSK])
@pytest.mark.parametrize("binarize", [True, False, None, "true", 1])
def test_the_course(pattern, psk, binarize):
    ours = hub(pinned=CLIENT_PUBLIC, psk=psk)
    theirs, message = first({"binarize": binarize}, pattern=pattern, pinned=HUB_PUBLIC)
    assert ours.start() == Step()
    step = ours.receive(message)
    if psk is None:
        assert step == Step(key_needed=True)
        assert ours.receive(message) == Step()
        step = ours.key_derived(PSK)
    answered = theirs.receive(*step.send)
    done = step.established or ours.receive(*answered.send).established
    for established, key in ((done, CLIENT_PUBLIC), (answered.established, HUB_PUBLIC)):
        assert (established.version, established.pattern, established.remote_key) == (3, pattern, key)
        assert established.binarize is (binarize is True)
    frames = done.session.seal(b"hello", False)
    assert [answered.established.session.open(frame) for frame in frames] == [(b"hello", False)]
    with pytest.raises(ClearFrame):
        done.session.open("text")
    done.session.rest()


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (["JSON-B64"], "JSON-B64"),
        (["BOGUS", "JSON-HEX", "JSON-B91"], "JSON-HEX"),
        (["BOGUS"], DEFAULT_ENCODING),
        ([["JSON-B64"], {}], DEFAULT_ENCODING),
        ("JSON-B64", DEFAULT_ENCODING),
        (None, DEFAULT_ENCODING),
    ],
)
def test_the_encoding_is_chosen_but_never_a_reason_to_refuse(wanted, chosen):
    theirs, message = first({"encodings": wanted})
    (answer,) = hub(psk=PSK).receive(message).send
    payload = theirs._handshake.read(bytes.fromhex(answer["noise"]["msg"]))
    assert payload == canonical_json({"encoding": chosen})


def inner_bytes(content):
    """A first message whose payload is whatever bytes."""
    terms = NoiseTerms(HELLO, MADE, CLIENT_KEY, None, PSK)
    message = terms.handshake("XXpsk2", NOISE_SUITE_CHACHA, initiator=True).write(content)
    return {"noise": {"pattern": "XXpsk2", "suite": NOISE_SUITE_CHACHA, "msg": message.hex()}}


@pytest.mark.parametrize("content", [b"", b"[]", b"5", b'"x"', b"{}"])
def test_a_payload_that_is_no_object_reads_as_an_empty_one(content):
    assert hub().receive(inner_bytes(content)) == Step(key_needed=True)


@pytest.mark.parametrize("content", [b"x", b"\xff", b"{"])
def test_a_payload_that_is_no_json_is_refused(content):
    with pytest.raises(Refuse) as caught:
        hub().receive(inner_bytes(content))
    assert caught.value.code == "handshake_failed"


def test_refuse_is_an_exception_of_ours():
    error = Refuse("invalid_key", "invalid api key")
    assert isinstance(error, HiveMindException)
    assert (error.code, error.reason, str(error)) == ("invalid_key", "invalid api key", "invalid api key")


def test_keys_at_the_wrong_time_are_ignored():
    assert hub().key_derived(PSK) == Step()
    theirs, _ = first({})
    assert theirs.key_derived(PSK) == Step()
    assert client({}).receive({"noise": {"msg": "00"}}) == Step()
    assert theirs.receive({"binarize": True}) == Step()


@pytest.mark.parametrize("payload", [{"noise": None}, {"noise": {}}, {"noise": {"msg": "xyz"}}, {"noise": {"msg": 1}}])
def test_an_answer_that_cannot_be_read(payload):
    theirs, _ = first({})
    with pytest.raises(Refuse) as caught:
        theirs.receive(payload)
    assert caught.value.code == "malformed_handshake"


class TestChoose:
    @pytest.mark.parametrize(
        ("changes", "pinned", "chosen"),
        [
            ({}, None, ("XXpsk2", NOISE_SUITE_CHACHA)),
            ({}, b"k", ("KKpsk0", NOISE_SUITE_CHACHA)),
            ({"noise": {"patterns": ["XXpsk2"], "suites": [NOISE_SUITE_AESGCM]}}, b"k", ("XXpsk2", NOISE_SUITE_AESGCM)),
            ({"max_protocol_version": 4}, None, ("XXpsk2", NOISE_SUITE_CHACHA)),
            ({"max_protocol_version": 2}, None, None),
            ({"max_protocol_version": None}, None, None),
            ({"noise": []}, None, None),
            ({"noise": {"patterns": None, "suites": []}}, None, None),
        ],
    )
    def test_choose(self, changes, pinned, chosen):
        assert choose_noise({**MADE, **changes}, pinned) == chosen

    def test_an_empty_offer(self):
        assert choose_noise({}, None) is None


def test_the_encodings_are_those_there_are():
    assert tuple(e.value for e in SupportedEncodings) == ENCODINGS
    assert DEFAULT_ENCODING in ENCODINGS


def test_secrets_are_in_no_repr():
    shown = repr(NoiseTerms(HELLO, MADE, HUB_KEY, None, PSK, CLIENT_KEY))
    for secret in (HUB_KEY, PSK, CLIENT_KEY):
        assert repr(secret) not in shown


class TestRefusals:
    """Each with its row of the table; see test_link for the words on the wire."""

    @staticmethod
    def code(call, *arguments):
        with pytest.raises(Refuse) as caught:
            call(*arguments)
        return caught.value.code

    def test_what_was_not_offered(self):
        made = offer(pinned=False)
        for noise in ({"pattern": "KKpsk0", "suite": NOISE_SUITE_CHACHA}, {"pattern": "XXpsk2", "suite": None}, {}):
            assert self.code(hub(made=made).receive, {"noise": noise}) == "not_offered"

    def test_a_wrong_password(self):
        theirs, message = first({})
        ours = hub()
        ours.receive(message)
        (answer,) = ours.key_derived(b"another".ljust(32)).send
        assert self.code(theirs.receive, answer) == "wrong_password"
        theirs, message = first({}, pattern="KKpsk0", pinned=HUB_PUBLIC)
        ours = hub(pinned=CLIENT_PUBLIC, psk=b"another".ljust(32))
        assert self.code(ours.receive, message) == "handshake_failed"

    def test_another_static_key_than_pinned(self):
        theirs, message = first({}, pinned=CLIENT_PUBLIC)
        ours = hub(pinned=HUB_PUBLIC, psk=PSK)
        (answer,) = ours.receive(message).send
        assert self.code(theirs.receive, answer) == "key_mismatch"
        theirs, message = first({})
        ours = hub(pinned=HUB_PUBLIC, psk=PSK)
        (answer,) = ours.receive(message).send
        assert self.code(ours.receive, *theirs.receive(answer).send) == "client_key_mismatch"


@pytest.mark.parametrize(
    ("told", "encoding"),
    [
        (b'{"encoding": "JSON-B32"}', "JSON-B32"),
        (b'{"encoding": "JSON-NEW"}', ""),
        (b'{"encoding": 1}', ""),
        (b"[", ""),
    ],
)
def test_the_encoding_that_a_hub_names_is_noted_where_it_is_known(told, encoding):
    theirs, message = first({})
    ours = NoiseTerms(HELLO, MADE, HUB_KEY, None).handshake("XXpsk2", NOISE_SUITE_CHACHA, initiator=False)
    ours.keys.psk = PSK
    ours.read(bytes.fromhex(message["noise"]["msg"]))
    step = theirs.receive({"noise": {"msg": ours.write(told).hex()}})
    assert step.established.encoding == encoding


# two passwords


OLD_PSK, WRONG_PSK = b"o" * 32, b"w" * 32


def two_keys(psk, old, *, first=False):
    previous = Previous("old", old, first)
    return HubNoise(NoiseTerms(HELLO, MADE, HUB_KEY, CLIENT_PUBLIC, psk, previous=previous))


def theirs_with(psk, pattern):
    side = client({}, pattern=pattern, pinned=HUB_PUBLIC)
    side.start()
    (message,) = side.key_derived(psk).send
    return side, message


@pytest.mark.parametrize(("psk", "previous"), [(PSK, False), (OLD_PSK, True)])
def test_kk_takes_either_key(psk, previous):
    theirs, message = theirs_with(psk, "KKpsk0")
    step = two_keys(PSK, OLD_PSK).receive(message)
    assert step.established.previous is previous
    (frame,) = theirs.receive(*step.send).established.session.seal(b"hello", False)
    assert step.established.session.open(frame) == (b"hello", False)


def test_kk_with_a_third_key_is_refused_after_two_tries(monkeypatch):
    _, message = theirs_with(WRONG_PSK, "KKpsk0")
    ours, tries = two_keys(PSK, OLD_PSK), []
    monkeypatch.setattr(
        "hivemind_bus_client.exchange.Handshake.read",
        lambda side, text, read=Handshake.read: tries.append(side.keys.psk) or read(side, text),
    )
    with pytest.raises(Refuse) as refusal:
        ours.receive(message)
    assert (refusal.value.code, tries) == ("handshake_failed", [PSK, OLD_PSK])


@pytest.mark.parametrize(
    ("known", "sent", "asked"),
    [
        ((None, OLD_PSK), OLD_PSK, []),
        ((PSK, None), PSK, []),
        ((None, OLD_PSK), PSK, [False]),
        ((PSK, None), OLD_PSK, [True]),
        ((None, None), PSK, [False]),
        ((None, None), OLD_PSK, [False, True]),
        ((None, None), WRONG_PSK, [False, True]),
    ],
)
def test_kk_has_a_key_derived_only_where_none_that_is_known_fits(known, sent, asked):
    _, message = theirs_with(sent, "KKpsk0")
    ours, needed = two_keys(*known), []
    step = ours.receive(message)
    while step.key_needed:
        needed.append(step.previous)
        if sent == WRONG_PSK and step.previous:
            with pytest.raises(Refuse):
                ours.key_derived(OLD_PSK)
            break
        step = ours.key_derived(OLD_PSK if step.previous else PSK)
    assert needed == asked
    assert sent == WRONG_PSK or step.established.previous is (sent == OLD_PSK)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("derived", [False, True])
def test_xx_goes_by_the_one_it_is_told_to(first, derived):
    ours = two_keys(PSK if derived else None, OLD_PSK if derived else None, first=first)
    theirs, message = theirs_with(OLD_PSK if first else PSK, "XXpsk2")
    step = ours.receive(message)
    if not derived:
        assert step == Step(key_needed=True, previous=first)
        step = ours.key_derived(OLD_PSK if first else PSK)
    answered = theirs.receive(*step.send)
    assert ours.receive(*answered.send).established.previous is first


def test_xx_with_the_other_one_fails_at_the_client():
    theirs, message = theirs_with(OLD_PSK, "XXpsk2")
    (answer,) = two_keys(PSK, OLD_PSK).receive(message).send
    with pytest.raises(Refuse) as refusal:
        theirs.receive(answer)
    assert refusal.value.code == "wrong_password"


def test_terms_do_not_show_a_password():
    assert "old" not in repr(Previous("old", OLD_PSK))
    assert "o" * 32 not in repr(Previous("old", OLD_PSK))
