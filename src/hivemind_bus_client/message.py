"""Messages: the OVOS bus message, the HiveMessage that carries it, their JSON form (docs/protocol.md 2, 3).

`Message` is our own light class. Objects of ``ovos_bus_client`` are accepted wherever a message is; where the
application has imported that package, payloads are handed out as its class.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from enum import Enum, IntEnum
from typing import Any

from . import codec
from .exceptions import InvalidJson, MalformedWirePayload

Json = dict[str, Any]


class HiveMessageType(str, Enum):
    """The message types (docs/protocol.md 2.2)."""

    HANDSHAKE = "shake"
    BUS = "bus"
    SHARED_BUS = "shared_bus"
    INTERCOM = "intercom"
    BROADCAST = "broadcast"
    PROPAGATE = "propagate"
    ESCALATE = "escalate"
    HELLO = "hello"
    QUERY = "query"
    CASCADE = "cascade"
    PING = "ping"
    RENDEZVOUS = "rendezvous"
    THIRDPRTY = "3rdparty"
    BINARY = "bin"


class HiveMindBinaryPayloadType(IntEnum):
    """What the bytes of a BINARY message are (docs/protocol.md 4.4)."""

    UNDEFINED = 0
    RAW_AUDIO = 1
    NUMPY_IMAGE = 2
    FILE = 3
    STT_AUDIO_TRANSCRIBE = 4
    STT_AUDIO_HANDLE = 5
    TTS_AUDIO = 6


_TYPES: dict[str, HiveMessageType] = {kind.value: kind for kind in HiveMessageType}
_BUS_TYPES = frozenset({HiveMessageType.BUS, HiveMessageType.SHARED_BUS})
ROUTED_TYPES = frozenset(
    {
        HiveMessageType.BROADCAST,
        HiveMessageType.PROPAGATE,
        HiveMessageType.CASCADE,
        HiveMessageType.ESCALATE,
        HiveMessageType.QUERY,
    }
)
"""Types whose payload is another HiveMessage."""


class Message:
    """An OVOS bus message: a type, data, and a context that says who speaks to whom (docs/protocol.md 3)."""

    __slots__ = ("context", "data", "msg_type")

    def __init__(self, msg_type: str, data: Json | None = None, context: Json | None = None) -> None:
        self.msg_type = msg_type
        self.data: Json = data or {}
        self.context: Json = context or {}

    def __repr__(self) -> str:
        return f"Message({self.msg_type!r}, data keys {sorted(self.data)})"

    def __eq__(self, other: object) -> bool:
        if not is_bus_message(other):
            return NotImplemented
        return _bus_dict(self) == _bus_dict(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def as_dict(self) -> Json:
        """Return the JSON form as a dict that shares data and context."""
        return {"type": self.msg_type, "data": self.data, "context": self.context}

    def serialize(self) -> str:
        """Return the JSON text."""
        return codec.dumps(self.as_dict)

    @staticmethod
    def deserialize(value: str | bytes | Json) -> Message:
        """Build a message from its JSON text or dict. Raises InvalidJson, MalformedWirePayload."""
        return _build_bus(codec.loads(value) if isinstance(value, (str, bytes)) else value, Message)

    def forward(self, msg_type: str, data: Json | None = None) -> Message:
        """Return another message in the same context."""
        return Message(msg_type, data or {}, dict(self.context))

    def reply(self, msg_type: str, data: Json | None = None, context: Json | None = None) -> Message:
        """Return an answer: the same context with source and destination swapped, overlaid with `context`."""
        merged = {**self.context, **(context or {})}
        if "destination" in merged:
            source = self.context.get("source")
            merged["source"] = merged["destination"]
            if source is not None:
                merged["destination"] = source
        return Message(msg_type, data or {}, merged)

    def response(self, data: Json | None = None, context: Json | None = None) -> Message:
        """Return the answer named ``<type>.response``."""
        return self.reply(f"{self.msg_type}.response", data, context)


def message_class() -> Callable[[str, Json, Json], Any]:
    """Return the class handlers get: ovos_bus_client's where the application imported it, else ours."""
    module = sys.modules.get("ovos_bus_client.message")
    return getattr(module, "Message", Message) if module else Message


