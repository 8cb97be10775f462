"""exceptions: what may be caught as what."""

from __future__ import annotations

import json
import pickle

import pytest

from hivemind_bus_client import exceptions
from hivemind_bus_client.exceptions import InvalidJson, MalformedBinaryFrame, MissingField

KINDS = {
    "UnsupportedProtocolVersion": "ValueError",
    "UnauthorizedKeyError": "HiveMindException",
    "InvalidCipher": "HiveMindException",
    "InvalidEncoding": "HiveMindException",
    "InvalidKeySize": "HiveMindException",
    "WrongEncryptionKey": "HiveMindException",
    "DecryptionKeyError": "WrongEncryptionKey ValueError",
    "EncryptionKeyError": "WrongEncryptionKey",
    "HiveMindConnectionError": "HiveMindException ConnectionError",
    "SecureConnectionFailed": "HiveMindConnectionError",
    "HiveMindEntryPointNotFound": "HiveMindConnectionError",
    "DecodingError": "HiveMindException ValueError",
    "Z85DecodeError": "DecodingError",
    "InvalidJson": "DecodingError JSONDecodeError",
    "MissingField": "DecodingError KeyError",
    "MetadataTooLarge": "ValueError",
    "MalformedBinaryFrame": "DecodingError ValueError",
    "MalformedWirePayload": "ValueError",
    "IdentityFileCorrupted": "HiveMindException",
    "NoiseHandshakeFailed": "HiveMindException",
    "NoiseTransportFailed": "HiveMindException",
    "NotConnected": "HiveMindConnectionError RuntimeError",
    "NotOpen": "HiveMindException RuntimeError",
    "HubUnreachable": "HiveMindConnectionError",
}


@pytest.mark.parametrize("name", KINDS)
def test_an_error_may_be_caught_as(name: str) -> None:
    bases = {base.__name__ for base in getattr(exceptions, name).__mro__}
    assert bases >= set(KINDS[name].split())


def test_a_refusal_of_json_says_what_was_said_and_nothing_else() -> None:
    error = InvalidJson("more than 500000 values")
    assert str(error) == "more than 500000 values"
    assert isinstance(error, json.JSONDecodeError)
    assert (error.doc, error.pos) == ("", 0)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_field_that_is_missing_is_named_without_quotes() -> None:
    assert str(MissingField("a nonce is missing")) == "a nonce is missing"


def test_a_frame_that_cannot_be_read_says_so() -> None:
    error = MalformedBinaryFrame("cut short")
    assert str(error) == "malformed binary frame: cut short"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
