"""The block `limits` of server.json."""

from __future__ import annotations

from typing import Any

import pytest

from hivemind_core.config_values import ConfigError, Values
from hivemind_core.limits_config import DEFAULTS, LimitsConfig, Rate, read


def limits(**block: Any) -> LimitsConfig:
    return read(Values("server.json", {"limits": block}))


def test_the_defaults_are_those_of_the_document() -> None:
    assert limits() == limits(**DEFAULTS) == read(Values("server.json", {})) == LimitsConfig()


def test_they_hold_fifty_microphones_behind_one_address_and_a_chatroom() -> None:
    """A microphone sends 50 frames and 32 kB a second, each frame with some bytes around the sound."""
    default = LimitsConfig()
    assert default.address.messages_per_s >= 2 * 50 * 50
    assert default.address.bytes_per_s >= 2 * 50 * 32_000 * 1.5
    assert default.client.messages_per_s >= 200 * 10
    assert default.client.bytes_per_s * default.burst_s >= 2 * 32 * 1024 * 1024, "the longest message there can be"


def test_each_can_be_set_and_switched_off() -> None:
    set_so = limits(client_messages_per_s=0, client_bytes_per_s=1.5, address_messages_per_s=3, address_bytes_per_s=0)
    assert set_so == LimitsConfig(Rate(0, 1.5), Rate(3, 0), 10)
    assert not Rate().is_limit
    assert set_so.client.is_limit
    assert set_so.address.is_limit
    assert "client_bytes_per_s 1.5, address_messages_per_s 3" in str(set_so)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("client_messages_per_s", -1, "a number, zero or more"),
        ("address_bytes_per_s", "10 MB", "a number, zero or more"),
        ("client_bytes_per_s", True, "a number, zero or more"),
        ("burst_s", 0, "a number from 1 to 3600"),
        ("burst_s", 3601, "a number from 1 to 3600"),
    ],
)
def test_what_is_wrong_is_named(key: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"server.json: `limits.{key}` must be {expected}, not"):
        limits(**{key: value})


def test_the_block_is_an_object() -> None:
    with pytest.raises(ConfigError, match="`limits` must be an object"):
        read(Values("server.json", {"limits": 5}))