def is_bus_message(value: object) -> bool:
    """Tell whether this is a bus message, ours or ovos_bus_client's."""
    return isinstance(value, Message) or (
        not isinstance(value, HiveMessage)
        and hasattr(value, "msg_type")
        and hasattr(value, "data")
        and hasattr(value, "context")
    )


def _bus_dict(message: Any) -> Json:
    return {"type": message.msg_type, "data": message.data, "context": message.context}


def as_message(value: Any) -> Message:
    """Return our Message for any bus message; data and context are shared, not copied. Raises TypeError."""
    if isinstance(value, Message):
        return value
    if not is_bus_message(value):
        raise TypeError(f"not a bus message: {type(value).__name__}")
    return Message(value.msg_type, value.data, value.context)


def _build_bus(body: Any, cls: Callable[[str, Json, Json], Any]) -> Any:
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        raise MalformedWirePayload("a bus message is an object with a type")
    data, context = body.get("data"), body.get("context")
    if not isinstance(data, (dict, type(None))) or not isinstance(context, (dict, type(None))):
        raise MalformedWirePayload("data and context of a bus message are objects")
    return cls(body["type"], data if data is not None else {}, context if context is not None else {})


def _is_hop(hop: object) -> bool:
    return isinstance(hop, dict) and bool(hop.get("source"))


def _merge(base: Json, new: Mapping[str, Any], *, merge_lists: bool, skip_empty: bool, no_dupes: bool,
           new_only: bool) -> None:  # fmt: skip
    """Merge `new` into `base`, objects recursively."""
    for key, value in new.items():
        present = base.get(key)
        if isinstance(present, dict) and isinstance(value, dict):
            _merge(present, value, merge_lists=merge_lists, skip_empty=skip_empty, no_dupes=no_dupes,
                   new_only=new_only)  # fmt: skip
        elif merge_lists and isinstance(present, list) and isinstance(value, list):
            base[key] = present + [item for item in value if not (no_dupes and item in present)]
        elif not (new_only and key in base) and not (skip_empty and not value):
            base[key] = value


