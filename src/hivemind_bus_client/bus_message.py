"""The OVOS bus message: a type, data, and a context that says who speaks to whom (docs/protocol.md 3).

`Message` is our own light class. Objects of ``ovos_bus_client`` are accepted wherever a message is; where the
application has imported that package, payloads are handed out as its class.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeGuard

from . import codec
from .exceptions import MalformedWirePayload

Json = dict[str, Any]


def _copied(value: Any) -> Any:
    """Copy a JSON value."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


class _EitherMessage(type):
    """Makes ovos_bus_client's messages count as instances of ours, since applications may be handed those."""

    def __instancecheck__(cls, instance: object) -> bool:
        theirs = _ovos_message()
        return cls in type(instance).__mro__ or (theirs is not None and isinstance(instance, theirs))


class Message(metaclass=_EitherMessage):
    """A message of the OVOS bus. `data` and `context` are kept as given, not copied."""

    __slots__ = ("context", "data", "msg_type")

    def __init__(self, msg_type: str, data: Json | None = None, context: Json | None = None) -> None:
        """Build a message. Raises TypeError for anything but a text and two dicts."""
        self.msg_type = msg_type
        self.data: Json = {} if data is None else data
        self.context: Json = {} if context is None else context
        if not (isinstance(msg_type, str) and isinstance(self.data, dict) and isinstance(self.context, dict)):
            raise TypeError("a message has a text as type, and dicts as data and context")

    def __repr__(self) -> str:
        return f"Message({self.msg_type!r}, data keys {sorted(map(str, self.data))})"

    def __eq__(self, other: object) -> bool:
        return bus_dict(self) == bus_dict(other) if is_bus_message(other) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it is mutable

    @property
    def as_dict(self) -> Json:
        """The JSON form as a dict that shares data and context."""
        return bus_dict(self)

    def serialize(self) -> str:
        """Return the JSON text."""
        return codec.spaced(bus_dict(self))

    @staticmethod
    def deserialize(value: str | bytes | Json) -> Message:
        """Build a message from its JSON text or dict. Raises InvalidJson, MalformedWirePayload."""
        body = codec.loads(value) if isinstance(value, (str, bytes)) else value
        message: Message = build_bus_message(body, Message)
        return message

    def forward(self, msg_type: str, data: Json | None = None) -> Message:
        """Return another message with a copy of this context."""
        return Message(msg_type, data, _copied(self.context))

    def reply(self, msg_type: str, data: Json | None = None, context: Json | None = None) -> Message:
        """Return an answer: a copy of this context, overlaid with `context`, source and destination swapped.

        Of several destinations the first is the one that answers. Where only one of the two ends is known it
        becomes both, as ``ovos_bus_client`` has it.
        """
        merged: Json = _copied({**self.context, **(context or {})})
        asker, asked = merged.pop("source", None), merged.pop("destination", None)
        if asker or asked:
            answering = asked[0] if asked and isinstance(asked, list) else asked
            merged["source"] = answering or asker
            merged["destination"] = asker or asked
        return Message(msg_type, data, merged)

    def response(self, data: Json | None = None, context: Json | None = None) -> Message:
        """Return the answer named ``<type>.response``."""
        return self.reply(f"{self.msg_type}.response", data, context)


def _ovos_message() -> Any:
    """Return ovos_bus_client's class where the application imported it, else None."""
    return getattr(sys.modules.get("ovos_bus_client.message"), "Message", None)


def message_class() -> Callable[[str, Json, Json], Any]:
    """Return the class handlers get: ovos_bus_client's where the application imported it, else ours."""
    return _ovos_message() or Message


def _is_ours(value: object) -> TypeGuard[Message]:
    return Message in type(value).__mro__


def is_bus_message(value: object) -> bool:
    """Tell whether this is a bus message, ours or ovos_bus_client's."""
    return _is_ours(value) or (hasattr(value, "msg_type") and hasattr(value, "data") and hasattr(value, "context"))


def bus_dict(message: Any) -> Json:
    """Return the JSON form of any bus message; data and context are shared."""
    return {"type": message.msg_type, "data": message.data, "context": message.context}


def as_message(value: Any) -> Message:
    """Return our Message for any bus message; data and context are shared. Raises TypeError."""
    if _is_ours(value):
        return value
    if not is_bus_message(value):
        raise TypeError(f"not a bus message: {type(value).__name__}")
    return Message(value.msg_type, value.data, value.context)


def build_bus_message(body: Any, cls: Callable[[str, Json, Json], Any]) -> Any:
    """Build a message of class `cls` from its JSON form; data and context are shared with `body`, which gets them
    when it has none. Raises MalformedWirePayload."""
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        raise MalformedWirePayload("a bus message is an object with a type")
    for key in ("data", "context"):
        value = body.get(key)
        if value is None:
            body[key] = {}
        elif not isinstance(value, dict):
            raise MalformedWirePayload(f"the {key} of a bus message is an object")
    message = cls(body["type"], body["data"], body["context"])
    # Some releases of ovos_bus_client replace empty dicts.
    message.data, message.context = body["data"], body["context"]
    return message
