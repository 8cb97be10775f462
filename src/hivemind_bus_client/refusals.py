"""Every refusal a person can meet: one sentence and its cure, the same on both ends.

The hub closes with ``close_code`` and ``wire_reason`` (docs/protocol.md 17); the client turns what it is told
back into the same row. Close codes mean what stock clients take them to mean: 1008 before a session exists stops
them for good, so only permanent refusals carry it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .exceptions import HiveMindConnectionError

NORMAL = 1000
GOING_AWAY = 1001
ABNORMAL = 1006
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
NOT_PERMITTED = 4003

MAX_REASON_BYTES = 123  # RFC 6455 5.5: a control frame holds 125 bytes, two of them are the code


@dataclass(frozen=True)
class Refusal:
    """Why a connection was refused, for people and for programs."""

    code: str
    """Stable name."""
    sentence: str
    """What happened, as a person reads it."""
    cure: str
    """What to do about it, with the command to run."""
    close_code: int = POLICY_VIOLATION
    """WebSocket close code the hub uses."""
    wire_reason: str = ""
    """Reason text in the close frame."""
    permanent: bool = True
    """Trying again without changing anything cannot help."""

    def __str__(self) -> str:
        return f"{self.sentence} {self.cure}".strip()


_ROWS = (
    Refusal(
        "invalid_authorization",
        "The hub could not read the access key that was sent.",
        "Set the access key that `hivemind-core add-client` printed: `hivemind-client set-identity --key KEY`.",
        wire_reason="invalid authorization",
    ),
    Refusal(
        "invalid_key",
        "The hub does not know this access key.",
        "On the hub run `hivemind-core list-clients` to see the keys it knows, or `hivemind-core add-client` for"
        " a new one; then `hivemind-client set-identity --key KEY --password PASSWORD` here.",
        wire_reason="invalid api key",
    ),
    Refusal(
        "wrong_password",
        "The password does not match the one the hub has for this access key.",
        "Set the right one: `hivemind-client set-identity --password PASSWORD`.",
        wire_reason="handshake failure: ",
    ),
    Refusal(
        "no_password",
        "This access key has no password, and without one no protocol v3 session can be made.",
        "On the hub remove it with `hivemind-core delete-client` and make a new one with `hivemind-core add-client`.",
        wire_reason="this node requires protocol v3 (the Noise handshake)",
    ),
    Refusal(
        "weak_password",
        "The password of this access key is too easy to guess for this hub.",
        "On the hub make a new client with `hivemind-core add-client`, or lower `min_password_bits` in server.json.",
        wire_reason="the password of this access key is too guessable",
    ),
    Refusal(
        "key_mismatch",
        "The hub at this address presents another key than the one it had before.",
        "If the hub was reinstalled run `hivemind-client forget-server`; otherwise somebody may be impersonating it.",
        wire_reason="hub Noise static key contradicts the pinned key",
    ),
    Refusal(
        "client_key_mismatch",
        "The hub knows this access key from another device: the key presented is not the one it pinned.",
        "Give each device its own access key, or run `hivemind-core reset-noise-pin` on the hub.",
        wire_reason="client Noise static key contradicts the pinned key",
    ),
    Refusal(
        "protocol_too_old",
        "The two sides have no protocol version in common that both accept.",
        "Update the older side, or lower `min_protocol_version` knowingly.",
        wire_reason="this node requires the v3 Noise handshake",
    ),
    Refusal(
        "no_common_cipher",
        "The two sides have no cipher or text encoding in common.",
        "Look at `allowed_ciphers` and `allowed_encodings` in the hub's server.json.",
        wire_reason="invalid cipher/encoding negotiation",
    ),
    Refusal(
        "not_offered",
        "The satellite asked for a handshake that the hub did not offer.",
        "Update the satellite.",
        wire_reason="pattern/suite not offered",
    ),
    Refusal(
        "malformed_handshake",
        "A handshake message could not be read.",
        "Update the satellite; if it is new, something between the two changes the messages.",
        wire_reason="malformed Noise envelope",
    ),
    Refusal(
        "handshake_failed",
        "The handshake failed: the two sides do not share the same password, keys and parameters.",
        "Check the password with `hivemind-client set-identity --password PASSWORD`; if the device was reinstalled"
        " run `hivemind-core reset-noise-pin` on the hub.",
        wire_reason="handshake failure: ",
    ),
    Refusal(
        "handshake_timeout",
        "The handshake was not finished in time.",
        "It is tried again by itself; check that the address is a HiveMind hub.",
        TRY_AGAIN_LATER,
        "handshake timed out",
        permanent=False,
    ),
    Refusal(
        "busy",
        "The hub is busy with many new connections.",
        "It is tried again by itself.",
        TRY_AGAIN_LATER,
        "busy, try again later",
        permanent=False,
    ),
    Refusal(
        "slow_reader",
        "This connection does not read fast enough, and what waits for it has grown too large.",
        "It is made anew by itself; check the network of this device.",
        TRY_AGAIN_LATER,
        "slow reader",
        permanent=False,
    ),
    Refusal(
        "invalid_frame",
        "A frame was not a message of this session.",
        "The connection is made anew by itself.",
        wire_reason="invalid message",
        permanent=False,
    ),
    Refusal(
        "unencrypted_frame",
        "A message came before the encrypted session was up.",
        "Update the satellite: it must finish the handshake first.",
        wire_reason="invalid message",
    ),
    Refusal(
        "database_unavailable",
        "The hub cannot read its list of clients right now.",
        "It is tried again by itself; see the hub's log.",
        INTERNAL_ERROR,
        "client database unavailable",
        permanent=False,
    ),
    Refusal(
        "internal_error",
        "The hub failed while handling a message.",
        "The connection is made anew by itself; see the hub's log.",
        INTERNAL_ERROR,
        "internal error",
        permanent=False,
    ),
    Refusal(
        "not_permitted",
        "The hub does not permit this kind of message from this client.",
        "On the hub run `hivemind-core allow-escalate`, `allow-propagate` or `allow-broadcast` for it.",
        NOT_PERMITTED,
        "is not allowed for this client",
        permanent=False,
    ),
    Refusal(
        "client_removed",
        "This access key was removed from the hub.",
        "On the hub run `hivemind-core add-client` for a new one.",
        wire_reason="invalid api key",
    ),
    Refusal(
        "shutting_down",
        "The hub is shutting down.",
        "The connection is made anew by itself once the hub is back.",
        GOING_AWAY,
        "the hub is shutting down",
        permanent=False,
    ),
    Refusal(
        "no_greeting",
        "The hub closed the connection without a greeting and without a reason.",
        "Hubs of the 4.0 series do that when they do not know the access key: on the hub run"
        " `hivemind-core list-clients`, and here `hivemind-client set-identity --key KEY`.",
        ABNORMAL,
        permanent=False,
    ),
    Refusal(
        "tls_untrusted",
        "The hub's TLS certificate is not one that this device trusts.",
        "Give this device the hub's certificate, or leave out `self_signed=False`: the session inside is encrypted and"
        " proves who the hub is all the same.",
        ABNORMAL,
        permanent=False,
    ),
    Refusal(
        "clock_wrong",
        "The hub's TLS certificate is not valid at the time this device believes it is.",
        "Set the clock of this device (`timedatectl`); if it is right, renew the certificate on the hub.",
        ABNORMAL,
        permanent=False,
    ),
    Refusal(
        "tls_mismatch",
        "One side speaks TLS and the other does not.",
        "Set the hub's address with `hivemind-client set-identity --host ws://HOST` for a hub without TLS,"
        " `wss://HOST` for one with it.",
        ABNORMAL,
        permanent=False,
    ),
    Refusal(
        "unreachable",
        "Nothing answers at the hub's address.",
        "Check host and port with `hivemind-client set-identity --host HOST --port PORT`, that the hub runs"
        " (`hivemind-core listen`), and that no firewall blocks the port.",
        ABNORMAL,
        permanent=False,
    ),
    Refusal(
        "not_a_hub",
        "The address answers, but not as a HiveMind hub.",
        "Check host and port with `hivemind-client set-identity --host HOST --port PORT`"
        " (a hub's port is 5678; `wss://HOST` for one with TLS).",
        ABNORMAL,
        permanent=False,
    ),
)

REFUSALS: dict[str, Refusal] = {row.code: row for row in _ROWS}

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
    if fitting and close_code in (POLICY_VIOLATION, INTERNAL_ERROR):
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
