"""What a member tells `status` of itself: only members can write and read it."""

from __future__ import annotations

import pytest

from hivemind_core.cluster.members import Member
from hivemind_core.cluster.records import TTL_MS, Listed, open_sealed, seal
from hivemind_core.cluster_config import ClusterConfig

CONFIG = ClusterConfig(name="home")
SECRET, NONCE = b"s" * 32, b"n" * 12
HUB = "0123456789abcdef"
LISTED = Listed(Member(HUB, "attic", 1_700_000_000_000, True, False, 7), True, "wss://attic.lan:5678")


def test_it_comes_out_as_it_went_in_and_goes_by_itself() -> None:
    key, value, ttl_ms = seal(CONFIG, SECRET, LISTED, NONCE)
    assert (key, ttl_ms) == (f"hivemind:{{home}}:member:{HUB}", TTL_MS)
    assert open_sealed(CONFIG, SECRET, HUB, value) == LISTED
    assert b"attic" not in value


@pytest.mark.parametrize(
    ("config", "secret", "hub"),
    [(ClusterConfig(name="other"), SECRET, HUB), (CONFIG, b"x" * 32, HUB), (CONFIG, SECRET, "f" * 16)],
)
def test_it_opens_nowhere_else(config: ClusterConfig, secret: bytes, hub: str) -> None:
    _, value, _ = seal(CONFIG, SECRET, LISTED, NONCE)
    assert open_sealed(config, secret, hub, value) is None


@pytest.mark.parametrize("value", [b"", b"x", b"x" * 12, b"x" * 100])
def test_what_somebody_else_put_there_is_passed_over(value: bytes) -> None:
    assert open_sealed(CONFIG, SECRET, HUB, value) is None
