"""What stands between this hub and the one above it, as the operator of this hub reads it.

The sentences are those of the one table of refusals; the cures there are for satellites, which have commands of their
own where a hub has server.json.
"""

from __future__ import annotations

import re

from hivemind_bus_client.refusals import Refusal

_KEY = (
    "Set `upstream.key` in server.json to the access key that `hivemind-core add-client` printed on the hub above, and"
    " restart this hub."
)
_PASSWORD = "Set `upstream.password` in server.json to the one of this access key, and restart this hub."
_ADDRESS = "Check `upstream.host`, `upstream.port` and `upstream.ssl` in server.json, and that the hub above runs."
_REINSTALLED = "If this hub was reinstalled run `hivemind-core reset-noise-pin` for it on the hub above"

CURES: dict[str, str] = {
    "invalid_authorization": _KEY,
    "invalid_key": _KEY,
    "client_removed": _KEY,
    "no_greeting": _KEY,
    "wrong_password": _PASSWORD,
    "handshake_failed": f"{_PASSWORD} {_REINSTALLED}.",
    "weak_password": "On the hub above make a new client with `hivemind-core add-client`, and put its access key and"
    " password into `upstream` in server.json.",
    "client_key_mismatch": f"Give each hub an access key of its own. {_REINSTALLED}, and restart this hub.",
    "key_mismatch": "If the hub above was reinstalled take `{server}` out of `pinned_noise_keys` in {identity} and"
    " restart this hub; otherwise somebody may be impersonating it.",
    "unreachable": _ADDRESS,
    "not_a_hub": _ADDRESS,
    "tls_mismatch": _ADDRESS,
    "tls_untrusted": "Set `upstream.self_signed` in server.json to true: the session inside is encrypted and proves who"
    " the hub above is all the same.",
    "not_permitted": "On the hub above run `hivemind-core allow-escalate` or `hivemind-core allow-propagate` for the"
    " client that this hub is there.",
    "too_many_connections": "Give each hub an access key of its own.",
    "slow_reader": "The connection is made anew by itself; check the network between the two hubs.",
}
"""Code of a refusal -> what the operator of this hub does about it; the table's own cure where it has no entry."""

_KICKED = re.compile(r"\b([A-Z]{3,16}) is not allowed for this client")


def told(refusal: Refusal, detail: str, *, server: str, identity: str) -> str:
    """Return what is wrong and what to do about it.

    `detail` is what was heard from the other end or the system; `server` the hub above as it is pinned, `identity` the
    path of this hub's identity file.
    """
    detail = "".join(letter if letter.isprintable() else "?" for letter in detail)
    heard = f" ({detail})" if detail and detail != refusal.wire_reason else ""
    return f"{refusal.sentence.rstrip('.')}{heard}. {cure(refusal, server=server, identity=identity)}"


def cure(refusal: Refusal, *, server: str, identity: str) -> str:
    """Return what the operator of this hub does about it."""
    return CURES.get(refusal.code, refusal.cure).format(server=server, identity=identity)


def kicked_for(detail: str) -> str:
    """Return the message type for which a hub ended the connection, as it writes it; empty if for none."""
    found = _KICKED.search(detail)
    return found.group(1).lower() if found else ""
