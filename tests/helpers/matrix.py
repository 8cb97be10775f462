"""Which peers meet which, at which protocol version, and what is tried with each pair: tables, nothing else.

`tests/interop/test_matrix.py` tries every cell; `compatibility.py` writes docs/compatibility.md from what it found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

OURS = "ours"
CLIENT_12, CLIENT_07, CLIENT_04 = "released-client", "released-client-0.7.0a2", "released-client-0.4.4"
HUB_53, HUB_415, HUB_40 = "released-hub", "released-hub-4.15.0a1", "released-hub-4.0.0"
VERSIONS = {
    CLIENT_12: "client 1.2.12a1",
    CLIENT_07: "client 0.7.0a2",
    CLIENT_04: "client 0.4.4",
    HUB_53: "hub 5.3.10a1",
    HUB_415: "hub 4.15.0a1",
    HUB_40: "hub 4.0.0",
}

V0, V1, V2, V3 = "v0", "v1", "v2", "v3"
PROTOCOLS = {V0: "v0 (pre-shared key)", V1: "v1 (RSA)", V2: "v2 (password)", V3: "v3 (Noise)"}
ENCODINGS = ("JSON-B91", "JSON-Z85B", "JSON-Z85P", "JSON-B64", "JSON-URLSAFE-B64", "JSON-B32", "JSON-HEX")


@dataclass(frozen=True)
class Row:
    """A satellite, a hub, and the protocol version that this pair is held to."""

    satellite: str
    hub: str
    protocol: str

    @property
    def name(self) -> str:
        return f"{self.satellite}-{self.hub}-{self.protocol}".replace("released-", "")

    @property
    def control(self) -> bool:
        """Released with released: what fails there is not ours."""
        return OURS not in (self.satellite, self.hub)


ROWS = (
    Row(CLIENT_12, OURS, V3),
    Row(CLIENT_12, OURS, V2),
    Row(CLIENT_12, OURS, V1),
    Row(CLIENT_07, OURS, V2),
    Row(CLIENT_04, OURS, V2),
    Row(OURS, HUB_53, V3),
    Row(OURS, HUB_415, V3),
    Row(OURS, HUB_415, V2),
    Row(OURS, HUB_415, V1),
    Row(OURS, HUB_415, V0),
    Row(OURS, HUB_40, V2),
    Row(OURS, HUB_40, V1),
    Row(OURS, HUB_40, V0),
    Row(CLIENT_12, HUB_53, V3),
    Row(CLIENT_12, HUB_415, V3),
    Row(CLIENT_12, HUB_415, V2),
    Row(CLIENT_12, HUB_415, V1),
    Row(CLIENT_07, HUB_415, V2),
    Row(CLIENT_04, HUB_415, V2),
    Row(CLIENT_12, HUB_40, V2),
    Row(CLIENT_07, HUB_40, V2),
    Row(CLIENT_04, HUB_40, V2),
)

MAIN = ("connect", "answer", "binary up", "binary down", "restart")
"""Columns that one satellite of a row goes through, one after the other."""
BINARIZED, WRONG_KEY, WRONG_PASSWORD, LATE, TOKEN = "binarized", "wrong key", "wrong password", "late hub", "token"
REFUSALS = (LATE, TOKEN, WRONG_KEY, WRONG_PASSWORD)
COLUMNS = (*MAIN[:4], BINARIZED, *ENCODINGS, *REFUSALS, MAIN[4])
CONTROLLED = (*MAIN[:4], TOKEN, WRONG_KEY, WRONG_PASSWORD, MAIN[4])

YES, TOLD, SILENT, NO = "yes", "told", "retries", "no"


def columns(row: Row) -> tuple[str, ...]:
    """What is tried with a row, in this order."""
    tried = CONTROLLED if row.control else COLUMNS
    return tuple(column for column in tried if not impossible(row, column))


def floor(row: Row) -> dict[str, Any]:
    """What a hub's server.json needs besides the defaults."""
    low = {V1: {"min_protocol_version": 1}, V0: {"min_protocol_version": 0}}
    return low.get(row.protocol, {}) if row.hub != HUB_40 else {}


def settings(row: Row, column: str) -> dict[str, Any]:
    """What stands in server.json for a cell."""
    if column in ENCODINGS:
        return {**floor(row), "allowed_encodings": [column]}
    return {**floor(row), **({"binarize": True} if column == BINARIZED else {})}


def impossible(row: Row, column: str) -> str:
    """Why there is nothing to try; empty where there is."""
    if column in ENCODINGS and row.protocol == V3:
        return "v3 has no text encodings"
    if column in ENCODINGS and row.protocol in (V0, V1) and column != "JSON-HEX":
        return f"{row.protocol} knows JSON-HEX only"
    if column == WRONG_PASSWORD and row.protocol == V1:
        return "v1 has no password"
    if column == BINARIZED and row.protocol == V0:
        return "v0 agrees on nothing"
    return ""


def expected(row: Row, column: str) -> str:
    """What comes of a cell."""
    told = TOLD if row.satellite == OURS or (row.satellite == CLIENT_12 and row.hub != HUB_40) else SILENT
    if note(row, column):
        return told if column == TOKEN else NO
    if column == WRONG_KEY:
        return told
    if column == WRONG_PASSWORD:
        proven = V2 if row.satellite == CLIENT_12 else row.protocol
        return told if row.protocol == proven else SILENT
    return YES


def note(row: Row, column: str) -> str:
    """Why a released peer cannot what others can; empty where it can."""
    if column == "binary down" and row.satellite == CLIENT_04 and row.control:
        return "client 0.4.4 inflates every binary frame, also those that are not compressed, and drops the connection"
    if column == "JSON-Z85P" and row.satellite == CLIENT_04:
        return "client 0.4.4 cannot read `JSON-Z85P`, not even its own"
    if column == "JSON-Z85P" and row.hub == HUB_40:
        return "hub 4.0.0 cannot read `JSON-Z85P`, not even its own"
    if column == "restart" and (row.satellite, row.protocol) == (CLIENT_12, V1):
        return "client 1.2 begins the RSA handshake while `connect` waits, and never again when it has to reconnect"
    if column == TOKEN and row.satellite != OURS and row.hub in (HUB_53, HUB_415):
        return "released clients send a `+` as it is, and newer released hubs read it as a blank"
    return ""


CELLS = tuple(
    (row, column)
    for hub in (OURS, HUB_53, HUB_415, HUB_40)
    for column in COLUMNS
    for row in ROWS
    if row.hub == hub and column in columns(row)
)
"""Every cell, in the order that lets one hub be done with before the next begins."""
