"""What comes back on a QUERY or a CASCADE: which question it answers, and what kind of part it is
(docs/protocol.md 13.2, 13.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .message import HiveMessage, HiveMessageType

QUERY_STREAM_END = "hive.query.complete"
QUERY_TIMEOUT = "hive.query.timeout"
ASKED = frozenset({"recognizer_loop:utterance", "ovos.utterance.handle"})
"""The OVOS messages that a question consists of."""

_BUS = HiveMessageType.BUS


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def query_id(message: HiveMessage) -> str:
    """Return the id of the question; empty if the message names none."""
    return _text(message.metadata.get("query_id"))


def inner_topic(message: HiveMessage) -> str:
    """Return the type of the OVOS message in a QUERY or CASCADE; empty if there is none."""
    inner = message.payload
    if not isinstance(inner, HiveMessage) or inner.msg_type != _BUS or not isinstance(inner.body, dict):
        return ""
    return _text(inner.body.get("type"))


def is_stream_end(message: HiveMessage) -> bool:
    """Tell whether this says that nothing more will come from its responder."""
    return inner_topic(message) == QUERY_STREAM_END


def is_request(message: HiveMessage) -> bool:
    """Tell whether this is somebody's question on its way to those who may answer it, and no answer."""
    return message.metadata.get("is_response") is not True and inner_topic(message) in ASKED


def responders(responses: Sequence[HiveMessage]) -> int:
    """Return how many nodes these answers came from; an answer that names none counts as one of its own."""
    names = [_text(getattr(message, "metadata", {}).get("responder_peer")) for message in responses]
    return len({name for name in names if name}) + names.count("")
