"""The block `admin`: off unless it is there, and never open to others without a token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.hub_commands import said
from hivemind_core.admin_config import AdminConfig
from hivemind_core.config import Config, ConfigError, load_config

TOKEN = "a-token-that-nobody-guesses"


def load(folder: Path, admin: Any, **environ: str) -> Config:
    file = folder / "server.json"
    file.write_text(json.dumps({"admin": admin}), "utf-8")
    return load_config(file, environ)


@pytest.mark.parametrize("admin", [None, {}, {"port": None}])
def test_it_is_off_unless_there_is_something_in_it(tmp_path: Path, admin: Any) -> None:
    assert load(tmp_path, admin).admin is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.9"])
def test_this_machine_needs_no_token(tmp_path: Path, host: str) -> None:
    assert load(tmp_path, {"port": 9567, "host": host}).admin == AdminConfig(9567, host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "hub.local"])
def test_other_machines_do(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"admin\.token"):
        load(tmp_path, {"port": 9567, "host": host})
    assert load(tmp_path, {"port": 9567, "host": host, "token": TOKEN}).admin == AdminConfig(9567, host, TOKEN)


@pytest.mark.parametrize(
    "token", ["short", "with a space in it here", "ünïcödé-ünïcödé-ü", 1234567890123456, "x" * 257]
)
def test_a_token_is_fit_for_a_header_and_never_shown(tmp_path: Path, token: Any) -> None:
    with pytest.raises(ConfigError, match=r"admin\.token.*must be") as raised:
        load(tmp_path, {"port": 9567, "token": token})
    assert str(token) not in str(raised.value)


@pytest.mark.parametrize(
    ("admin", "key"),
    [
        ({"host": "::1"}, "admin.port"),
        ({"port": "x"}, "admin.port"),
        ({"port": 1, "host": 5}, "admin.host"),
        (9567, "admin"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(tmp_path: Path, admin: Any, key: str) -> None:
    with pytest.raises(ConfigError, match=f"`{key}` must be"):
        load(tmp_path, admin)


def test_the_environment_wins(tmp_path: Path) -> None:
    environ = {"HIVEMIND_ADMIN_PORT": "9", "HIVEMIND_ADMIN_HOST": "0.0.0.0", "HIVEMIND_ADMIN_TOKEN": TOKEN}
    assert load(tmp_path, {"port": 9567}, **environ).admin == AdminConfig(9, "0.0.0.0", TOKEN)
    assert load(tmp_path, None, HIVEMIND_ADMIN_PORT="9").admin == AdminConfig(9)


def test_the_token_is_not_shown(tmp_path: Path) -> None:
    assert TOKEN not in repr(load(tmp_path, {"port": 1, "token": TOKEN}))
    shown = said("--config", str(tmp_path / "server.json"), "print-config")
    assert TOKEN not in shown
    assert json.loads(shown)["admin"] == {"port": 1, "token": "********"}
