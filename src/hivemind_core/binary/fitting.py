"""Makes metadata fit the 255 bytes that a binary frame has for it (docs/protocol.md 4.3)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from hivemind_bus_client import codec
from hivemind_bus_client.serialization import MAX_METADATA_BYTES

CUT = "\u2026"
"""Ends a text that was shortened."""
MAX_PLAIN_BYTES = 16 * 1024
"""Of metadata before it is compressed: no satellite inflates it without a limit."""


def fits(metadata: Mapping[str, Any]) -> bool:
    """Tell whether a frame holds this metadata. Compressed, since that is the one form every satellite reads."""
    plain = codec.spaced(dict(metadata), ascii_only=True).encode()
    return len(plain) <= MAX_PLAIN_BYTES and len(zlib.compress(plain)) <= MAX_METADATA_BYTES


def fitted(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata with its longest texts cut short as far as needed; what cannot be cut is left out.

    Raises TypeError for what JSON cannot say.
    """
    kept = {key: value for key, value in metadata.items() if isinstance(value, str) or fits({key: value})}
    while not fits(kept):
        texts = [key for key, value in kept.items() if isinstance(value, str) and len(value) > len(CUT)]
        if texts:
            longest = max(texts, key=lambda key: len(kept[key]))
            kept = _cut(kept, longest)
        else:
            del kept[max(kept, key=lambda key: len(codec.spaced({key: kept[key]})))]
    return kept


def _cut(metadata: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the metadata with this text as long as fits, or next to nothing of it where nothing does."""
    whole = metadata[key][:MAX_PLAIN_BYTES]
    least, most = 0, len(whole) - 1
    while least < most:
        middle = (least + most + 1) // 2
        if fits({**metadata, key: whole[:middle] + CUT}):
            least = middle
        else:
            most = middle - 1
    return {**metadata, key: whole[:least].rstrip() + CUT}
