"""``hivemind-core``: the command itself, what fails in all commands, the configuration, the start of the hub."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from helpers.hub_commands import Ran, add, hub_command, said, stored
from hivemind_bus_client.version import __version__
from hivemind_core.clients import Client
from hivemind_core.config import Config, ConfigError, data_dir, default_path

BROKEN = '{"binarize": yes}'
CHILD_TIMEOUT_S = 60


@pytest.fixture(autouse=True)
def no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making RSA keys takes long, and is tested elsewhere."""
    monkeypatch.setattr("hivemind_core.hub_identity.load_identity", lambda: None)


def configure(document: object) -> Path:
    path = default_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


# print-config, derive-psk


def test_the_effective_configuration_is_printed_and_the_file_left_alone() -> None:
    path = configure({"binarize": True, "note": "naïve", "upstream": {"password": "s3cret", "key": "k"}})
    before = path.read_text()
    text = said("print-config")
    shown = json.loads(text)
    assert (shown["binarize"], shown["min_password_bits"], shown["note"]) == (True, 40, "naïve")
    assert '\n  "binarize": true,' in text
    assert "naïve" in text
    assert (shown["upstream"]["password"], shown["upstream"]["key"]) == ("********", "********")
    secrets = json.loads(said("print-config", "--show-secrets"))["upstream"]
    assert (secrets["password"], secrets["key"]) == ("s3cret", "k")
    assert path.read_text() == before


@pytest.mark.parametrize("command", [["print-config"], ["add-client"], ["list-clients"], ["listen"]])
def test_a_broken_file_is_one_line_and_exit_code_2(command: list[str]) -> None:
    path = configure(BROKEN)
    ran = hub_command(*command)
    assert (ran.code, ran.out, path.read_text()) == (2, "", BROKEN)
    assert f"{path} is not valid JSON, line 1:" in ran.error


def test_a_folder_that_cannot_be_made_is_one_line_and_exit_code_1() -> None:
    data_dir().parent.mkdir(parents=True, exist_ok=True)
    data_dir().write_text("in the way")
    ran = hub_command("add-client")
    assert (ran.code, ran.out) == (1, "")
    assert "Could not open the client database" in ran.error


ON_THE_DATABASE = (
    ["add-client"],
    ["list-clients"],
    ["export-clients"],
    ["delete-client", "1", "--yes"],
    ["rename-client", "1", "--name", "x"],
    ["allow-msg", "x", "1"],
    ["blacklist-msg", "x", "1"],
    ["allow-skill", "x", "1"],
    ["make-admin", "1"],
    ["set-metadata", "1", "--key", "a", "--value", "1"],
    ["reset-noise-pin", "1"],
    ["policy", "test", "key", "x"],
)


def _garble(path: Path) -> None:
    path.write_bytes(b"these are the notes of somebody who needs them " * 100)


