"""A client whose socket somebody else runs: callbacks as websocket-client calls them, frames sent by ``client.send``.

The clients run their own connection; this is for programs that bring theirs. The key of such a session is whatever is
assigned to ``crypto_key`` (protocols v0 to v2) or ``noise_transport`` (v3).
"""

from __future__ import annotations

import logging
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .bus_context import VERIFIED_SOURCE_KEY
from .delivery import BinaryDataCallbacks, handle_binary
from .dispatch import call_handler, event_key
from .exceptions import HiveMindException, NoiseTransportFailed
from .listening import Listening
from .message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType

if TYPE_CHECKING:
    from .encryption import SupportedCiphers
    from .text_encodings import SupportedEncodings

LOG = logging.getLogger(__name__)

OPCODE_BINARY = 2  # RFC 6455 5.2

_BUS = HiveMessageType.BUS.value
_TEXT_ONLY = frozenset({HiveMessageType.HELLO.value, HiveMessageType.HANDSHAKE.value})


class SocketCallbacks(Listening):
    """Reads and writes the frames of one session."""

    connected_event: Any
    handshake_event: Any
    client: Any = None
    """The socket of a program that brings its own: an object with ``send``."""
    protocol: Any = None
    """What handles messages of the mesh; there is one as soon as the client was started."""
    crypto_key: Any = None
    """The key of a session below v3, once it is agreed on; before that the pre-shared key, if one was given."""
    _pre_shared_key: Any
    noise_transport: Any = None
    """Something while a v3 session is up."""
    compress: bool | None = True
    binarize: bool = True

    @cached_property
    def cipher(self) -> SupportedCiphers:
        """The cipher of a session below v3."""
        from .encryption import SupportedCiphers

        return SupportedCiphers.AES_GCM

    @cached_property
    def json_encoding(self) -> SupportedEncodings:
        """The text encoding of a session below v3."""
        from .text_encodings import SupportedEncodings

        return SupportedEncodings.JSON_HEX

    @cached_property
    def bin_callbacks(self) -> BinaryDataCallbacks:
        """What to do with binary data from the hub; may be assigned at any time."""
        return BinaryDataCallbacks()

    def create_client(self) -> Any:
        """Return a websocket-client ``WebSocketApp`` with this object's callbacks; running it is up to the caller.

        Raises ImportError without that package.
        """
        try:
            from websocket import WebSocketApp  # type: ignore[import-untyped,import-not-found,unused-ignore]
        except ImportError:
            raise ImportError("this needs a package: pip install websocket-client") from None
        return WebSocketApp(
            self._dial_url(),
            on_open=self.on_open,
            on_close=self.on_close,
            on_error=self.on_error,
            on_message=self.on_message,
        )

    def _dial_url(self) -> str:
        raise NotImplementedError

    # --- callbacks; websocket-client passes itself first, or not, by its version ---------------------------

    def on_open(self, *_: Any) -> None:
        """Note that the socket is open."""
        self.connected_event.set()
        self.emitter.emit("open")

    def on_close(self, *_: Any) -> None:
        """Note that the socket has closed."""
        self._session_over()
        self.emitter.emit("close")

    def on_error(self, *args: Any) -> None:
        """Note that the socket has failed."""
        self._session_over()
        self.emitter.emit("error", args[-1] if args else None)

    def _session_over(self) -> None:
        self.connected_event.clear()
        self.handshake_event.clear()
        self.crypto_key, self.noise_transport = self._pre_shared_key, None
        over = getattr(self.protocol, "reset_connection_state", None)
        if over is not None:
            over()

    def on_message(self, *args: Any) -> None:
        """Take in one frame, text or bytes; what cannot be read is logged and dropped."""
        try:
            message = self._read(args[-1])
        except (HiveMindException, ValueError) as error:
            LOG.error("a frame from the hub could not be read: %s", error)
            return
        if message is None:
            return
        if event_key(message.msg_type) == HiveMessageType.BINARY.value:
            self._handle_binary(message)
        else:
            self.emitter.emit("message", message.serialize())
            self._handle_hive_protocol(message)

    def _handle_binary(self, message: HiveMessage) -> None:
        """Hand binary data to its callback. Raises AssertionError for a message of another type."""
        if message.msg_type != HiveMessageType.BINARY:
            raise AssertionError(f"not a BINARY message but {message.msg_type}")
        call_handler(handle_binary, message, self.bin_callbacks)

    def _handle_hive_protocol(self, message: HiveMessage) -> None:
        """Hand an envelope to waiters and handlers, an OVOS message to the internal bus too."""
        self._see(message)
        if event_key(message.msg_type) == _BUS and not self._protocol_delivers():
            message.payload.context.pop(VERIFIED_SOURCE_KEY, None)  # only this node can have verified it
            self.internal_bus.emit(message.payload)
        self.emitter.emit(message.msg_type, message)

    def _see(self, message: HiveMessage) -> None:
        """Take note of a message before any handler's turn."""
        self.show_taps(message)

    def _protocol_delivers(self) -> bool:
        """The protocol itself brings OVOS messages onto the internal bus."""
        if self.client is None:
            return False
        return getattr(getattr(self.protocol, "internal_protocol", None), "bus", None) is self.internal_bus

    # --- frames --------------------------------------------------------------------------------------------

    def _read(self, frame: str | bytes) -> HiveMessage | None:
        """Return the message in a frame; None if there is none, yet or at all."""
        plain = self._opened(frame)
        if plain is None:
            return None
        if isinstance(plain, bytes):
            from .serialization import decode_bitstring

            return decode_bitstring(plain)
        return HiveMessage.from_wire(plain)

    def _opened(self, frame: str | bytes) -> str | bytes | None:
        if self.noise_transport is not None:
            return self._noise_opened(frame)
        if isinstance(frame, bytes):
            if not self.crypto_key:
                return frame
            from .encryption import decrypt_bin

            return decrypt_bin(self.crypto_key, frame, self.cipher)
        return self._text_opened(frame)

    def _noise_opened(self, frame: str | bytes) -> str | bytes | None:
        if isinstance(frame, str):
            LOG.error("a frame in clear came in an encrypted session and is dropped")
            return None
        try:
            opened: str | bytes | None = self.noise_transport.decrypt_frame(frame)
        except NoiseTransportFailed:
            self.client.close()
            raise
        return opened

    def _text_opened(self, frame: str) -> str | None:
        from .util import parse_text_frame, unencrypted_frame_allowed

        fields = parse_text_frame(frame)
        if fields is not None and "ciphertext" in fields:
            if not self.crypto_key:
                LOG.error("an encrypted frame came in, and there is no key for it")
                return None
            from .encryption import decrypt_from_json

            return decrypt_from_json(self.crypto_key, fields, self.cipher, self.json_encoding)
        if self.crypto_key and not unencrypted_frame_allowed(fields, self.handshake_event.is_set()):
            LOG.error("a frame in clear came in an encrypted session and is dropped")
            return None
        return frame

    def _frame(self, message: HiveMessage, binary_type: HiveMindBinaryPayloadType) -> str | bytes:
        """Return the frame of a message, in clear (docs/protocol.md 4.6)."""
        from .serialization import encode_frame, is_binary_encodable

        kind = event_key(message.msg_type)
        if kind == HiveMessageType.BINARY.value:
            return encode_frame(message.forward(bin_type=binary_type or message.bin_type), self.compress)
        wanted = bool(getattr(self.protocol, "binarize", False)) and self.binarize
        if kind in _TEXT_ONLY or not wanted or not is_binary_encodable(message):
            return message.serialize()
        return encode_frame(message, self.compress)

    def _send_frame(self, frame: str | bytes) -> Any:
        """Encrypt a frame and give it to the socket."""
        send = self.client.send
        if self.noise_transport is not None:
            return self.noise_transport.send_message(frame, lambda sealed: send(sealed, OPCODE_BINARY))
        if self.crypto_key:
            from .encryption import encrypt_as_json, encrypt_bin

            if isinstance(frame, bytes):
                return send(encrypt_bin(self.crypto_key, frame, self.cipher), OPCODE_BINARY)
            return send(encrypt_as_json(self.crypto_key, frame, self.cipher, self.json_encoding))
        return send(frame, OPCODE_BINARY) if isinstance(frame, bytes) else send(frame)

    def _emit_frame(self, message: HiveMessage, binary_type: HiveMindBinaryPayloadType) -> Any:
        """Send a message by the socket the program brought."""
        if event_key(message.msg_type) == _BUS:
            self.internal_bus.emit(message.payload)
        try:
            return self._send_frame(self._frame(message, binary_type))
        except _websocket_closed() as error:
            LOG.warning("the connection has closed: a %s message is lost (%s)", event_key(message.msg_type), error)
            return None


def _websocket_closed() -> tuple[type[Exception], ...]:
    """What websocket-client raises by a socket that has closed, where the program uses that package."""
    found = getattr(sys.modules.get("websocket"), "WebSocketConnectionClosedException", None)
    return (found,) if found is not None else ()