class HiveMessage:
    """What travels in the hive: a type, a payload, and where it goes and came from (docs/protocol.md 2)."""

    __slots__ = (
        "_metadata",
        "_msg_type",
        "_node",
        "_payload",
        "_route",
        "_source_peer",
        "_target_pubkey",
        "_target_site_id",
        "_targets",
        "_view",
        "bin_type",
    )

    def __init__(
        self,
        msg_type: HiveMessageType | str,
        payload: Any = None,
        node: str | None = None,
        source_peer: str | None = None,
        route: list[Json] | None = None,
        target_peers: list[str] | None = None,
        target_site_id: str | None = None,
        target_pubkey: str | None = None,
        bin_type: HiveMindBinaryPayloadType | int = HiveMindBinaryPayloadType.UNDEFINED,
        metadata: Json | None = None,
    ) -> None:
        """Build a message. Raises ValueError for an unknown type or a payload that does not fit it."""
        kind = _TYPES.get(msg_type)
        if kind is None:
            raise ValueError("Unknown HiveMessage.msg_type")
        if kind is HiveMessageType.BINARY:
            if not isinstance(payload, (bytes, bytearray, memoryview)):
                raise ValueError(f"expected 'bytes' payload for HiveMessageType.BINARY, got {type(payload)}")
        elif bin_type:
            raise ValueError("bin_type can only be set for BINARY message type")
        self._msg_type = msg_type
        self._payload = _plain(kind, payload)
        self._view: Any = None
        self.bin_type = bin_type
        self._metadata = metadata or {}
        self._node = node
        self._source_peer = source_peer
        self._route = route or []
        self._targets = target_peers or []
        self._target_site_id = target_site_id
        self._target_pubkey = target_pubkey

    # fields

    @property
    def msg_type(self) -> HiveMessageType | str:
        """The type, as it was given."""
        return self._msg_type

    @property
    def body(self) -> Any:
        """The payload as it is kept: a dict, or bytes for BINARY. Not a copy."""
        return self._payload

    @property
    def payload(self) -> Any:
        """The payload: a bus message, a nested HiveMessage, bytes, or a dict, by type. Built once.

        Raises MalformedWirePayload when it cannot be built.
        """
        if self._view is None:
            self._view = self._build_view()
        return self._view

    @payload.setter
    def payload(self, value: Any) -> None:
        self._payload = _plain(None, value)
        self._view = None

    def _build_view(self) -> Any:
        if self._msg_type in _BUS_TYPES:
            return _build_bus(self._payload, message_class())
        if self._msg_type in ROUTED_TYPES:
            return HiveMessage.from_wire(self._payload)
        return self._payload

    @property
    def metadata(self) -> Json:
        """Free-form data beside the payload."""
        return self._metadata

    @property
    def node_id(self) -> str | None:
        """Id of a node; nobody sets it."""
        return self._node

    @property
    def source_peer(self) -> str | None:
        """Peer id of the connection it came through; the receiving hub overwrites it."""
        return self._source_peer

    @property
    def target_site_id(self) -> str | None:
        """The site it is for."""
        return self._target_site_id

    @property
    def target_public_key(self) -> str | None:
        """PEM of the node it is for."""
        return self._target_pubkey

    @property
    def target_peers(self) -> list[str]:
        """Peers it is for; never serialised."""
        if not self._targets and self._source_peer:
            return [self._source_peer]
        return self._targets

    @property
    def route(self) -> list[Json]:
        """The hops it took, without malformed entries (docs/protocol.md 2.4)."""
        return [dict(hop) for hop in self._route if _is_hop(hop)]

    # JSON form

    @property
    def as_dict(self) -> Json:
        """Return the JSON form. Raises ValueError for BINARY, which has none."""
        if self._msg_type == HiveMessageType.BINARY:
            raise ValueError("messages with type HiveMessageType.BINARY can not be cast to dict")
        if not isinstance(self._payload, dict):
            raise MalformedWirePayload("a payload is an object")
        return {
            "msg_type": self._msg_type,
            "payload": self._payload,
            "metadata": self._metadata,
            "route": self.route if self._route else [],
            "node": self._node,
            "target_site_id": self._target_site_id,
            "target_pubkey": self._target_pubkey,
            "source_peer": self._source_peer,
        }

    @property
    def as_json(self) -> str:
        """Return the JSON text."""
        return codec.dumps(self.as_dict)

    def serialize(self) -> str:
        """Return the JSON text."""
        return self.as_json

    @staticmethod
    def from_wire(value: str | bytes | Json) -> HiveMessage:
        """Build a message from what a peer sent. Raises MalformedWirePayload, InvalidJson, ValueError.

        Keys that are not part of an envelope are ignored (docs/protocol.md 2.1).
        """
        frame = codec.loads(value) if isinstance(value, (str, bytes)) else value
        if not isinstance(frame, dict) or not isinstance(frame.get("msg_type"), str):
            raise MalformedWirePayload("not a HiveMind message: no msg_type")
        get = frame.get
        kind = frame["msg_type"]
        if kind == HiveMessageType.BINARY:
            raise MalformedWirePayload("binary data does not travel as JSON")
        if get("bin_type"):
            raise MalformedWirePayload("bin_type belongs to binary data")
        payload = frame.get("payload", _ABSENT.get(kind, {}))
        if not isinstance(payload, dict):
            raise MalformedWirePayload("a payload is an object")
        metadata, route = get("metadata"), get("route")
        if not isinstance(metadata, (dict, type(None))) or not isinstance(route, (list, type(None))):
            raise MalformedWirePayload("metadata is an object and route an array")
        texts = [get(key) for key in _TEXT_KEYS]
        if not all(text is None or isinstance(text, str) for text in texts):
            raise MalformedWirePayload("node, source_peer and targets are text")
        node, source_peer, site_id, pubkey = texts
        return HiveMessage(
            kind, payload, node, source_peer, route, None, site_id, pubkey, metadata=metadata
        )

    @staticmethod
    def deserialize(value: str | bytes | Json) -> HiveMessage:
        """Build a message leniently, as INTERCOM and mailbox content is read (docs/protocol.md 2.3).

        An envelope keeps type, payload, metadata, route and targets; a bare bus message becomes BUS; any other
        object becomes THIRDPRTY. Raises MalformedWirePayload for what is no object at all.
        """
        frame = codec.loads(value) if isinstance(value, (str, bytes)) else value
        if not isinstance(frame, dict):
            raise MalformedWirePayload("not a HiveMind message")
        if frame.get("msg_type") in _TYPES and "payload" in frame:
            kept = {key: frame.get(key) for key in _KEPT}
            return HiveMessage.from_wire({key: item for key, item in kept.items() if item is not None})
        if isinstance(frame.get("type"), str):
            return HiveMessage(HiveMessageType.BUS, _build_bus(frame, Message))
        return HiveMessage(HiveMessageType.THIRDPRTY, frame)

    def forward(self, payload: Any = ..., **fields: Any) -> HiveMessage:
        """Return a copy; fields named are replaced, also by None. Lists and dicts are copied one level deep."""
        kept: Json = {
            "msg_type": self._msg_type,
            "payload": self._payload if payload is ... else payload,
            "node": self._node,
            "source_peer": self._source_peer,
            "route": list(self._route),
            "target_peers": list(self._targets),
            "target_site_id": self._target_site_id,
            "target_pubkey": self._target_pubkey,
            "bin_type": self.bin_type,
            "metadata": dict(self._metadata),
        }
        return HiveMessage(**{**kept, **fields})

    # route

    def update_hop_data(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        merge_lists: bool = True,
        skip_empty: bool = True,
        no_dupes: bool = True,
        new_only: bool = False,
    ) -> None:
        """Append a hop of `source_peer` unless the last is one; merge `data` into the last hop."""
        last = self._route[-1] if self._route and isinstance(self._route[-1], dict) else None
        if last is None or last.get("source") != self._source_peer:
            self._route.append({"source": self._source_peer, "targets": list(self.target_peers)})
        if data:
            _merge(self._route[-1], data, merge_lists=merge_lists, skip_empty=skip_empty,
                   no_dupes=no_dupes, new_only=new_only)  # fmt: skip

    def replace_route(self, route: list[Json]) -> None:
        """Set the whole route."""
        self._route = route

    def update_source_peer(self, peer: str | None) -> HiveMessage:
        """Set the peer it came through; returns the message."""
        self._source_peer = peer
        return self

    def add_target_peer(self, peer: str) -> None:
        """Add a peer it is for."""
        self._targets = [*self._targets, peer]

    def remove_target_peer(self, peer: str) -> None:
        """Remove a peer it is for, if it is there."""
        self._targets = [item for item in self._targets if item != peer]

    # dict payloads

    def __getitem__(self, key: str) -> Any:
        if not isinstance(self._payload, dict):
            raise TypeError("the payload is not an object")
        return self._payload.get(key)

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(self._payload, dict):
            raise TypeError("the payload is not an object")
        self._payload[key] = value
        self._view = None

    def __str__(self) -> str:
        if self._msg_type == HiveMessageType.BINARY:
            return f"HiveMessage(BINARY:{len(self._payload)}])"
        return self.as_json

    def __repr__(self) -> str:
        return f"HiveMessage({getattr(self._msg_type, 'value', self._msg_type)!r})"


_TEXT_KEYS = ("node", "source_peer", "target_site_id", "target_pubkey")
_KEPT = ("msg_type", "payload", "metadata", "route", "target_site_id", "target_pubkey")
_ABSENT: dict[str, None] = {HiveMessageType.HELLO.value: None, HiveMessageType.HANDSHAKE.value: None}


def _plain(kind: HiveMessageType | None, payload: Any) -> Any:
    """Return a payload in the form it is kept in."""
    if isinstance(payload, dict):
        return payload
    if payload is None:
        return {}
    if isinstance(payload, HiveMessage):
        return payload.as_dict
    if isinstance(payload, str):
        try:
            return codec.loads(payload)
        except InvalidJson as error:
            raise MalformedWirePayload(f"a payload is an object or its JSON text: {error}") from None
    if is_bus_message(payload):
        body = _bus_dict(payload)
        # A bare bus message inside a routed one would be refused by every hub.
        return HiveMessage(HiveMessageType.BUS, body).as_dict if kind in ROUTED_TYPES else body
    return bytes(payload) if isinstance(payload, (bytearray, memoryview)) else payload