def _put_forward(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 3")


@pytest.mark.parametrize("command", ON_THE_DATABASE, ids=lambda command: command[0])
@pytest.mark.parametrize(("spoil", "why"), [(_garble, "not a database"), (_put_forward, "schema version 3")])
def test_a_database_that_cannot_be_used_is_one_line_and_left_alone(
    spoil: Callable[[Path], None], why: str, command: list[str]
) -> None:
    add("key")
    path = data_dir() / "hivemind-core" / "clients.db"
    spoil(path)
    before = path.read_bytes()
    ran = hub_command(*command)
    assert (ran.code, ran.out, path.read_bytes()) == (1, "", before)
    assert ran.err == f"Error: {ran.error}\n"
    assert str(path) in ran.error
    assert why in ran.error


def test_a_locked_database_is_one_line_and_nothing_is_said_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind_core.storage.sqlite.BUSY_TIMEOUT_S", 0.01)
    add("key")
    with closing(sqlite3.connect(data_dir() / "hivemind-core" / "clients.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        for command in (["add-client"], ["make-admin", "1"], ["delete-client", "1", "--yes"]):
            ran = hub_command(*command)
            assert (ran.code, ran.out) == (1, "")
            assert "database is locked" in ran.error
    assert stored(1) == Client(1, "key", "HiveMind-Node-0")


def test_clients_kept_elsewhere_are_not_passed_over() -> None:
    configure({"database": {"module": "hivemind-postgres-db-plugin"}})
    ran = hub_command("list-clients")
    assert ran.code == 2
    assert "migrate-db" in ran.error


def test_a_pre_shared_key_is_derived() -> None:
    expected = "6baeeb28042c0286885be497110bf7bbd4b31bfbb9af65108fcf9ade8f1d9823"
    assert said("derive-psk", "--password", "foo", "--node-id", "bar") == expected
    for incomplete in (["--password", "foo"], ["--node-id", "bar"], ["--password", "", "--node-id", "bar"]):
        assert hub_command("derive-psk", *incomplete).code == 2


# listen


class FakeService(ModuleType):
    """Stands where the service is, and ends as it is told."""

    def __init__(self) -> None:
        super().__init__("hivemind_core.service")
        self.ran: list[tuple[Config, bool]] = []
        self.ends: int | Exception = 0

    def run(self, config: Config, quick_start: bool) -> int:
        self.ran.append((config, quick_start))
        if isinstance(self.ends, Exception):
            raise self.ends
        return self.ends


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    fake = FakeService()
    monkeypatch.setitem(sys.modules, "hivemind_core.service", fake)
    monkeypatch.setattr("hivemind_core.service", fake, raising=False)
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    return fake


def listen(service: FakeService, *options: str) -> tuple[Ran, Config]:
    ran = hub_command(*options)
    return ran, service.ran[-1][0]


def test_listening_takes_what_the_file_says(service: FakeService) -> None:
    ran, config = listen(service, "listen")
    assert (ran.code, ran.out, service.ran[0][1]) == (0, "", False)
    assert (config.websocket.port, config.agent_module) == (5678, "auto")


def test_the_command_line_wins(service: FakeService) -> None:
    configure({"agent_protocol": {"embedded": {"port": 9}}})
    _, config = listen(service, "listen", "--host", "::1", "--port", "0", "--agent", "embedded", "--quick-start")
    assert (config.websocket.host, config.websocket.port) == ("::1", 0)
    assert (config.agent_module, config.agent) == ("embedded", {"port": 9})
    assert service.ran[0][1]


@pytest.mark.parametrize("before", [True, False])
def test_its_file_may_be_named_before_or_after_it(service: FakeService, tmp_path: Path, before: bool) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"binarize": true}')
    named = ["--config", str(file)]
    _, config = listen(service, *([*named, "listen"] if before else ["listen", *named]))
    assert (config.path, config.binarize) == (file, True)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_it_ends_with_the_code_of_the_service(service: FakeService, code: int) -> None:
    service.ends = code
    assert hub_command("listen").code == code


def test_what_the_service_refuses_is_one_line(service: FakeService) -> None:
    service.ends = ConfigError("no such agent")
    ran = hub_command("listen")
    assert (ran.code, ran.error) == (2, "no such agent")


@pytest.mark.parametrize("options", [["--port", "65536"], ["--port", "x"]])
def test_a_port_is_a_number(service: FakeService, options: list[str]) -> None:
    assert hub_command("listen", *options).code == 2
    assert service.ran == []


def test_what_it_cannot_serve_is_refused(service: FakeService) -> None:
    configure({"network_protocol": {"hivemind-mqtt-plugin": {}}})
    ran = hub_command("listen")
    assert ran.code == 2
    assert "enables no transport" in ran.error
    assert service.ran == []


# the command itself


def test_it_says_its_version_and_helps() -> None:
    assert said("--version") == f"hivemind-core, version {__version__}"
    assert "add-client" in said("--help")
    assert hub_command("bogus").error == "No such command 'bogus'."


@pytest.mark.parametrize("group", [(), ("policy",)])
def test_a_group_without_a_command_helps_on_stderr(group: tuple[str, ...]) -> None:
    ran = hub_command(*group)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Usage: hivemind-core")


RELEASED = """
    add-client allow-broadcast allow-escalate allow-intent allow-msg allow-propagate allow-skill blacklist-broadcast
    blacklist-escalate blacklist-intent blacklist-msg blacklist-propagate blacklist-skill delete-client derive-psk
    export-clients list-clients listen make-admin policy print-config rename-client reset-noise-pin
    revoke-admin set-metadata
"""


@pytest.mark.parametrize("command", RELEASED.split())
def test_every_command_of_the_released_hub_is_there_and_helps(command: str) -> None:
    assert f"hivemind-core {command}" in said(command, "--help")


def test_an_argument_that_is_not_text_is_refused() -> None:
    """It could neither be stored nor printed."""
    ran = hub_command("make-admin", "a\udcff")
    assert (ran.code, ran.error) == (2, r"'a\udcff' is not text in this terminal's encoding.")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=CHILD_TIMEOUT_S, check=False
    )


def test_it_runs_as_a_module() -> None:
    done = python("-m", "hivemind_core", "--version")
    assert (done.returncode, done.stdout) == (0, f"hivemind-core, version {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["make-admin", "9"], 1, "Error: Invalid Node ID! "),
        (["policy", "test", "9", "x"], 1, "Error: no client found for api_key='9'."),
        (["set-metadata"], 2, "Error: Invalid value: pass --metadata, --key/--value, or --unset"),
        (["--config", "nowhere.json", "list-clients"], 2, "Error: There is no configuration file nowhere.json."),
        ([], 2, "Usage: "),
    ],
)
def test_a_real_process_fails_on_stderr_alone(arguments: list[str], code: int, error: str) -> None:
    done = python("-m", "hivemind_core", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert error in done.stderr
    assert "Traceback" not in done.stderr


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, hivemind_core.scripts; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in python("-c", code).stdout.split()}
    assert "click" in loaded
    assert not loaded & {"aiohttp", "asyncio", "cryptography", "msgspec", "rich", "zxcvbn", "websockets"}
