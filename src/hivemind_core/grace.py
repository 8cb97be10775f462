"""Two passwords of one client, while a new one takes the place of the one before (docs/protocol.md 7.5).

The new one stands in the row where a password always stands, so that a hub which knows nothing of this sees it alone.
The previous one, and until when it counts, are in the metadata. Times are Unix time, seconds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .clients import Client
from .limits import REMEMBERED, REMEMBERED_HOMES, Remembered

PASSWORD, UNTIL, USED = "previous_password", "previous_password_until", "previous_password_used"
MOVED = {
    "noise_psk": "previous_noise_psk",
    "noise_psk_for": "previous_noise_psk_for",
    "allow_weak_password": "previous_allow_weak_password",
}
"""What belongs to a password -> where it is kept once that is the previous one."""
KEYS = (PASSWORD, UNTIL, USED, *MOVED.values())
DIGEST_BYTES = 8


@dataclass(frozen=True)
class Grace:
    """A previous password that is valid."""

    password: str = field(repr=False)
    until: float
    used: float | None
    """When a device last came in with it; None if none did."""


def grace_of(client: Client, now: float) -> Grace | None:
    """Return the previous password of a client, if it has one that is valid at this time."""
    password, until = password_of(client, previous=True), _time(client.metadata.get(UNTIL))
    if password is None or until is None or now >= until:
        return None
    return Grace(password, until, _time(client.metadata.get(USED)))


def password_of(client: Client, *, previous: bool) -> str | None:
    """Return the password of a client, or the one before it, valid or not; None for none."""
    if not previous:
        return client.password or None
    password = client.metadata.get(PASSWORD)
    return password if isinstance(password, str) and password else None


def _time(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]


# --- what is written ----------------------------------------------------------------------------------------


def rotated(row: Client, password: str, until: float | None, *, allow_weak: bool) -> Mapping[str, Any]:
    """Return the columns that give a row a new password; the one it had is valid until then, or no longer for None.

    One that was the previous one before is not kept in any case.
    """
    metadata = {key: value for key, value in row.metadata.items() if key not in KEYS and key not in MOVED}
    if until is not None and row.password:
        metadata |= {PASSWORD: row.password, UNTIL: until}
        metadata |= {to: row.metadata[key] for key, to in MOVED.items() if key in row.metadata}
    if allow_weak:
        metadata["allow_weak_password"] = True
    return {"password": password, "metadata": metadata}


def ended(row: Client) -> Mapping[str, Any]:
    """Return the columns of a row without its previous password; empty where it has none."""
    metadata = {key: value for key, value in row.metadata.items() if key not in KEYS}
    return {} if metadata == row.metadata else {"metadata": metadata}


def ended_by(row: Client, now: float) -> Mapping[str, Any]:
    """Return the same, but empty as long as the previous password is valid."""
    return {} if grace_of(row, now) is not None else ended(row)


# --- which one to go by -------------------------------------------------------------------------------------


class Choices:
    """Says which of two passwords XXpsk2 goes by: message 1 does not show it, and message 2 must fit.

    The new one. A device that has met the hub uses KKpsk0, where both are tried; one that begins anew has most likely
    just been set up, with what was printed last. Two things say more than that: an attempt that led to nothing, after
    which it is the other one's turn, and a device that came in anew the last time, since it does so always.
    """

    def __init__(self) -> None:
        self._failed: Remembered[tuple[int, str], bytes] = Remembered(REMEMBERED)
        self._came: Remembered[int, bytes] = Remembered(REMEMBERED_HOMES)

    def previous_first(self, client: Client, address: str, previous: str) -> bool:
        """Tell whether the next handshake of a client from an address goes by its previous password."""
        tried = self._failed.get((client.client_id, address))
        if tried in (_digest(client.password or ""), _digest(previous)):
            return tried != _digest(previous)
        return self._came.get(client.client_id) == _digest(previous)

    def failed(self, client: Client, address: str, password: str) -> None:
        """Note which password an XXpsk2 handshake went by that led to nothing."""
        self._failed.put((client.client_id, address), _digest(password))

    def came_in(self, client: Client, address: str, password: str, *, anew: bool) -> None:
        """Note which password a device has come in with; `anew` by XXpsk2 though it had been here before."""
        if self._failed.get((client.client_id, address)):
            self._failed.put((client.client_id, address), b"")
        if anew or self._came.get(client.client_id):
            self._came.put(client.client_id, _digest(password) if anew else b"")


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()[:DIGEST_BYTES]
