"""What XREAD answers, read with care: whoever may write in Redis may have written it. Pure."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .frames import MAX_FRAME_BYTES

MAX_SEALED_BYTES = MAX_FRAME_BYTES + 64 * 1024

BEGINNING = b"0-0"
"""The id below all others."""

_HUB = re.compile(rb"[0-9a-f]{16}")
_NUMBER = re.compile(rb"[0-9]{1,18}")


class Entry(NamedTuple):
    """One entry of a stream that may be a member's."""

    sender: str
    number: int
    sealed: bytes


def is_hub(hub: str) -> bool:
    """Tell whether this can be the id of a member."""
    return _HUB.fullmatch(hub.encode("utf-8", "replace")) is not None


def parse(fields: Any) -> Entry | None:
    """Return an entry; None for what no member writes. `fields` are names and values by turns."""
    if not isinstance(fields, list) or len(fields) != 6 or fields[::2] != [b"s", b"n", b"d"]:
        return None
    sender, number, sealed = fields[1::2]
    if not _HUB.fullmatch(sender) or not _NUMBER.fullmatch(number) or len(sealed) > MAX_SEALED_BYTES:
        return None
    return Entry(sender.decode(), int(number), sealed)


def key(entry_id: bytes) -> tuple[int, int]:
    """Return what orders ids."""
    ms, _, sequence = entry_id.partition(b"-")
    return int(ms), int(sequence)
