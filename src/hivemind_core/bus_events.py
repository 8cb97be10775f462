"""The messages the hub itself puts on the agent's bus, and the denials it sends satellites."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

from .actions import Deny
from .peers import Peer
from .sessions import inbound_id

FINGERPRINT_HEX = 12
MAX_SITE = 256
"""Characters of a site that a PING names."""


def fingerprint(api_key: str) -> str:
    """Return a short stable name for an access key, for logs and bus events, where the key itself has no place."""
    return hashlib.sha256(api_key.encode()).hexdigest()[:FINGERPRINT_HEX]


def connected(peer: Peer) -> Message:
    """``hive.client.connect``: a satellite has proven its password and announced itself."""
    data = {
        "key": fingerprint(peer.client.api_key),
        "peer": peer.peer_id,
        "session_id": peer.session["session_id"],
    }
    return Message("hive.client.connect", data, {"source": peer.peer_id})


def disconnected(peer: Peer) -> Message:
    """``hive.client.disconnect``: its connection ended."""
    session = {**peer.session, "session_id": inbound_id(peer.session["session_id"], peer.session_prefix)}
    data = {"key": fingerprint(peer.client.api_key), "peer": peer.peer_id}
    return Message("hive.client.disconnect", data, {"source": peer.peer_id, "session": session})


def asked(kind: HiveMessageType, query_id: str, originator: str, sender: str) -> Message:
    """``hive.query.received`` or ``hive.cascade.received``: a question came in that the policies let through."""
    data = {"query_id": query_id, "originator_peer": originator}
    return Message(f"hive.{kind.value}.received", data, {"source": sender})


def pinged(ping: Mapping[str, Any]) -> Message:
    """``hive.ping.received``: a node was heard for the first time in a flood."""
    told = {key: ping.get(key) for key in ("flood_id", "peer")}
    site_id, timestamp = ping.get("site_id"), ping.get("timestamp")
    told["site_id"] = site_id[:MAX_SITE] if isinstance(site_id, str) else None
    told["timestamp"] = timestamp if isinstance(timestamp, (int, float)) else None
    return Message("hive.ping.received", told)


def send_error(context: Mapping[str, Any], peer_id: object) -> Message:
    """``hive.client.send.error``: somebody asked to send to a satellite that is not there."""
    return send_failed(context, "That client is not connected", peer_id)


def send_failed(context: Mapping[str, Any], why: str, peer_id: object = None) -> Message:
    """``hive.client.send.error``: what somebody asked to send cannot be sent."""
    return Message("hive.client.send.error", {"error": why, "peer": peer_id}, dict(context))


def status(request: Message, ready: bool) -> Message:
    """Answer ``mycroft.HiveMind.is_alive`` and its kin: alive it is, if it answers; ready once satellites can come."""
    return request.response({"status": ready or request.msg_type.endswith(".is_alive")})


def denial(peer_id: str, deny: Deny) -> HiveMessage:
    """``hive.policy.denied``, as a BUS message to the satellite (docs/protocol.md 11.2)."""
    data = {
        "denied_type": deny.denied_type,
        "code": deny.code,
        "reason": deny.reason,
        "data": deny.data,
    }
    context = {"source": "hivemind-core", "destination": peer_id}
    return HiveMessage(HiveMessageType.BUS, Message("hive.policy.denied", data, context))
