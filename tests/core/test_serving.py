"""`listen`: what counts of command line, environment and file, and what is said at the start."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from helpers.hub_commands import Ran, hub_command, said
from hivemind_core.config import CertificateFiles, Config, data_dir, default_path

WEBSOCKET = "hivemind-websocket-plugin"


class FakeService(ModuleType):
    """Stands where the service is, and keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("hivemind_core.service")
        self.configs: list[Config] = []

    def run(self, config: Config, quick_start: bool) -> int:
        self.configs.append(config)
        return 0


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    fake = FakeService()
    monkeypatch.setitem(sys.modules, "hivemind_core.service", fake)
    monkeypatch.setattr("hivemind_core.service", fake, raising=False)
    return fake


@pytest.fixture(autouse=True)
def levels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What logging was set to; the real one stays as pytest has it."""
    seen: list[str] = []
    monkeypatch.setattr("logging.basicConfig", lambda level, **_: seen.append(level))
    return seen


def configure(document: dict[str, Any]) -> Path:
    path = default_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), "utf-8")
    return path


def listen(service: FakeService, *options: str) -> Config:
    ran = hub_command("listen", *options)
    assert (ran.code, ran.out) == (0, ""), ran
    return service.configs[-1]


def refused(service: FakeService, *options: str) -> Ran:
    ran = hub_command("listen", *options)
    assert (ran.code, ran.out, service.configs) == (2, "", [])
    return ran


def test_options_beat_the_environment_and_that_the_file(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    configure({"network_protocol": {WEBSOCKET: {"host": "file", "port": 1}}, "log_level": "ERROR"})
    assert listen(service).websocket.host == "file"
    monkeypatch.setenv("HIVEMIND_HOST", "environment")
    monkeypatch.setenv("HIVEMIND_PORT", "2")
    config = listen(service, "--port", "3")
    assert (config.websocket.host, config.websocket.port) == ("environment", 3)


@pytest.mark.parametrize("options", [["--ssl", "--host", "::1", "--port", "0"]])
def test_tls_goes_with_the_other_options(service: FakeService, options: list[str]) -> None:
    websocket = listen(service, *options).websocket
    assert (websocket.host, websocket.port) == ("::1", 0)
    assert websocket.tls == CertificateFiles(data_dir() / "hivemind")


def test_tls_can_be_switched_off_and_on_again(service: FakeService) -> None:
    configure({"network_protocol": {WEBSOCKET: {"ssl": True, "cert_name": "mine"}}})
    assert listen(service).websocket.scheme == "wss"
    assert listen(service, "--no-ssl").websocket.tls is None
    tls = listen(service, "--ssl").websocket.tls
    assert tls is not None
    assert tls.name == "mine"


def test_the_environment_can_name_the_file_and_the_option_another(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text("{}")
    two.write_text("{}")
    monkeypatch.setenv("HIVEMIND_CONFIG", str(one))
    assert listen(service).path == one
    assert listen(service, "--config", str(two)).path == two


def test_the_level_of_the_log(service: FakeService, levels: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    listen(service)
    configure({"log_level": "WARNING"})
    listen(service)
    monkeypatch.setenv("HIVEMIND_LOG_LEVEL", "error")
    listen(service)
    listen(service, "--log-level", "debug")
    assert levels == ["INFO", "WARNING", "ERROR", "DEBUG"]


@pytest.mark.parametrize(("name", "value"), [("HIVEMIND_PORT", "x"), ("HIVEMIND_LOG_LEVEL", "LOUD")])
def test_a_variable_that_cannot_be_used_is_one_line(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert refused(service).error.startswith(f"The environment variable {name} must be ")


def test_what_has_no_effect_is_said_once_and_only_here(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    path = configure({"network_protocol": {WEBSOCKET: {"prot": 1}}, "agent_protocol": {"module": "x", "x": {"y": 1}}})
    with caplog.at_level(logging.WARNING):
        listen(service)
    (record,) = caplog.records
    assert record.message == (
        f"{path}: nothing reads the key `network_protocol.{WEBSOCKET}.prot`; it is ignored."
        f" Did you mean `network_protocol.{WEBSOCKET}.port`?"
    )
    assert json.loads(said("print-config"))["network_protocol"][WEBSOCKET]["prot"] == 1


def test_what_is_printed_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIVEMIND_PORT", "1")
    monkeypatch.setenv("HIVEMIND_TRUSTED_PROXY_CIDRS", "10.0.0.0/8")
    monkeypatch.setenv("HIVEMIND_DISABLE_PASSWORD_STRENGTH_CHECK", "1")
    shown = json.loads(said("print-config"))
    block = shown["network_protocol"][WEBSOCKET]
    assert (block["port"], block["trusted_proxy_cidrs"], block["ssl"]) == (1, ["10.0.0.0/8"], False)
    assert shown["runtime_password_strength_check"] is False
    assert shown["min_protocol_version"] == 2
