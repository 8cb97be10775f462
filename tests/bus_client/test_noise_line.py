from types import SimpleNamespace

import pytest

from helpers.link_pair import HELLO, HUB_KEY, HUB_PUBLIC, offer
from hivemind_bus_client.exceptions import HiveMindException, NoiseTransportFailed
from hivemind_bus_client.exchange import HubNoise, NoiseTerms, Refuse
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.keyring import Keyring
from hivemind_bus_client.noise import derive_psk, public_key
from hivemind_bus_client.noise_line import NoiseAttempt, NoiseLine, server_name

NODE_ID = HELLO["node_id"]
PASSWORD = "pass"


@pytest.fixture(scope="module")
def psk() -> bytes:
    return derive_psk(PASSWORD, NODE_ID)


@pytest.fixture
def identity(tmp_path) -> NodeIdentity:
    identity = NodeIdentity(tmp_path / "_identity.json")
    identity.password = PASSWORD
    identity.save()
    return identity


@pytest.fixture
def keyring(identity) -> Keyring:
    return Keyring(identity, "hub:5678", "key", PASSWORD)


def attempt(keyring: Keyring, made=None, **more) -> NoiseAttempt | None:
    return NoiseAttempt.begin(keyring, HELLO, made or offer(pinned=True), True, **more)


def established(keyring: Keyring, psk: bytes, **more) -> tuple[NoiseLine, NoiseLine, NoiseAttempt]:
    """The satellite's line, the hub's, and the attempt they come from."""
    ours = attempt(keyring, **more)
    pinned = None if not ours.is_kk else keyring_public(keyring)
    hub = HubNoise(NoiseTerms(HELLO, offer(pinned=True), HUB_KEY, pinned, psk))
    step = hub.receive(*ours.first(NODE_ID))
    answer = ours.receive(*step.send)
    done = step.established or hub.receive(*answer).established
    return ours.line, NoiseLine(done.session, done.remote_key), ours


def keyring_public(keyring: Keyring) -> bytes:
    return public_key(keyring.load().static)


def test_the_name_a_hub_is_known_by():
    assert server_name(SimpleNamespace(host="hub", port=5678), "id") == "hub:5678"
    assert server_name(None, "id") == server_name(SimpleNamespace(host=None, port=1), "id")
    assert server_name(None, "id") != server_name(None, "other")


@pytest.mark.parametrize("length", [10, 200_000])
def test_text_and_bytes_both_ways(keyring, psk, length):
    satellite, hub, _ = established(keyring, psk)
    assert satellite.remote_static_key == HUB_PUBLIC.hex()
    for one, other in ((satellite, hub), (hub, satellite)):
        for payload in ("é" * length, b"\xff" * length):
            frames: list[bytes] = []
            one.send_message(payload, frames.append)
            opened = [other.decrypt_frame(frame) for frame in frames]
            assert opened == [None] * (len(frames) - 1) + [payload]


def test_one_frame(keyring, psk):
    satellite, hub, _ = established(keyring, psk)
    assert hub.decrypt_frame(satellite.encrypt_frame("hello")) == "hello"
    with pytest.raises(NoiseTransportFailed, match="do not fit"):
        satellite.encrypt_frame(b"x" * 65_001)
    longest = b"x" * 65_000
    assert hub.decrypt_frame(satellite.encrypt_frame(longest)) == longest


def test_what_was_changed_on_the_way_is_noticed(keyring, psk):
    satellite, hub, _ = established(keyring, psk)
    frame = bytearray(satellite.encrypt_frame("hello"))
    frame[-1] ^= 1
    with pytest.raises(HiveMindException):
        hub.decrypt_frame(bytes(frame))


def test_a_hub_met_before_is_asked_for_its_key(keyring, identity, psk):
    _, _, first = established(keyring, psk)
    assert not first.is_kk
    assert identity.get_pinned_noise_key("hub:5678") == HUB_PUBLIC.hex()
    _, _, second = established(keyring, psk)
    assert second.is_kk
    _, _, third = established(keyring, psk, allow_kk=False)
    assert not third.is_kk


def test_another_key_at_a_known_address_is_refused(keyring, identity, psk):
    identity.pin_noise_key("hub:5678", "aa" * 32)
    with pytest.raises(Refuse) as refusal:
        established(keyring, psk, allow_kk=False)
    assert refusal.value.code == "key_mismatch"


def test_another_password_is_refused(keyring, psk):
    ours = attempt(keyring)
    hub = HubNoise(NoiseTerms(HELLO, offer(pinned=True), HUB_KEY, None, b"x" * 32))
    step = hub.receive(*ours.first(NODE_ID))
    with pytest.raises(Refuse) as refusal:
        ours.receive(*step.send)
    assert refusal.value.code == "wrong_password"
    ours.rejected()
    assert ours.line is None


def test_an_offer_without_noise(keyring):
    assert attempt(keyring, {"max_protocol_version": 1}) is None
