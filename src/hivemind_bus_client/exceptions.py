"""Every exception of the library.

```
HiveMindException
├── UnauthorizedKeyError
├── InvalidCipher, InvalidEncoding, InvalidKeySize
├── WrongEncryptionKey ── DecryptionKeyError, EncryptionKeyError        also ValueErrors
├── DecodingError ── Z85DecodeError, InvalidJson, MalformedBinaryFrame, MissingField       also ValueErrors
├── IdentityFileCorrupted
├── NotOpen                       misuse: a message was sent before the session is up
├── NoiseError ── NoiseHandshakeFailed, NoiseTransportFailed
└── HiveMindConnectionError       also a ConnectionError
    ├── SecureConnectionFailed, HiveMindEntryPointNotFound
    ├── HubUnreachable, NotConnected
    └── HiveMindRefused           in refusals.py, beside the table it reads
MalformedWirePayload, MetadataTooLarge, UnsupportedProtocolVersion     ValueErrors
```
"""

from __future__ import annotations

from json import JSONDecodeError


class HiveMindException(Exception):
    """Base of the library's own exceptions."""


class UnauthorizedKeyError(HiveMindException):
    """The access key is not one the hub knows."""


class InvalidCipher(HiveMindException):
    """The cipher's name is not one of docs/protocol.md 9.1."""


class InvalidEncoding(HiveMindException):
    """The text encoding's name is not one of docs/protocol.md 9.4."""


class InvalidKeySize(HiveMindException):
    """The key or nonce has a length its cipher does not take (docs/protocol.md 9.1)."""


class WrongEncryptionKey(HiveMindException, ValueError):
    """A cipher operation failed under the key given."""


class DecryptionKeyError(WrongEncryptionKey):
    """The ciphertext does not verify: wrong key, or it was changed on the way."""


class EncryptionKeyError(WrongEncryptionKey):
    """The plaintext could not be encrypted under this key."""


class DecodingError(HiveMindException, ValueError):
    """A text or binary form could not be read."""


class Z85DecodeError(DecodingError):
    """The text is not valid in its base-85 alphabet (docs/protocol.md 9.4)."""


class InvalidJson(DecodingError, JSONDecodeError):
    """The text is not strict JSON: UTF-8, at most 64 levels deep, finite numbers, whole code points.

    Also the standard library's JSONDecodeError, which callers of the released packages catch; `doc` and `pos` are not
    kept.
    """

    def __init__(self, message: str, doc: str = "", pos: int = 0) -> None:
        JSONDecodeError.__init__(self, message, doc, pos)
        self.args = (message,)


class MalformedBinaryFrame(DecodingError):
    """The bytes are not a binary frame (docs/protocol.md 4.7)."""

    def __str__(self) -> str:
        return f"malformed binary frame: {super().__str__()}"


class MissingField(DecodingError, KeyError):
    """An encrypted message lacks one of its fields."""

    __str__ = Exception.__str__  # KeyError's would put quotes around it


class IdentityFileCorrupted(HiveMindException):
    """The identity file exists but does not hold a JSON object."""


class NotOpen(HiveMindException, RuntimeError):
    """A message was given to a link that has no session (yet, or any more)."""


class NoiseError(HiveMindException):
    """Base of what can go wrong inside Noise (docs/protocol.md 7)."""


class NoiseHandshakeFailed(NoiseError):
    """A handshake message does not verify or does not follow the pattern."""


class NoiseTransportFailed(NoiseError):
    """A frame of the session does not verify, or the parts of a message do not follow each other."""


class HiveMindConnectionError(ConnectionError, HiveMindException):
    """The connection to the hub could not be made or was lost."""


class SecureConnectionFailed(HiveMindConnectionError):
    """The connection could not be encrypted."""


class HiveMindEntryPointNotFound(HiveMindConnectionError):
    """The address answers, but not as a HiveMind hub."""


class HubUnreachable(HiveMindConnectionError):
    """Nothing answers at the hub's address in time."""


class NotConnected(HiveMindConnectionError, RuntimeError):
    """A message was emitted while the link is down."""


class UnsupportedProtocolVersion(ValueError):
    """A binary frame of a version newer than 1 (docs/protocol.md 4.1)."""


class MetadataTooLarge(ValueError):
    """The metadata does not fit a binary frame: over 255 bytes as stored (docs/protocol.md 4.3)."""


class MalformedWirePayload(ValueError):
    """An envelope's payload, or a field of it, has the wrong shape (docs/protocol.md 2.3)."""
