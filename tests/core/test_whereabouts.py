"""Where the running hub listens, told to the commands that print how to join it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hivemind_core import whereabouts
from hivemind_core.config import CertificateFiles, Config, HTTPConfig, data_dir

FILE = "hivemind-core/listening.json"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (tmp_path / "hivemind-core").mkdir()
    return Config(tmp_path / "server.json")


def test_a_running_hub_is_found_where_it_listens(config: Config, tmp_path: Path) -> None:
    running = replace(config, websocket=replace(config.websocket, host="127.0.0.1", tls=CertificateFiles(tmp_path)))
    whereabouts.announce(running, 20678)
    found = whereabouts.as_it_runs(config).websocket
    assert (found.host, found.port) == ("127.0.0.1", 20678)
    assert found.dialled_as("hub") == "wss://hub"
    assert (data_dir() / FILE).stat().st_mode & 0o777 == 0o600


def test_one_that_listens_for_http_alone_is_found_there(config: Config) -> None:
    """Whatever the configuration says that the command goes by."""
    http = HTTPConfig("127.0.0.1", 5679)
    whereabouts.announce(replace(config, http=http, serves_websocket=False), 20679)
    for other in (config, replace(config, http=http)):
        found = whereabouts.as_it_runs(other)
        assert found.front == replace(http, port=20679)
        assert found.front.dialled_as("hub") == "http://hub"


def test_one_that_listens_for_both_is_found_at_the_websocket(config: Config) -> None:
    alone = replace(config, http=HTTPConfig(), serves_websocket=False)
    whereabouts.announce(replace(config, http=HTTPConfig()), 20678)
    assert whereabouts.as_it_runs(alone).front == replace(config.websocket, port=20678)


def test_what_a_hub_wrote_goes_with_it(config: Config) -> None:
    whereabouts.announce(config, 20678)
    whereabouts.withdraw()
    assert whereabouts.as_it_runs(config) == config
    whereabouts.withdraw()


def test_a_hub_that_died_counts_for_nothing_and_is_not_ours_to_withdraw(config: Config) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    fields = {"pid": dead.pid, "host": "127.0.0.1", "port": 1, "ssl": False}
    (data_dir() / FILE).write_text(json.dumps(fields))
    assert whereabouts.as_it_runs(config) == config
    whereabouts.withdraw()
    assert (data_dir() / FILE).exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x"}', '{"pid": 1e99, "host": "", "port": 1, "ssl": 0}'])
def test_what_makes_no_sense_is_passed_over(config: Config, text: str) -> None:
    (data_dir() / FILE).write_text(text)
    assert whereabouts.as_it_runs(config) == config


def test_a_folder_that_cannot_be_written_keeps_nobody_from_serving(config: Config) -> None:
    (data_dir() / "hivemind-core").rmdir()
    (data_dir() / "hivemind-core").write_text("")
    whereabouts.announce(config, 1)
    assert whereabouts.as_it_runs(config) == config
