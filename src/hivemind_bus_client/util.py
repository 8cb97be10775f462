"""Helpers that applications import by these names; thin forms of what message, serialization and encryption do."""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Mapping
from typing import Any

from . import codec, encryption
from .encryption import SupportedCiphers, SupportedEncodings
from .exceptions import DecodingError, InvalidJson
from .message import HiveMessage, HiveMessageType, Message, as_message, is_bus_message, message_class
from .serialization import MAX_FRAME_OUTPUT

__all__ = [
    "HiveMessage",
    "HiveMessageType",
    "Message",
    "bytes2str",
    "cast2bytes",
    "compress_payload",
    "decompress_payload",
    "decrypt_bin",
    "decrypt_from_json",
    "encrypt_as_json",
    "encrypt_bin",
    "get_hivemsg",
    "get_mycroft_msg",
    "get_payload",
    "parse_text_frame",
    "payload2dict",
    "serialize_message",
    "unencrypted_frame_allowed",
]


# --- messages and dicts -------------------------------------------------------------------------------------


def serialize_message(message: Any) -> str:
    """Return the JSON text of a message, of a dict (messages in it become text), or of an object's attributes."""
    if hasattr(message, "serialize"):
        return str(message.serialize())
    if isinstance(message, dict):
        plain = {key: item.serialize() if hasattr(item, "serialize") else item for key, item in message.items()}
        return json.dumps(plain)
    return json.dumps(message.__dict__)


def _plain(value: Any) -> Any:
    if hasattr(value, "serialize"):
        return _plain(codec.loads(value.serialize()))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def payload2dict(payload: Any) -> dict[str, Any]:
    """Return a message, dict or JSON text as a dict without message objects. Raises AssertionError."""
    if isinstance(payload, str):
        payload = parse_text_frame(payload)
    plain = _plain(payload)
    if not isinstance(plain, dict):
        raise AssertionError(f"not an object: {type(plain).__name__}")
    return plain


def get_payload(msg: Any) -> Any:
    """Return the payload of a HiveMessage, or what else was given, as a dict. Raises InvalidJson.

    The payload of a BINARY message is its bytes, that of a routed one the HiveMessage inside.
    """
    if isinstance(msg, HiveMessage):
        msg = msg.payload
    if not isinstance(msg, HiveMessage) and is_bus_message(msg):
        return as_message(msg).as_dict
    return codec.loads(msg) if isinstance(msg, str) else msg


def get_hivemsg(msg: Any) -> HiveMessage:
    """Return the HiveMessage of an envelope (dict or JSON text), or BUS around a bus message.

    Raises AssertionError for anything else, and as `HiveMessage.from_wire` does.
    """
    if isinstance(msg, (str, dict)):
        return HiveMessage.from_wire(msg)
    if isinstance(msg, HiveMessage):
        return msg
    if not is_bus_message(msg):
        raise AssertionError(f"not a message: {type(msg).__name__}")
    return HiveMessage(HiveMessageType.BUS, msg)


def get_mycroft_msg(pload: Any) -> Any:
    """Return the bus message in a BUS HiveMessage, a dict or a JSON text.

    Raises AssertionError for anything else, KeyError for a dict without a type, InvalidJson.
    """
    if isinstance(pload, str):
        pload = codec.loads(pload)
    if isinstance(pload, dict):
        msg_type = pload["msg_type"] if "msg_type" in pload else pload["type"]
        return message_class()(msg_type, pload.get("data") or {}, pload.get("context") or {})
    if isinstance(pload, HiveMessage) and pload.msg_type == HiveMessageType.BUS:
        return pload.payload
    if isinstance(pload, HiveMessage) or not is_bus_message(pload):
        raise AssertionError(f"not a bus message: {pload!r}")
    return pload


# --- bytes --------------------------------------------------------------------------------------------------


def compress_payload(text: str | bytes) -> bytes:
    """Return a zlib stream of text (as UTF-8) or bytes."""
    return zlib.compress(text.encode("utf-8") if isinstance(text, str) else text)


