"""What a person is told when the hub denies one message and keeps the connection (docs/protocol.md 11.2)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DENIED = "hive.policy.denied"
"""Type of the bus message that tells of a denial."""


@dataclass(frozen=True)
class Denial:
    """One denied message."""

    code: str
    denied_type: str
    reason: str
    """What the hub said."""
    cure: str
    """What to do about it, with the command to run; empty if the code is not a known one."""

    def __str__(self) -> str:
        said = f": {self.reason}" if self.reason else ""
        return f"the hub denied {self.denied_type or 'a message'}{said}. {self.cure}".strip()


_CURES = {
    "acl_disallowed_type": "On the hub run `hivemind-core allow-msg {denied_type} {client}`.",
    "malformed_payload": "The message has the wrong shape; correct it at its sender.",
    "policy_error": "A policy of the hub failed; see the hub's log.",
    "policy_chain_unavailable": "The hub's policies could not be loaded; see the hub's log.",
    "session_id_default_forbidden": 'Use a session id other than "default".',
    "unsupported_type": "Update the hub; until then it has no use for such messages.",
    "too_many_sessions": "Keep to one session, or change it less often.",
    "no_binary_handler": "It can take text only; send what was said instead of its sound.",
    "backend_unavailable": "The hub's assistant is offline; start it, or see the hub's log.",
}


def _client_id(context: Mapping[str, Any]) -> str:
    """The hub's number for this satellite, the second part of its peer id (docs/protocol.md 10)."""
    for key in ("destination", "source"):
        parts = str(context.get(key) or "").split("::")
        if len(parts) >= 4:
            return parts[1]
    return "ID"


def read_denial(data: Mapping[str, Any], context: Mapping[str, Any]) -> Denial:
    """Read the data and context of a ``hive.policy.denied`` message."""
    code = str(data.get("code") or "")
    denied_type = str(data.get("denied_type") or "")
    reason = str(data.get("reason") or "").rstrip(".")
    cure = _CURES.get(code, "").format(denied_type=shlex.quote(denied_type), client=shlex.quote(_client_id(context)))
    return Denial(code, denied_type, reason, "" if cure.rstrip(".") in reason else cure)
