"""What a person is told when the hub denies one message and keeps the connection (docs/protocol.md 11.2)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .refusals import DENIALS

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


_BINARY, _SPOKEN = "binary", "recognizer_loop:utterance"
"""Binary data is let through where anything is; to allow it, allow what people say."""
MAX_NAMED = 200
"""How much of a message type is said back to its sender."""


def sentence(code: str, denied_type: str, detail: str = "") -> str:
    """Return what happened, with a detail where there is one."""
    said = DENIALS[code].sentence.format(denied_type=denied_type[:MAX_NAMED])
    return f"{said.rstrip('.')}: {detail}." if detail else said


def cure(code: str, denied_type: str, client: object = "ID") -> str:
    """Return what to do about it, for a client that the hub knows by this number; empty for an unknown code."""
    if code not in DENIALS:
        return ""
    allow = _SPOKEN if denied_type == _BINARY else denied_type[:MAX_NAMED]
    return DENIALS[code].cure.format(type_to_allow=shlex.quote(allow), client=shlex.quote(str(client)))


def told(code: str, denied_type: str, *, client: object = "ID", detail: str = "") -> str:
    """Return both, as the hub says them."""
    return f"{sentence(code, denied_type, detail)} {cure(code, denied_type, client)}"


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
    what_to_do = cure(code, denied_type, _client_id(context))
    return Denial(code, denied_type, reason, "" if what_to_do.rstrip(".") in reason else what_to_do)
