"""HiveMessage: what travels in the hive, and its JSON form (docs/protocol.md 2).

A message keeps its payload as plain data (`body`) and builds the object a caller wants (`payload`) when asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Any

from . import codec
from .bus_message import (
    Json,
    Message,
    as_message,
    build_bus_message,
    bus_dict,
    is_bus_message,
    message_class,
)
from .exceptions import InvalidJson, MalformedWirePayload

__all__ = [
    "ROUTED_TYPES",
    "HiveMessage",
    "HiveMessageType",
    "HiveMindBinaryPayloadType",
    "Json",
    "MalformedWirePayload",
    "Message",
    "as_message",
    "is_bus_message",
    "message_class",
]


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


_TYPES: dict[Any, HiveMessageType] = {kind.value: kind for kind in HiveMessageType}
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

_PAYLOAD_REQUIRED = frozenset({HiveMessageType.HELLO, HiveMessageType.HANDSHAKE})
_TEXT_KEYS = ("node", "source_peer", "target_site_id", "target_pubkey")
_LENIENT_KEYS = ("msg_type", "payload", "metadata", "route", "target_site_id", "target_pubkey")
_EMPTY: tuple[Any, ...] = (None, "", [])
_KEEP: Any = object()


def _plain(kind: HiveMessageType, payload: Any) -> Any:
    """Return a payload in the form it is kept in."""
    if isinstance(payload, (dict, bytes, str, list)):
        return payload
    if payload is None:
        return {}
    if isinstance(payload, HiveMessage):
        return payload.as_dict
    if is_bus_message(payload):
        body = bus_dict(payload)
        # A bare bus message inside a routed one would be refused by every hub.
        return HiveMessage(HiveMessageType.BUS, body).as_dict if kind in ROUTED_TYPES else body
    return payload


def _no_object(kind: HiveMessageType | str, payload: Any) -> MalformedWirePayload:
    name = _TYPES[kind].value
    return MalformedWirePayload(f"{name} payload must be a JSON object, got {type(payload).__name__}")


def _no_message(why: str) -> MalformedWirePayload:
    return MalformedWirePayload(f"not a HiveMind message: {why}")


def _parsed(text: str) -> Any:
    try:
        return codec.loads(text)
    except InvalidJson as error:
        raise MalformedWirePayload(f"a payload given as text is JSON: {error}") from None


def _hops(route: list[Any]) -> list[Json]:
    """Return a copy of a route without its malformed entries (docs/protocol.md 2.4)."""
    return [dict(hop) for hop in route if isinstance(hop, dict) and hop.get("source")]


def _merged(base: Mapping[str, Any], new: Mapping[str, Any], rules: Mapping[str, bool]) -> Json:
    """Return `base` overlaid with `new`, objects recursively."""
    merged = dict(base)
    for key, value in new.items():
        present = merged.get(key)
        if isinstance(present, dict) and isinstance(value, dict):
            merged[key] = _merged(present, value, rules)
        elif rules["merge_lists"] and isinstance(present, list) and isinstance(value, list):
            merged[key] = present + [item for item in value if not (rules["no_dupes"] and item in present)]
        elif not (rules["new_only"] and key in merged) and not (rules["skip_empty"] and value in _EMPTY):
            merged[key] = value
    return merged


class HiveMessage:
    """What travels in the hive: a type, a payload, and where it goes and came from."""

    __slots__ = (
        "_bin_type",
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
        """Build a message.

        `payload` is a dict, its JSON text, a bus message, a HiveMessage, or bytes for BINARY; a bus message inside
        a routed type is wrapped in BUS. Dicts and lists are kept, not copied. Raises ValueError for an unknown type
        or a payload that does not fit it.
        """
        kind = _TYPES.get(msg_type)
        if kind is None:
            raise ValueError("Unknown HiveMessage.msg_type")
        if kind is HiveMessageType.BINARY:
            if not isinstance(payload, bytes):
                raise ValueError(f"expected 'bytes' payload for HiveMessageType.BINARY, got {type(payload)}")
        elif bin_type:
            raise ValueError("bin_type can only be set for BINARY message type")
        self._msg_type = msg_type
        self._payload = _plain(kind, _parsed(payload) if isinstance(payload, str) else payload)
        self._view: Any = None
        self._bin_type = HiveMindBinaryPayloadType.UNDEFINED if bin_type is None else bin_type
        self._metadata = {} if metadata is None else metadata
        self._node = node
        self._source_peer = source_peer
        self._route: list[Any] = [] if route is None else route
        self._targets = target_peers or []
        self._target_site_id = target_site_id
        self._target_pubkey = target_pubkey

    # --- fields ---------------------------------------------------------------------------------------------

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

        Raises MalformedWirePayload or ValueError when the payload is no such thing.
        """
        if self._view is None:
            self._view = self._build_view()
        return self._view

    @payload.setter
    def payload(self, value: Any) -> None:
        self._payload = None if value is None else _plain(_TYPES[self._msg_type], value)
        self._view = None

    def _build_view(self) -> Any:
        if self._msg_type in _BUS_TYPES:
            return build_bus_message(self._payload, message_class())
        if self._msg_type in ROUTED_TYPES:
            return HiveMessage._from_dict(self._payload)
        return self._payload

    @property
    def bin_type(self) -> HiveMindBinaryPayloadType | int:
        """What the bytes of a BINARY message are, as it was given."""
        return self._bin_type

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
        """Peers it is for, the source where none is named; never serialised."""
        if not self._targets and self._source_peer:
            return [self._source_peer]
        return self._targets

    @property
    def route(self) -> list[Json]:
        """The hops it took: a copy without malformed entries (docs/protocol.md 2.4)."""
        return _hops(self._route) if self._route else []

    # --- JSON form ------------------------------------------------------------------------------------------

    @property
    def as_dict(self) -> Json:
        """The JSON form; payload and metadata are shared. Raises ValueError for BINARY, which has none."""
        if self._msg_type == HiveMessageType.BINARY:
            raise ValueError("messages with type HiveMessageType.BINARY can not be cast to dict")
        if not isinstance(self._payload, dict):
            raise _no_object(self._msg_type, self._payload)
        return {
            "msg_type": self._msg_type,
            "payload": self._payload,
            "metadata": self._metadata,
            "route": self.route,
            "node": self._node,
            "target_site_id": self._target_site_id,
            "target_pubkey": self._target_pubkey,
            "source_peer": self._source_peer,
        }

    @property
    def as_json(self) -> str:
        """The JSON text, as released packages space it. Raises as `as_dict` does."""
        return codec.spaced(self.as_dict)

    def serialize(self) -> str:
        """Return the JSON text, as released packages space it. Raises as `as_dict` does."""
        return codec.spaced(self.as_dict)

    @staticmethod
    def from_wire(frame: str | bytes | Json) -> HiveMessage:
        """Build a message from what a peer sent. Raises InvalidJson, MalformedWirePayload, ValueError.

        Keys that do not belong to an envelope are ignored (docs/protocol.md 2.1).
        """
        return HiveMessage._from_dict(codec.loads(frame) if isinstance(frame, (str, bytes)) else frame)

    @staticmethod
    def _from_dict(frame: Any) -> HiveMessage:
        if not isinstance(frame, dict):
            raise _no_message(f"it must be a JSON object, got {type(frame).__name__}")
        get = frame.get
        kind = get("msg_type")
        if not isinstance(kind, str) or kind == HiveMessageType.BINARY or get("bin_type"):
            raise _no_message("it names its type, and is not binary when it is JSON")
        if "payload" not in frame and kind in _PAYLOAD_REQUIRED:
            raise MalformedWirePayload(f"a {kind} message that carries no payload")
        if kind not in _TYPES:
            raise ValueError("Unknown HiveMessage.msg_type")
        payload, metadata, route, targets = get("payload", {}), get("metadata"), get("route"), get("target_peers")
        if not isinstance(payload, dict):
            raise _no_object(kind, payload)
        if not isinstance(metadata, (dict, type(None))):
            raise MalformedWirePayload("metadata is an object")
        if not isinstance(route, (list, type(None))) or not isinstance(targets, (list, type(None))):
            raise MalformedWirePayload("route and target_peers are arrays")
        texts = node, source_peer, site_id, pubkey = [get(key) for key in _TEXT_KEYS]
        for text in texts:
            if text is not None and not isinstance(text, str):
                raise MalformedWirePayload(f"{', '.join(_TEXT_KEYS)} are text")
        return HiveMessage(kind, payload, node, source_peer, route, targets, site_id, pubkey, metadata=metadata)

    @staticmethod
    def deserialize(payload: str | bytes | Json) -> HiveMessage:
        """Build a message leniently, as INTERCOM and mailbox content is read (docs/protocol.md 2.3).

        An envelope keeps type, payload, metadata, route and targets; a bare bus message becomes BUS; any other
        object becomes THIRDPRTY. Raises InvalidJson, MalformedWirePayload.
        """
        frame = codec.loads(payload) if isinstance(payload, (str, bytes)) else payload
        if not isinstance(frame, dict):
            raise _no_message(f"it must be a JSON object, got {type(frame).__name__}")
        kind = frame.get("msg_type")
        if isinstance(kind, str) and kind in _TYPES and "payload" in frame:
            return HiveMessage._from_dict({key: frame[key] for key in _LENIENT_KEYS if key in frame})
        if isinstance(frame.get("type"), str):
            return HiveMessage(HiveMessageType.BUS, build_bus_message(frame, Message))
        return HiveMessage(HiveMessageType.THIRDPRTY, frame)

    def forward(self, payload: Any = _KEEP, **fields: Any) -> HiveMessage:
        """Return a copy whose named fields (the constructor's) are replaced, by None also.

        Lists and dicts are copied one level deep.
        """
        kept: Json = {
            "msg_type": self._msg_type,
            "payload": self._payload if payload is _KEEP else payload,
            "node": self._node,
            "source_peer": self._source_peer,
            "route": list(self._route),
            "target_peers": list(self._targets),
            "target_site_id": self._target_site_id,
            "target_pubkey": self._target_pubkey,
            "bin_type": self._bin_type,
            "metadata": dict(self._metadata),
        }
        copy = HiveMessage(**{**kept, **fields})
        if copy._payload is self._payload and isinstance(copy._payload, dict):
            copy._payload = dict(copy._payload)
        return copy

    # --- route ----------------------------------------------------------------------------------------------

    def update_hop_data(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        merge_lists: bool = False,
        skip_empty: bool = False,
        no_dupes: bool = True,
        new_only: bool = False,
    ) -> None:
        """Append a hop of `source_peer` unless the last one is its; merge `data` into the last hop.

        Objects merge recursively. Lists are replaced, or joined with `merge_lists` (without what is there already, if
        `no_dupes`); `skip_empty` leaves out None, empty texts and empty lists, `new_only` keys that are there.
        """
        rules = {
            "merge_lists": merge_lists,
            "skip_empty": skip_empty,
            "no_dupes": no_dupes,
            "new_only": new_only,
        }
        route = list(self._route)
        last = route[-1] if route else None
        if not isinstance(last, dict) or "source" not in last or last["source"] != self._source_peer:
            route.append({"source": self._source_peer, "targets": list(self.target_peers)})
        if data:
            route[-1] = _merged(route[-1], data, rules)
        self._route = route

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
        """Remove a peer it is for, once, if it is there."""
        if peer in self._targets:
            self._targets = list(self._targets)
            self._targets.remove(peer)

    # --- a dict payload's keys ------------------------------------------------------------------------------

    def _object(self) -> Json:
        if not isinstance(self._payload, dict):
            raise TypeError(f"the payload has no items: it is {type(self._payload).__name__}, not an object")
        return self._payload

    def __getitem__(self, key: str) -> Any:
        return self._object().get(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self._object()[key] = value
        self._view = None

    def __str__(self) -> str:
        if self._msg_type == HiveMessageType.BINARY:
            return f"HiveMessage(BINARY:{len(self._payload)}])"
        return self.as_json

    def __repr__(self) -> str:
        return f"HiveMessage({_TYPES[self._msg_type].value!r})"
