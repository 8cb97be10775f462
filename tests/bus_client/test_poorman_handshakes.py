import stat

import pytest

from hivemind_bus_client.exceptions import HiveMindException
from hivemind_bus_client.poorman_handshakes import HandShake, PasswordHandShake


def test_two_who_know_the_password_get_one_key():
    one, other = PasswordHandShake("pass"), PasswordHandShake("pass", min_bits=40)
    assert one.receive_and_verify(other.generate_handshake()) is True
    assert other.receive_handshake(one.generate_handshake()) is True
    assert one.secret == other.secret
    assert len(one.secret) == 32


def test_another_password_is_noticed():
    one, other = PasswordHandShake("pass"), PasswordHandShake("word")
    assert one.receive_and_verify(other.generate_handshake()) is False
    assert one.receive_and_verify(one.generate_handshake()) is False
    assert one.receive_and_verify("nonsense") is False
    with pytest.raises(HiveMindException):
        _ = one.secret


@pytest.fixture(scope="module")
def hub() -> HandShake:
    hub = HandShake()
    assert hub.private_key == hub.private_key
    return hub


def test_a_secret_for_the_owner_of_a_key(hub, tmp_path):
    client = HandShake(tmp_path / "key.pem")
    envelope = hub.generate_handshake(client.pubkey)
    assert client.receive_and_verify(envelope, hub.pubkey) is True
    assert client.secret == hub.secret
    client.load_public(hub.pubkey)
    assert client.receive_handshake(envelope) is True


def test_a_signature_of_another_is_noticed(hub, tmp_path):
    client = HandShake(tmp_path / "key.pem")
    envelope = hub.generate_handshake(client.pubkey)
    assert client.receive_and_verify(envelope, client.pubkey) is False
    changed = bytes.fromhex(envelope[-2:])[0] ^ 1
    assert client.receive_and_verify(f"{envelope[:-2]}{changed:02x}", hub.pubkey) is False
    assert client.receive_and_verify("nonsense", hub.pubkey) is False
    assert client.secret == bytes(32)


def test_both_sides_may_add_to_the_key(hub, tmp_path):
    client = HandShake(tmp_path / "key.pem")
    hub_says, client_says = hub.generate_handshake(client.pubkey), client.generate_handshake(hub.pubkey)
    assert client.receive_and_verify(hub_says)
    assert hub.receive_and_verify(client_says)
    assert client.secret == hub.secret


def test_the_key_is_made_once_and_kept(tmp_path):
    path = tmp_path / "folder" / "key.pem"
    first = HandShake(str(path))
    assert not path.exists()
    public = first.pubkey
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert HandShake(path).pubkey == public
    assert public.startswith("-----BEGIN PUBLIC KEY-----")


def test_nobody_to_seal_for():
    with pytest.raises(HiveMindException):
        HandShake().generate_handshake()


def test_secrets_are_not_shown(hub):
    assert "PRIVATE" not in repr(hub)
    assert "pass" not in repr(PasswordHandShake("pass"))
