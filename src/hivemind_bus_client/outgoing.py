"""A message on its way out, written once however many it goes to."""

from __future__ import annotations

from . import codec
from .message import HiveMessage, HiveMessageType
from .serialization import encode_frame, is_binary_encodable

MAX_RELAYED_BYTES = 8 * 1024 * 1024
"""JSON of a message that is passed on: half of what may wait for one receiver."""


class Outgoing:
    """Writes a message in each of its forms when that is first wanted. The message must not change meanwhile."""

    __slots__ = ("_frames", "_text", "message")

    def __init__(self, message: HiveMessage) -> None:
        self.message = message
        self._text: bytes | None = None
        self._frames: dict[tuple[bool | None, bool], bytes | None] = {}

    @property
    def text(self) -> bytes:
        """Its JSON."""
        if self._text is None:
            self._text = codec.dumps_bytes(self.message.as_dict)
        return self._text

    def frame(self, compress: bool | None, *, to_hub: bool = False) -> bytes | None:
        """Return it as a binary frame; None for one that travels as text (docs/protocol.md 4.6)."""
        form = (compress, to_hub)
        if form not in self._frames:
            is_binary = self.message.msg_type == HiveMessageType.BINARY
            has_frame = is_binary or is_binary_encodable(self.message)
            self._frames[form] = encode_frame(self.message, compress, to_hub=to_hub) if has_frame else None
        return self._frames[form]

    @property
    def can_be_relayed(self) -> bool:
        """It is not too large, and the other end will read it: a hub ends the connection for what it cannot read."""
        return len(self.text) <= MAX_RELAYED_BYTES and codec.is_readable(self.text)


__all__ = ["MAX_RELAYED_BYTES", "Outgoing"]
