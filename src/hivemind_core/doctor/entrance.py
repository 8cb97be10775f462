"""Knocks at a running hub as a device does that it does not know: who is looked up and refused has come all the way to
the hub's clients. No client takes part, so none is pinned, counted or marked as seen; the hub logs one refusal.
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from typing import Any
from urllib.parse import quote

from hivemind_bus_client.doctor.door import any_certificate
from hivemind_bus_client.doctor.findings import Finding, fail, ok, warn
from hivemind_bus_client.refusals import Refusal, from_close

USERAGENT = "hivemind-doctor"
OPEN_S = REFUSE_S = 8.0
WANTED = "invalid_key"
TOO_OFTEN = "too_many_failures"
UNCLEAR = "See the log of the hub (`journalctl --user-unit hivemind-core`, or that of its container)."


def knocked(what: str, url: str, answer_s: float = REFUSE_S) -> Finding:
    """Connect to the WebSocket at `url` with an access key that nobody has, and tell how the hub refuses it."""
    from websockets.exceptions import WebSocketException

    try:
        refusal = _refusal(url, answer_s)
    except (OSError, WebSocketException, ValueError) as error:
        return fail(what, f"The hub did not answer a device that knocked ({type(error).__name__}).", UNCLEAR)
    if refusal is None:
        return fail(what, "The hub did not refuse an access key that nobody has.", UNCLEAR)
    if refusal.code == WANTED:
        return ok(what, "The hub looks up the access key of whoever connects, and refused one that it does not know.")
    if refusal.code == TOO_OFTEN:
        return ok(what, "The hub lets nobody in here for the moment whom it does not know: that was tried too often.")
    make = fail if refusal.permanent else warn
    return make(what, f"The hub turns devices away: {refusal.sentence}", refusal.cure or UNCLEAR)


def _refusal(url: str, answer_s: float) -> Refusal | None:
    """Return why the hub ended the connection; None where it did not, or gave no reason that is known.

    Raises OSError, WebSocketException.
    """
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    token = quote(b64encode(f"{USERAGENT}:{secrets.token_hex(16)}".encode()).decode(), safe="")
    context = any_certificate() if url.startswith("wss:") else None
    options: dict[str, Any] = {"open_timeout": OPEN_S, "close_timeout": 1, "proxy": None, "compression": None}
    with connect(f"{url}/?authorization={token}", ssl=context, **options) as hub:
        try:
            hub.recv(answer_s)
        except ConnectionClosed as closed:
            received = closed.rcvd
            return from_close(received.code, received.reason) if received is not None else None
        except TimeoutError:
            return None
    return None
