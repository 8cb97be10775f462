"""INTERCOM on its way out: a message that one node alone can read, signed by this one (docs/protocol.md 14.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .identity import NodeIdentity
from .message import HiveMessage


def sealed_for(public_key: Any, message: Any, identity: NodeIdentity) -> HiveMessage:
    """Return the envelope that carries a message (HiveMessage or bus message) to the owner of an RSA key.

    Takes some milliseconds, the first time of all about 0.2 s: the node's own key is made if there is none. Raises
    EncryptionKeyError for a key that is none.
    """
    from .intercom import propagated, seal

    return propagated(seal(message, public_key, _signing_key(identity)))


def _signing_key(identity: NodeIdentity) -> str:
    """The node's RSA private key as PEM text."""
    if not Path(identity.private_key).exists():
        identity.create_keys()
        identity.save()
    return Path(identity.private_key).read_text(encoding="ascii")
