from __future__ import annotations

from pathlib import Path

import pytest

from hivemind_bus_client.encryption import hybrid_decrypt
from hivemind_bus_client.exceptions import EncryptionKeyError
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.sealing import sealed_for
from hivemind_bus_client.trust import signer

SPEAK = Message("speak", {"utterance": "for you alone"})


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> NodeIdentity:
    identity = NodeIdentity(tmp_path_factory.mktemp("reader") / "_identity.json")
    identity.create_keys()
    return identity


def test_only_the_reader_opens_it_and_the_signature_is_ours(reader: NodeIdentity, tmp_path: Path) -> None:
    own = NodeIdentity(tmp_path / "_identity.json")
    own.create_keys()
    for message in (SPEAK, HiveMessage(HiveMessageType.BUS, SPEAK)):
        sent = sealed_for(reader.public_key, message, own)
        inner = sent.payload
        assert (sent.msg_type, inner.msg_type) == (HiveMessageType.PROPAGATE, HiveMessageType.INTERCOM)
        assert inner.target_public_key == reader.public_key
        private = Path(reader.private_key).read_text(encoding="ascii")
        assert hybrid_decrypt(private, inner.body).decode() == message.serialize()
        assert signer(inner.body, [reader.public_key, own.public_key]) == own.public_key


def test_a_node_without_a_key_gets_one_for_good(reader: NodeIdentity, tmp_path: Path) -> None:
    own = NodeIdentity(tmp_path / "_identity.json")
    first = sealed_for(reader.public_key, SPEAK, own)
    stored = NodeIdentity(tmp_path / "_identity.json")
    assert signer(first.payload.body, [stored.public_key])
    again = sealed_for(reader.public_key, SPEAK, stored)
    assert signer(again.payload.body, [stored.public_key])


def test_a_key_given_as_bytes_is_no_address(reader: NodeIdentity) -> None:
    assert reader.public_key is not None
    assert sealed_for(reader.public_key.encode(), SPEAK, reader).payload.target_public_key is None


def test_a_key_that_is_none(reader: NodeIdentity) -> None:
    with pytest.raises(EncryptionKeyError):
        sealed_for("no key", SPEAK, reader)
