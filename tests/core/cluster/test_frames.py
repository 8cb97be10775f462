from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_bus_client.codec import MAX_DEPTH, MAX_ITEMS
from hivemind_bus_client.exceptions import InvalidJson
from hivemind_core.cluster.frames import MAX_FRAME_BYTES, CannotTravel, Head, decode, encode, pack, unpack

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
U64 = st.integers(0, 2**64 - 1)


@given(st.builds(Head, U64, U64, U64, U64, U64), st.lists(st.dictionaries(st.text(), VALUES), max_size=5))
def test_what_is_packed_comes_out_again(head: Head, frames: list[dict[str, Any]]) -> None:
    said, lines = unpack(pack(head, [encode(frame) for frame in frames]))
    assert said == head
    assert [decode(line) for line in lines] == frames


@given(st.binary(max_size=60))
def test_anything_else_is_invalid_or_read(content: bytes) -> None:
    try:
        _, lines = unpack(content)
        frames = [decode(line) for line in lines]
    except InvalidJson:
        return
    assert all(isinstance(frame, dict) for frame in frames)


def nested(levels: int) -> dict[str, Any]:
    frame: dict[str, Any] = {}
    for _ in range(levels - 1):
        frame = {"m": frame}
    return frame


@pytest.mark.parametrize(
    "frame", [nested(MAX_DEPTH + 1), {"m": [0] * (MAX_ITEMS + 2)}, {"m": "x" * MAX_FRAME_BYTES}], ids=len
)
def test_what_the_other_end_would_not_read_cannot_travel(frame: dict[str, Any]) -> None:
    with pytest.raises(CannotTravel):
        encode(frame)


@pytest.mark.parametrize("frame", [nested(MAX_DEPTH), {"m": [[]] * MAX_DEPTH}], ids=["deep", "wide"])
def test_what_is_within_bounds_travels(frame: dict[str, Any]) -> None:
    assert decode(encode(frame)) == frame


def test_what_is_not_json_is_the_callers_mistake() -> None:
    with pytest.raises(TypeError):
        encode({"m": object()})
    with pytest.raises(ValueError):
        encode({"m": "\ud800"})


def test_a_frame_is_an_object() -> None:
    with pytest.raises(InvalidJson):
        decode(b"[]")
