from __future__ import annotations

import pytest

from hivemind_core.cluster.sealing import MAX_KEYS, NONCE_SIZE, DoesNotOpen, Sealer

A, B = "a" * 16, "b" * 16
SECRET = bytes(range(32))


def sealer(hub: str = A, secret: bytes = SECRET, name: str = "one") -> Sealer:
    return Sealer(secret, name, hub)


def test_the_other_opens_what_one_sealed() -> None:
    sealed = sealer().seal("stream", 7, b"content")
    assert sealer(B).open("stream", A, 7, sealed) == b"content"
    assert b"content" not in sealed


@pytest.mark.parametrize(
    ("opener", "place"),
    [
        (sealer(B), ("other", A, 7)),
        (sealer(B), ("stream", B, 7)),
        (sealer(B), ("stream", A, 8)),
        (sealer(B, secret=bytes(32)), ("stream", A, 7)),
        (sealer(B, name="two"), ("stream", A, 7)),
    ],
    ids=["stream", "sender", "number", "secret", "cluster"],
)
def test_elsewhere_or_with_another_secret_it_does_not_open(opener: Sealer, place: tuple[str, str, int]) -> None:
    sealed = sealer().seal("stream", 7, b"content")
    with pytest.raises(DoesNotOpen):
        opener.open(*place, sealed)


@pytest.mark.parametrize("index", range(len(b"content") + 28))
def test_no_byte_can_be_changed_and_none_taken_away(index: int) -> None:
    sealed = sealer().seal("stream", 7, b"content")
    changed = sealed[:index] + bytes([sealed[index] ^ 1]) + sealed[index + 1 :]
    for each in (changed, sealed[:index]):
        with pytest.raises(DoesNotOpen):
            sealer(B).open("stream", A, 7, each)


def test_no_nonce_is_used_twice_whatever_the_stream() -> None:
    one = sealer()
    sealed = [one.seal(stream, number, b"") for stream in ("x", "y") for number in (1, 1, 2)]
    assert len({each[:NONCE_SIZE] for each in sealed}) == len(sealed)


def test_many_senders_are_understood() -> None:
    opener = sealer(B)
    hubs = [f"{number:016x}" for number in range(MAX_KEYS + 5)]
    sealed = {hub: sealer(hub).seal("stream", 1, hub.encode()) for hub in hubs}
    for hub in [*hubs, hubs[0]]:
        assert opener.open("stream", hub, 1, sealed[hub]) == hub.encode()