def decompress_payload(compressed: bytes) -> bytes:
    """Inflate, to at most 32 MiB. Raises zlib.error."""
    stream = zlib.decompressobj()
    payload = stream.decompress(compressed, MAX_FRAME_OUTPUT + 1)
    if len(payload) > MAX_FRAME_OUTPUT or not stream.eof:
        raise zlib.error("the stream is cut short or inflates to more than 32 MiB")
    return payload


def cast2bytes(payload: dict[str, Any] | str | bytes, compressed: bool = False) -> bytes:
    """Return a dict (as JSON), text or bytes as bytes, compressed if wanted. Raises AssertionError."""
    if isinstance(payload, dict):
        payload = json.dumps(payload)
    if compressed:
        return compress_payload(payload)
    if isinstance(payload, str):
        payload = payload.encode("utf-8")
    if not isinstance(payload, bytes):
        raise AssertionError(f"not a dict, text or bytes: {type(payload).__name__}")
    return payload


def bytes2str(payload: bytes, compressed: bool = False) -> str:
    """Return bytes as text, inflated first if compressed. Raises UnicodeDecodeError, zlib.error."""
    return (decompress_payload(payload) if compressed else payload).decode("utf-8")


# --- text frames --------------------------------------------------------------------------------------------


def parse_text_frame(message: Any) -> dict[str, Any] | None:
    """Return the object a text frame holds, or None if it holds none."""
    if isinstance(message, (str, bytes, bytearray)):
        try:
            message = codec.loads(message if isinstance(message, str) else bytes(message))
        except InvalidJson:
            return None
    return message if isinstance(message, dict) else None


def unencrypted_frame_allowed(message: Any, handshake_done: bool) -> bool:
    """Tell whether a frame may arrive in clear: only HELLO and HANDSHAKE before the key exists."""
    fields = parse_text_frame(message)
    return (
        not handshake_done
        and fields is not None
        and fields.get("msg_type") in (HiveMessageType.HELLO, HiveMessageType.HANDSHAKE)
    )


# --- former names of the ciphers ----------------------------------------------------------------------------


def _deprecated(name: str) -> None:
    message = f"hivemind_bus_client.util.{name} is deprecated, use hivemind_bus_client.encryption.{name}"
    warnings.warn(message, DeprecationWarning, stacklevel=3)


def encrypt_as_json(key: str | bytes, data: str | bytes | dict[str, Any], b64: bool = False) -> str:
    """Deprecated: return the AES-GCM text envelope in base 16, or 64."""
    _deprecated("encrypt_as_json")
    encoding = SupportedEncodings.JSON_B64 if b64 else SupportedEncodings.JSON_HEX
    return encryption.encrypt_as_json(key, data, SupportedCiphers.AES_GCM, encoding)


def decrypt_from_json(key: str | bytes, data: str | bytes | Mapping[str, Any]) -> str:
    """Deprecated: open an AES-GCM text envelope in base 16 or 64."""
    _deprecated("decrypt_from_json")
    try:
        return encryption.decrypt_from_json(key, data, SupportedCiphers.AES_GCM, SupportedEncodings.JSON_HEX)
    except DecodingError:
        return encryption.decrypt_from_json(key, data, SupportedCiphers.AES_GCM, SupportedEncodings.JSON_B64)


def encrypt_bin(key: str | bytes, data: str | bytes) -> bytes:
    """Deprecated: return the AES-GCM binary envelope."""
    _deprecated("encrypt_bin")
    return encryption.encrypt_bin(key, data, SupportedCiphers.AES_GCM)


def decrypt_bin(key: str | bytes, ciphertext: bytes) -> bytes:
    """Deprecated: open an AES-GCM binary envelope."""
    _deprecated("decrypt_bin")
    return encryption.decrypt_bin(key, ciphertext, SupportedCiphers.AES_GCM)
