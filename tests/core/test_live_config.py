"""What a running hub takes over from its file while it runs."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from hivemind_core.config import LIVE_KEYS, Config, load_config
from hivemind_core.limits_config import LimitsConfig, Rate
from hivemind_core.live_config import LiveConfig

WEBSOCKET = "hivemind-websocket-plugin"


class Rig:
    """A file, and the look at it that a running hub takes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write({})
        self.config = load_config(path, {}, {"min_password_bits": 50})
        self.live = LiveConfig(self.config)

    def write(self, document: Any) -> None:
        text = document if isinstance(document, str) else json.dumps(document)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text, "utf-8")
        fresh.replace(self.path)

    def after(self, document: Any) -> Config | None:
        self.write(document)
        assert self.live.look() is None, "it may still be being written"
        return self.live.look()


@pytest.fixture
def rig(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Rig:
    caplog.set_level(logging.INFO, "hivemind_core.live_config")
    return Rig(tmp_path / "server.json")


CHANGES = {
    "binarize": True,
    "allowed_encodings": ["JSON-HEX"],
    "allowed_ciphers": ["AES-GCM"],
    "runtime_password_strength_check": False,
    "min_protocol_version": 3,
    "max_connections_per_address": 5,
    "limits": {"client_messages_per_s": 7},
}
READ = {"limits": LimitsConfig(client=Rate(7, 10_000_000))}


@pytest.mark.parametrize("key", CHANGES)
def test_live_keys_are_taken_over(rig: Rig, key: str, caplog: pytest.LogCaptureFixture) -> None:
    config = rig.after({key: CHANGES[key]})
    assert config is not None
    said = tuple(CHANGES[key]) if isinstance(CHANGES[key], list) else CHANGES[key]
    assert getattr(config, key) == READ.get(key, said)
    assert f"`{key}" not in caplog.text, "it needs no restart"
    assert config.min_password_bits == 50, "the command line still wins"
    assert f"{key} is" in caplog.text
    assert rig.live.look() is None
    undone = rig.after({})
    assert undone is not None
    assert getattr(undone, key) == getattr(rig.config, key)


def test_the_list_of_live_keys_is_whole() -> None:
    assert {*CHANGES, "min_password_bits"} == set(LIVE_KEYS)


def test_an_unchanged_file_is_not_read_again(rig: Rig) -> None:
    assert [rig.live.look() for _ in range(3)] == [None] * 3
    assert rig.after({}) is None


def test_other_changes_are_named_and_wait_for_a_restart(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    document = {"network_protocol": {WEBSOCKET: {"port": 1}}, "upstream": {"password": "s3cret"}}
    assert rig.after(document) is None
    (record,) = caplog.records
    assert f"`network_protocol.{WEBSOCKET}.port`, `upstream.password` changed; restart the hub" in record.message
    assert "s3cret" not in caplog.text
    config = rig.after({**document, "binarize": True})
    assert config is not None
    assert (config.binarize, config.websocket.port) == (True, 5678)
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


@pytest.mark.parametrize("broken", ['{"binarize": ', '{"binarize": 5}', "[]"])
def test_a_file_that_cannot_be_used_is_logged_once(rig: Rig, broken: str, caplog: pytest.LogCaptureFixture) -> None:
    assert rig.after(broken) is None
    assert [rig.live.look() for _ in range(3)] == [None] * 3
    (record,) = caplog.records
    assert (record.levelname, str(rig.path) in record.message) == ("ERROR", True)
    assert rig.path.read_text() == broken
    config = rig.after({"binarize": True})
    assert config is not None
    assert config.binarize


def test_a_file_that_goes_changes_nothing_and_one_that_comes_counts(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    assert rig.after({"binarize": True}) is not None
    rig.path.unlink()
    assert [rig.live.look() for _ in range(4)] == [None] * 4
    assert caplog.text.count("There is no configuration file") == 1
    assert rig.after({}) is not None


def test_a_hub_without_a_file_takes_one_that_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    live = LiveConfig(config := load_config())
    assert live.look() is None
    config.path.parent.mkdir()
    config.path.write_text('{"min_protocol_version": 3}')
    assert live.look() is None
    new = live.look()
    assert new is not None
    assert new.min_protocol_version == 3


def test_an_unknown_key_is_told_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.after({"binarise": True})
    rig.after({"binarise": False})
    assert caplog.text.count("nothing reads the key `binarise`") == 1
