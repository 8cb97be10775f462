"""The identity file, of a satellite and of the hub: read, or refused in one sentence and left as it is."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from fuzz.inputs import BREAK, HOSTILE_JSON, Choices, pieces
from fuzz.place import emptied, write
from fuzz.sayings import check_sentence
from helpers import vectors
from hivemind_bus_client.client import HiveMessageBusClient
from hivemind_bus_client.exceptions import IdentityFileCorrupted
from hivemind_bus_client.http_client import HiveMindHTTPClient
from hivemind_bus_client.identity import NodeIdentity, read_or_create_noise_key
from hivemind_core.config import ConfigError
from hivemind_core.hub_identity import HubIdentity, load_identity

TEXTS = ("name", "access_key", "password", "site_id", "default_master", "public_key", "private_key", "noise_key")
ALL = (*TEXTS, "default_port", "trusted_keys", "pinned_noise_keys")
KEYS = ("secret_key", "key", "aliases", *ALL)
PARTS = 2
NOISE_KEY = b"00" * 32

WORDS: tuple[str, ...] = (*(f'"{key}": ' for key in KEYS),)


def seeds() -> Iterator[bytes]:
    whole = {
        "name": "kitchen",
        "access_key": "k",
        "password": "p",
        "site_id": "s",
        "default_master": "ws://127.0.0.1",
        "default_port": 5678,
        "secret_key": "HiveMindComs.pem",
        "public_key": "pem",
        "noise_key": "my_noise.key",
        "trusted_keys": {"a": "pem"},
        "pinned_noise_keys": {"127.0.0.1:5678": "00" * 32},
    }
    for kind in b"\0", b"\1":
        yield kind + json.dumps(whole).encode()
        yield kind + json.dumps(whole).encode() + BREAK + NOISE_KEY
        yield kind + b'{"key": "a/b", "name": ""}' + BREAK + b"junk"
        for text in HOSTILE_JSON:
            yield kind + text
        for key in KEYS:
            for value in (5, [1], {"a": 1}, "", "x", True):
                yield kind + json.dumps({**whole, key: value}).encode()


def run(data: bytes) -> None:
    choices = Choices(data)
    is_hub = choices.byte() % 2 == 1
    parts = [*pieces(choices.rest(), PARTS), b"", b""]
    home = emptied("identity")
    own = home / ("hivemind-core" if is_hub else "hivemind")
    own.mkdir()
    path = write(own / "_identity.json", parts[0])
    write(own / "HiveMindComs.pem", vectors.load("rsa_handshake")["server_private_pem"].encode())
    if parts[1]:
        write(own / "hivemind-core_noise.key", parts[1])
    logging.disable(logging.CRITICAL)
    try:
        with patch.dict(os.environ, dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(home))):
            _hub() if is_hub else _satellite(path, parts[0])
    finally:
        logging.disable(logging.NOTSET)


def _hub() -> None:
    try:
        identity = load_identity()
    except ConfigError as error:
        check_sentence(str(error))
        return
    assert isinstance(identity, HubIdentity)
    assert isinstance(identity.node_id, str)
    assert len(identity.noise_key) == 32
    assert identity.site_id is None or isinstance(identity.site_id, str)
    assert all(isinstance(key, str) for key in identity.trusted_keys)


def _satellite(path: Path, text: bytes) -> None:
    try:
        identity = NodeIdentity()
        before = _told(identity)
        read_or_create_noise_key(identity.noise_key)
    except IdentityFileCorrupted as error:
        check_sentence(str(error))
        assert path.read_bytes() == text, "a file that could not be read was changed"
        return
    except OSError:
        return  # the file names a place where no key can be kept
    assert path.read_bytes() == text, "reading wrote"
    _client(identity)
    identity.pin_noise_key("hub:1", "00")
    identity.forget_noise_key("hub:1")
    again = _told(NodeIdentity())
    assert again == before, "what was stored is not what is read"


def _told(identity: NodeIdentity) -> dict[str, object]:
    told = {name: getattr(identity, name) for name in ALL}
    for name in TEXTS:
        assert told[name] is None or isinstance(told[name], str), f"{name} is no text"
    assert told["default_port"] is None or isinstance(told["default_port"], (int, str))
    for name in ("trusted_keys", "pinned_noise_keys"):
        assert all(isinstance(value, str) for value in told[name].values()), f"{name} holds no texts"
    return told


def _client(identity: NodeIdentity) -> None:
    for kind in (HiveMessageBusClient, HiveMindHTTPClient):
        try:
            client = kind(identity=identity)
        except (RuntimeError, ValueError) as error:
            check_sentence(str(error))
            continue
        secret = identity.password or ""
        assert len(secret) < 8 or secret not in repr(client)
        client.close()
