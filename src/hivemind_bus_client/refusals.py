"""Every refusal a person can meet: one sentence and its cure, the same on both ends.

The hub closes with ``close_code`` and ``wire_reason`` (docs/protocol.md 17); the client turns what it is told
back into the same row. Close codes mean what stock clients take them to mean: 1008 before a session exists stops
them for good, so only permanent refusals carry it.
"""

from __future__ import annotations

from .exceptions import HiveMindConnectionError
from .refusal_rows import (
    ABNORMAL,
    CONNECTION_ROWS,
    DENIAL_ROWS,
    GOING_AWAY,
    INTERNAL_ERROR,
    MAX_REASON_BYTES,
    NORMAL,
    NOT_PERMITTED,
    POLICY_VIOLATION,
    TRY_AGAIN_LATER,
    Refusal,
)

__all__ = [
    "ABNORMAL",
    "DENIALS",
    "GOING_AWAY",
    "INTERNAL_ERROR",
    "MAX_REASON_BYTES",
    "NORMAL",
    "NOT_PERMITTED",
    "POLICY_VIOLATION",
    "REFUSALS",
    "TRY_AGAIN_LATER",
    "HiveMindRefused",
    "Refusal",
    "from_close",
]

REFUSALS: dict[str, Refusal] = {row.code: row for row in CONNECTION_ROWS}
"""Why a connection was refused or ended."""
DENIALS: dict[str, Refusal] = {row.code: row for row in DENIAL_ROWS}
"""Why a message was denied; see `denials` for how they are told."""

# Reason prefixes as hubs write them -> code; the longest that fits wins. The released hub uses the first group,
# docs/protocol.md 17.1 and 17.2.
_BY_REASON: dict[str, str] = {
    "invalid authorization": "invalid_authorization",
    "invalid api key": "invalid_key",
    "this node requires protocol v3": "no_password",
    "this node requires the v3 Noise handshake": "protocol_too_old",
    "protocol v3 not offered": "not_offered",
    "malformed Noise envelope": "malformed_handshake",
    "pattern/suite not offered": "not_offered",
    "KKpsk0 without a pinned key": "not_offered",
    "handshake failure": "handshake_failed",
    "client Noise static key contradicts the pinned key": "client_key_mismatch",
    "server requires a protocol version": "protocol_too_old",
    "legacy handshake at protocol": "protocol_too_old",
    "password handshake verification failed": "wrong_password",
    "invalid cipher/encoding negotiation": "no_common_cipher",
    "invalid or unrecognized handshake": "malformed_handshake",
    "invalid message": "invalid_frame",
    "the password of this access key is too guessable": "weak_password",
    "client database unavailable": "database_unavailable",
    "too many failed attempts": "too_many_failures",
    "too many connections": "too_many_connections",
    "too many messages": "too_many_messages",
    "too many requests at once": "too_many_requests",
    "slow reader": "slow_reader",
    "handshake timed out": "handshake_timeout",
}

_BY_CLOSE_CODE: dict[int, str] = {
    GOING_AWAY: "shutting_down",
    POLICY_VIOLATION: "handshake_failed",
    INTERNAL_ERROR: "internal_error",
    TRY_AGAIN_LATER: "busy",
    NOT_PERMITTED: "not_permitted",
}


def from_close(close_code: int, reason: str) -> Refusal | None:
    """Return the refusal a hub means by a close frame, or None for an ordinary end (1000, 1006).

    A close frame without a known reason is read by its code alone.
    """
    fitting = [prefix for prefix in _BY_REASON if reason.startswith(prefix)]
    if fitting and close_code in (POLICY_VIOLATION, INTERNAL_ERROR, TRY_AGAIN_LATER):
        return REFUSALS[_BY_REASON[max(fitting, key=len)]]
    code = _BY_CLOSE_CODE.get(close_code)
    return REFUSALS[code] if code else None


class HiveMindRefused(HiveMindConnectionError, ConnectionRefusedError):
    """The hub refused this satellite, or the satellite this hub; ``str()`` names cause and cure."""

    def __init__(self, refusal: Refusal, reason: str = "") -> None:
        self.refusal = refusal
        self.code = refusal.code
        self.reason = reason or refusal.wire_reason
        super().__init__(f"HiveMind refused this identity: {refusal}")
