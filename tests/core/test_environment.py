"""The hub's environment variables: what each stands for, what is wrong, what wins."""

from __future__ import annotations

from typing import Any

import pytest

from hivemind_core.config_values import ConfigError
from hivemind_core.environment import VARIABLES, document
from hivemind_core.known_keys import unknown_keys

GOOD = {
    "HIVEMIND_HOST": ("::1", "::1"),
    "HIVEMIND_PORT": (" 0 ", 0),
    "HIVEMIND_MIN_PROTOCOL_VERSION": ("3", 3),
    "HIVEMIND_AGENT": ("builtin", "builtin"),
    "HIVEMIND_OVOS_HOST": ("ovos", "ovos"),
    "HIVEMIND_OVOS_PORT": ("8181", 8181),
    "HIVEMIND_LOG_LEVEL": ("debug", "DEBUG"),
    "HIVEMIND_LOG_FORMAT": ("JSON", "json"),
    "HIVEMIND_DISABLE_PASSWORD_STRENGTH_CHECK": ("Yes", False),
    "HIVEMIND_CLUSTER_URL": ("redis://r", "redis://r"),
    "HIVEMIND_CLUSTER_NAME": ("home", "home"),
    "HIVEMIND_CLUSTER_HUB_NAME": ("attic", "attic"),
    "HIVEMIND_CLUSTER_USERNAME": ("u", "u"),
    "HIVEMIND_CLUSTER_PASSWORD": ("p", "p"),
    "HIVEMIND_CLUSTER_CA_CERTS": ("/ca", "/ca"),
    "HIVEMIND_CLUSTER_CERTFILE": ("/c", "/c"),
    "HIVEMIND_CLUSTER_KEYFILE": ("/k", "/k"),
    "HIVEMIND_CLUSTER_CHECK_HOSTNAME": ("No", False),
    "HIVEMIND_WEBSOCKET_PING_INTERVAL": ("0", 0.0),
    "HIVEMIND_WEBSOCKET_PING_TIMEOUT": ("2.5", 2.5),
    "HIVEMIND_TRUSTED_PROXY_CIDRS": ("10.0.0.0/8, ::1", ["10.0.0.0/8", "::1"]),
    "HIVEMIND_TRUSTED_CLIENT_IP_HEADERS": ("x-real-ip", "x-real-ip"),
    "HIVEMIND_ADMIN_HOST": ("::1", "::1"),
    "HIVEMIND_ADMIN_PORT": ("9567", 9567),
    "HIVEMIND_ADMIN_TOKEN": ("a-token-of-a-hub", "a-token-of-a-hub"),
}


def at(keys: tuple[str, ...], found: Any) -> Any:
    for key in keys:
        found = found[key]
    return found


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_each_stands_for_a_key_that_is_known(variable: Any) -> None:
    text, value = GOOD[variable.name]
    found = document({variable.name: text}, wins=variable.wins)
    assert at(variable.keys, found) == value
    assert unknown_keys(found) == []
    assert document({variable.name: text}, wins=not variable.wins) == {}


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_an_empty_one_is_not_set(variable: Any) -> None:
    assert document({variable.name: " "}, wins=variable.wins) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HIVEMIND_PORT", "http"),
        ("HIVEMIND_PORT", "65536"),
        ("HIVEMIND_PORT", "-1"),
        ("HIVEMIND_OVOS_PORT", "0"),
        ("HIVEMIND_MIN_PROTOCOL_VERSION", "4"),
        ("HIVEMIND_LOG_LEVEL", "LOUD"),
        ("HIVEMIND_CLUSTER_CHECK_HOSTNAME", "maybe"),
        ("HIVEMIND_WEBSOCKET_PING_INTERVAL", "inf"),
        ("HIVEMIND_WEBSOCKET_PING_TIMEOUT", "-1"),
        ("HIVEMIND_TRUSTED_PROXY_CIDRS", "10.0.0.0/8;10.1.0.0/16"),
    ],
)
def test_one_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"The environment variable {name} must be .+, not '{value}'"):
        {**document({name: value}, wins=True), **document({name: value}, wins=False)}


def test_several_of_one_block_stand_together() -> None:
    assert document({"HIVEMIND_HOST": "h", "HIVEMIND_PORT": "1", "OTHER": "x"}, wins=True) == {
        "network_protocol": {"hivemind-websocket-plugin": {"host": "h", "port": 1}}
    }
