import base64

import pytest

from hivemind_bus_client.encryption import hybrid_encrypt
from hivemind_bus_client.identity import create_RSA_key
from hivemind_bus_client.intercom import fingerprint
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.topology import NodeInfo
from hivemind_bus_client.trust import is_trusted, is_trusted_key, same_key, signer, sources

PEM = "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----"
PEER_ID = "agent::3::kitchen::5f"


def message(source=None, route=None) -> HiveMessage:
    return HiveMessage(HiveMessageType.BUS, Message("x"), source_peer=source, route=route)


def hop(source: str) -> dict:
    return {"source": source, "targets": [source]}


def test_who_a_message_came_through():
    assert list(sources(message())) == []
    assert list(sources(message("me", [hop("a"), hop("b")]))) == ["me", "a", "b"]
    assert list(sources(message("", [{"source": ["odd"]}, hop("b")]))) == ["b"]


def test_space_around_a_key_does_not_matter():
    assert same_key(PEM, f"\n{PEM}\n")
    assert not same_key(PEM, PEM.replace("abc", "abd"))
    assert not same_key("", "")
    assert not same_key(None, None)
    assert is_trusted_key(PEM + "\n", ["other", PEM])
    assert not is_trusted_key(PEM, [])


@pytest.mark.parametrize(
    "source",
    [PEM, PEM + "\n", "sat::5f", PEER_ID, PEER_ID + "::0a1b2c3d"],
    ids=["key", "key and newline", "label", "peer id", "second connection"],
)
@pytest.mark.parametrize("by", ["source_peer", "route"])
def test_trusted_sources(source, by):
    nodes = {"sat::5f": NodeInfo("sat::5f", public_key=PEM)}
    given = message(source) if by == "source_peer" else message(None, [hop(source), hop("hub")])
    assert is_trusted(given, [PEM], nodes)
    assert not is_trusted(given, [], nodes)


def test_others_are_not_trusted():
    nodes = {"sat::5f": NodeInfo("sat::5f", public_key=PEM), "sat::6a": NodeInfo("sat::6a", public_key="other")}
    for source in ("sat::6a", "agent::4::cellar::6a", "unknown", "sat"):
        assert not is_trusted(message(source, [hop(source)]), [PEM], nodes)
    assert not is_trusted(message(), [PEM], nodes)


def test_a_session_id_that_all_share_is_no_match():
    nodes = {"sat::default": NodeInfo("sat::default", public_key=PEM)}
    assert not is_trusted(message("agent::3::other::default"), [PEM], nodes)


def test_a_node_marked_by_the_application_is_trusted():
    nodes = {"sat::5f": NodeInfo("sat::5f", trusted=True)}
    assert is_trusted(message("sat::5f"), [], nodes)


# --- signatures ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys() -> tuple[str, str]:
    public, private = create_RSA_key()
    return private, public


def test_the_key_that_signed(keys):
    private, public = keys
    envelope = hybrid_encrypt(public, "text", private)
    assert signer(envelope, [None, "", "no key", public]) == public
    assert signer(envelope, []) is None
    assert signer(envelope, [create_RSA_key()[0]]) is None


def test_a_signature_that_does_not_fit(keys):
    private, public = keys
    envelope = hybrid_encrypt(public, "text", private)
    sealed = base64.b64decode(envelope["ciphertext"])
    changed = base64.b64encode(bytes([sealed[0] ^ 1]) + sealed[1:]).decode()
    assert signer({**envelope, "ciphertext": changed}, [public]) is None
    assert signer(hybrid_encrypt(public, "text"), [public]) is None
    for bad in ("%%%", "", None, 3, ["x"]):
        assert signer({**envelope, "signature": bad}, [public]) is None


def test_keys_of_another_kind_sign_nothing(keys):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    private, public = keys
    other = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert signer(hybrid_encrypt(public, "text", private), [other.decode(), "no key"]) is None


def test_a_sealed_message_is_recognised(keys):
    _, public = keys
    one, other = hybrid_encrypt(public, "text"), hybrid_encrypt(public, "text")
    assert fingerprint(one) == fingerprint({**other, "ciphertext": one["ciphertext"]}) != fingerprint(other)
    assert fingerprint({"ciphertext": "QQ=="}) == fingerprint({"ciphertext": "QR=="})
