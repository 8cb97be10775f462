"""The rows of the one table of refusals: what can go wrong for a person, and the cure. `refusals` reads them."""

from __future__ import annotations

from dataclasses import dataclass

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
    """What to do about it, with the command to run. A denial's texts are templates; see `denials`."""
    close_code: int = POLICY_VIOLATION
    """WebSocket close code the hub uses; 0 where the connection stays."""
    wire_reason: str = ""
    """Reason text in the close frame."""
    permanent: bool = True
    """Trying again without changing anything cannot help."""
    return_s: float = 0.0
    """In about how many seconds to come back, where the hub knows no time of its own; 0: it says nothing of it."""

    def __str__(self) -> str:
        return f"{self.sentence} {self.cure}".strip()


CONNECTION_ROWS = (
    # what the hub says when it closes, and what a satellite finds out for itself
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
        return_s=5,
    ),
    Refusal(
        "busy",
        "The hub is busy with many new connections.",
        "It is tried again by itself.",
        TRY_AGAIN_LATER,
        "busy, try again later",
        permanent=False,
        return_s=2,
    ),
    Refusal(
        "too_many_failures",
        "There were too many failed attempts with this access key or from this address.",
        "It is tried again by itself; meanwhile check the access key and the password of this device.",
        TRY_AGAIN_LATER,
        "too many failed attempts, try again later",
        permanent=False,
    ),
    Refusal(
        "too_many_connections",
        "There are too many connections with this access key or from this address.",
        "It is tried again by itself; give each device its own access key, or raise `max_connections_per_address` in"
        " the hub's server.json.",
        TRY_AGAIN_LATER,
        "too many connections, try again later",
        permanent=False,
        return_s=10,
    ),
    Refusal(
        "too_many_messages",
        "More messages came with this access key, or from this address, than the hub takes.",
        "It is tried again by itself when the hub said; send less at once, or raise `limits` in the hub's server.json.",
        TRY_AGAIN_LATER,
        "too many messages, try again later",
        permanent=False,
    ),
    Refusal(
        "too_many_requests",
        "More requests of this session came at once over HTTP than the hub takes.",
        "Wait for the answer to one before the next is sent.",
        TRY_AGAIN_LATER,
        "too many requests at once",
        permanent=False,
    ),
    Refusal(
        "slow_reader",
        "This connection does not read fast enough, and what waits for it has grown too large.",
        "It is made anew by itself; check the network of this device.",
        TRY_AGAIN_LATER,
        "slow reader",
        permanent=False,
        return_s=2,
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
        "origin_not_allowed",
        "The hub does not accept what this web page asks for.",
        "Add the origin of the page (`https://HOST`) to `allowed_origins` of the transport in the hub's server.json.",
        ABNORMAL,
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
        " (a hub's port is 5678, for HTTP 5679; `wss://HOST` for one with TLS).",
        ABNORMAL,
        permanent=False,
    ),
)

DENIAL_ROWS = (
    # one message is denied with `hive.policy.denied` and the connection stays (docs/protocol.md 11.2)
    Refusal(
        "acl_disallowed_type",
        "The hub does not let this client send {denied_type!r}.",
        "On the hub run `hivemind-core allow-msg {type_to_allow} {client}`.",
        0,
        permanent=False,
    ),
    Refusal(
        "session_id_default_forbidden",
        "The session id 'default' is reserved for the hub's own device.",
        "Use another session id.",
        0,
        permanent=False,
    ),
    Refusal(
        "malformed_payload",
        "The payload of a {denied_type!r} message has the wrong shape.",
        "Correct it at its sender.",
        0,
        permanent=False,
    ),
    Refusal(
        "unsupported_type",
        "The hub does not route {denied_type!r} messages.",
        "Send it as a message type of the protocol.",
        0,
        permanent=False,
    ),
    Refusal(
        "message_too_large",
        "A {denied_type!r} message is larger than what the hub passes on.",
        "Send less at once.",
        0,
        permanent=False,
    ),
    Refusal(
        "too_many_sessions",
        "This client, or all from its address, change their sessions too often.",
        "Keep to one session, or change it less often.",
        0,
        permanent=False,
    ),
    Refusal(
        "too_many_questions",
        "Too many questions wait for an answer, of this client or of all.",
        "Ask again when some of them have been answered.",
        0,
        permanent=False,
    ),
    Refusal(
        "no_binary_handler",
        "The hub has no handler for binary data.",
        "Send what was said as text; the hub cannot listen for this satellite.",
        0,
        permanent=False,
    ),
    Refusal(
        "binary_handler_failed",
        "The hub's handler for binary data failed on {denied_type!r}.",
        "See the hub's log.",
        0,
        permanent=False,
    ),
    Refusal(
        "binary_handler_busy",
        "The hub's handler for binary data does not keep up with this satellite.",
        "Send less at once, or wait for the answers.",
        0,
        permanent=False,
    ),
    Refusal(
        "file_not_kept",
        "The hub does not keep this file.",
        "Send another, or look at `binary_protocol` in the hub's server.json.",
        0,
        permanent=False,
    ),
    Refusal(
        "speech_unavailable",
        "The hub has no speech for this text.",
        "On the hub install the engine (`apt install espeak-ng`), or look into its log.",
        0,
        permanent=False,
    ),
    Refusal(
        "backend_unavailable",
        "The assistant behind the hub is not connected.",
        "Try again in a moment; start the assistant, or see the hub's log.",
        0,
        permanent=False,
    ),
    Refusal(
        "upstream_unavailable",
        "The hub above is not connected, so the {denied_type!r} message did not go up.",
        "Try again in a moment; start the hub above, or see the hub's log.",
        0,
        permanent=False,
    ),
    Refusal(
        "policy_error",
        "A policy of the hub failed.",
        "See the hub's log.",
        0,
        permanent=False,
    ),
    Refusal(
        "policy_chain_unavailable",
        "The hub lets nothing through: its policies say so, or could not be loaded.",
        "See the hub's log.",
        0,
        permanent=False,
    ),
)
