"""The block `upstream` of server.json."""

from __future__ import annotations

from typing import Any

import pytest

from hivemind_bus_client.address import Address
from hivemind_core.config import DEFAULTS
from hivemind_core.config_values import ConfigError, Values
from hivemind_core.upstream_config import UpstreamConfig, read

SECRET = 48151623


def block(**given: Any) -> UpstreamConfig:
    """What the hub makes of a block that leaves out the rest."""
    return read("server.json", Values("server.json", {"upstream": DEFAULTS["upstream"] | given}))


def test_everything_is_as_in_a_released_file() -> None:
    found = block(enabled=True, host="parent.lan", port=5699, key="k", password="p", ssl=True, self_signed=False)
    assert found == UpstreamConfig(True, Address("parent.lan", 5699, True), "k", "p", False)
    assert block(enabled=True, key="k", password="p").address == Address("127.0.0.1", 5678)
    assert found.missing == ""


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("wss://parent.lan", Address("parent.lan", 5678, True)),
        ("ws://parent.lan", Address("parent.lan")),
        ("fd00::1", Address("[fd00::1]")),
    ],
)
def test_a_host_is_written_as_everywhere(host: str, address: Address) -> None:
    assert block(enabled=True, host=host).address == address


@pytest.mark.parametrize("document", [{}, {"upstream": False}, {"upstream": {"enabled": False, "host": 7}}])
def test_what_is_not_enabled_is_not_looked_at(document: dict[str, Any]) -> None:
    values = Values("server.json", {"upstream": DEFAULTS["upstream"]} | document)
    assert read("server.json", values) == UpstreamConfig()


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"enabled": "yes"}, "upstream.enabled"),
        ({"host": 7}, "upstream.host"),
        ({"host": "parent/path"}, "upstream.host"),
        ({"port": "5678"}, "upstream.port"),
        ({"ssl": 1}, "upstream.ssl"),
        ({"self_signed": None}, "upstream.self_signed"),
        ({"key": SECRET}, "upstream.key"),
        ({"password": SECRET}, "upstream.password"),
    ],
)
def test_what_is_wrong_is_named_and_secrets_are_not_shown(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"`{name}`") as caught:
        block(**{"enabled": True, **wrong})
    assert str(SECRET) not in str(caught.value)


def test_a_block_that_is_no_object_is_wrong() -> None:
    with pytest.raises(ConfigError, match="`upstream` must be an object"):
        read("server.json", Values("server.json", {"upstream": "ws://parent"}))


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "`upstream.key` and `upstream.password`"),
        ({"key": "k"}, "`upstream.password`"),
        ({"key": "k", "password": None}, "`upstream.password`"),
        ({"password": "p"}, "`upstream.key`"),
    ],
)
def test_it_tells_what_is_missing(given: dict[str, Any], missing: str) -> None:
    assert block(enabled=True, **given).missing == missing
