"""``hivemind-core``: clients are added, listed and deleted, the configuration is shown, the hub is started."""

from __future__ import annotations

import json
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from helpers.hub_commands import Ran, add, database, hub_command, said, stored
from hivemind_bus_client.version import __version__
from hivemind_core.clients import Client
from hivemind_core.config import Config, ConfigError, config_dir, data_dir, default_path
from hivemind_core.roles import ROLES

STRONG = "correct horse battery staple 42"
BROKEN = '{"binarize": yes}'
CHILD_TIMEOUT_S = 60


@pytest.fixture(autouse=True)
def no_identity(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making RSA keys takes long; one test does."""
    if "own_identity" not in request.fixturenames:
        monkeypatch.setattr("hivemind_core.hub_identity.load_identity", lambda: None)


@pytest.fixture
def own_identity() -> None:
    """Let the command make the hub's identity."""


def configure(document: object) -> Path:
    path = default_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def fields(text: str) -> dict[str, str]:
    """Return the `Name: value` lines of what a command said."""
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and not line.startswith(" "))


def next_command(text: str) -> list[str]:
    """Return the words of the command to run on the satellite."""
    (line,) = [line for line in text.splitlines() if "set-identity" in line]
    return shlex.split(line)


# add-client


def test_a_plain_client_may_chat_and_what_to_run_next_is_printed() -> None:
    text = said("add-client")
    client = stored(1)
    assert text.startswith(
        "Database backend: SQLiteDB\n"
        "Credentials added to database!\n"
        "\n"
        "Node ID: 1\n"
        "Admin Privileges: False\n"
        "Friendly Name: HiveMind-Node-0\n"
        f"Access Key: {client.api_key}\n"
        f"Password: {client.password}\n"
        f"Allowed Message Types: {', '.join(ROLES['chat'])}\n"
    )
    assert (len(client.api_key), len(client.password or "")) == (32, 32)
    assert client.allowed_types == ROLES["chat"]
    words = next_command(text)
    assert words[:2] == ["hivemind-client", "set-identity"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options.pop("--host").count(".") == 3
    assert options == {
        "--key": client.api_key,
        "--password": client.password,
        "--port": "5678",
        "--siteid": "HiveMind-Node-0",
    }


def test_the_next_command_names_the_configured_address_and_survives_the_shell() -> None:
    configure({"network_protocol": {"hivemind-websocket-plugin": {"host": "hub.local", "port": 7000}}})
    text = said("add-client", "--name", "the kitchen", "--access-key", "it's", "--password", f"{STRONG} $HOME")
    options = next_command(text)[2:]
    assert options == [
        "--key", "it's", "--password", f"{STRONG} $HOME", "--host", "hub.local", "--port", "7000",
        "--siteid", "the kitchen",
    ]  # fmt: skip


def test_everything_can_be_chosen() -> None:
    text = said(
        "add-client", "--name", "adm", "--access-key", "k", "--password", STRONG, "--admin", "yes",
        "--metadata", '{"role": "guést"}', "--role", "none", "--allow", "x.y", "--allow", "x.y",
    )  # fmt: skip
    assert fields(text) | {"Admin Privileges": "True", "Metadata": '{"role": "guést"}'} == fields(text)
    assert fields(text)["Allowed Message Types"] == "x.y"
    client = stored(1)
    assert (client.name, client.api_key, client.password, client.is_admin) == ("adm", "k", STRONG, True)
    assert (client.allowed_types, client.metadata) == (("x.y",), {"role": "guést"})


def test_types_are_added_to_the_role() -> None:
    said("add-client", "--allow", "x.y", "--allow", "recognizer_loop:utterance")
    assert stored(1).allowed_types == (*ROLES["chat"], "x.y")


def test_no_role_grants_nothing_and_says_how_to() -> None:
    text = said("add-client", "--role", "none")
    assert "Allowed Message Types: (none — the client is DENIED on every message)\n\nNOTE: " in text
    assert "hivemind-core allow-msg ovos.utterance.handle recognizer_loop:utterance 1\n" in text
    assert stored(1).allowed_types == ()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--password", "foo"], "password is too guessable (~10 bits of resistance; 40 required)."),
        (["--password", ""], "a password cannot be empty"),
        (["--access-key", ""], "'' cannot be an access key"),
        (["--access-key", "revoked"], "'revoked' cannot be an access key"),
        (["--metadata", "{"], "must be valid JSON"),
        (["--metadata", '{"a": NaN}'], "must be valid JSON"),
        (["--metadata", "[]"], "must be a JSON object"),
        (["--allow", ""], "a message type cannot be empty"),
        (["--allow", "a b"], "a message type cannot contain white space"),
        (["--admin", "perhaps"], "'perhaps' is not a valid boolean"),
        (["--role", "king"], "'king' is not one of"),
    ],
)
def test_wrong_options_are_usage_errors_and_add_nobody(options: list[str], problem: str) -> None:
    ran = hub_command("add-client", *options)
    assert (ran.code, ran.out) == (2, "")
    assert problem in ran.error
    with closing(database()) as db:
        assert len(db) == 0


def test_a_weak_password_is_accepted_when_asked_and_then_works() -> None:
    """The released hub stored such a client and then refused it at every connection."""
    said("add-client", "--password", "foo", "--allow-weak-password")
    assert (stored(1).password, stored(1).metadata) == ("foo", {"allow_weak_password": True})


def test_the_required_strength_is_configured() -> None:
    configure({"min_password_bits": 5})
    said("add-client", "--password", "foo")
    configure({"min_password_bits": 0})
    said("add-client", "--password", "a")
    assert stored(2).metadata == {}


def test_an_access_key_is_given_once() -> None:
    add("abc123", name="weak")
    ran = hub_command("add-client", "--access-key", "abc123")
    assert (ran.code, ran.out) == (1, "")
    assert ran.error.startswith("A client already exists for access key 'abc123' (Node ID: 1, Friendly Name: weak).")
    assert "hivemind-core delete-client 1" in ran.error


def test_the_hubs_identity_is_there_before_its_database(own_identity: None) -> None:
    """A database without one would pass for a released installation, whose shared identity is adopted."""
    said("add-client")
    assert (config_dir() / "hivemind-core" / "_identity.json").exists()


def test_added_at_once_by_many_processes_all_get_ids_of_their_own() -> None:
    command = [sys.executable, "-m", "hivemind_core", "add-client"]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    texts = [child.communicate(timeout=CHILD_TIMEOUT_S)[0] for child in children]
    assert sorted(fields(text)["Node ID"] for text in texts) == list("123456")
    with closing(database()) as db:
        assert {row.api_key for row in db.all()} == {fields(text)["Access Key"] for text in texts}


# list-clients, delete-client


def test_clients_are_listed_without_their_passwords() -> None:
    for key in ("a" * 32, "b" * 32):
        add(key, name=f"name-{key[0]}", password=f"secret-{key[0]}")
    said("delete-client", "1", "--yes")
    text = said("list-clients")
    assert "HiveMind Credentials:" in text
    assert "name-b" in text
    assert "b" * 32 in text
    assert "secret" not in text
    assert "revoked" not in text
    assert "secret-b" in said("list-clients", "--show-secrets")


def test_a_deletion_is_confirmed_and_says_what_is_gone() -> None:
    add("key", name="weak2", password="p")
    ran = hub_command("delete-client", "1", typed="y\n")
    question = "Delete client 'weak2' (id 1)? This permanently revokes its credentials. [y/N]: "
    assert ran.out.replace("y\n", "", 1) == (
        f"{question}Revoked credentials!\n\nNode ID: 1\nFriendly Name: weak2\nAccess Key: key\nPassword: p\n"
    )
    assert hub_command("delete-client", "1", "--yes").code == 1


@pytest.mark.parametrize(("typed", "code"), [("n\n", 0), ("", 1)])
def test_without_a_yes_nobody_is_deleted(typed: str, code: int) -> None:
    add("key")
    ran = hub_command("delete-client", "key", typed=typed)
    assert ran.code == code
    assert "Abort" in ran.out + ran.err
    assert stored(1).api_key == "key"


def test_a_client_somebody_else_deleted_meanwhile_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    add("key")
    monkeypatch.setattr("hivemind_core.storage.sqlite.SQLiteStore.delete", lambda *_: False)
    assert hub_command("delete-client", "1", "--yes").error == "Client 1 was deleted meanwhile."


# print-config, derive-psk


def test_the_effective_configuration_is_printed_and_the_file_left_alone() -> None:
    path = configure({"binarize": True, "note": "naïve", "upstream": {"password": "s3cret", "key": "k"}})
    before = path.read_text()
    text = said("print-config")
    shown = json.loads(text)
    assert (shown["binarize"], shown["min_password_bits"], shown["note"]) == (True, 40, "naïve")
    assert '\n  "binarize": true,' in text
    assert "naïve" in text
    assert (shown["upstream"]["password"], shown["upstream"]["key"]) == ("********", "k")
    assert json.loads(said("print-config", "--show-secrets"))["upstream"]["password"] == "s3cret"
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


def _garble(path: Path) -> None:
    path.write_bytes(b"these are the notes of somebody who needs them " * 100)


def _put_forward(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 3")


@pytest.mark.parametrize("command", [["add-client"], ["list-clients"], ["delete-client", "1", "--yes"]])
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
    configure({"database": {"module": "hivemind-json-db-plugin"}})
    ran = hub_command("list-clients")
    assert ran.code == 2
    assert "migrate-db" in ran.error


def test_a_pre_shared_key_is_derived() -> None:
    expected = "6baeeb28042c0286885be497110bf7bbd4b31bfbb9af65108fcf9ade8f1d9823"
    assert said("derive-psk", "--password", "foo", "--node-id", "bar") == expected
    assert hub_command("derive-psk", "--password", "foo").code == 2


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
    configure({"network_protocol": {"hivemind-websocket-plugin": {"ssl": True}}})
    ran = hub_command("listen")
    assert ran.code == 2
    assert "serves no TLS" in ran.error
    assert service.ran == []


# the command itself


def test_it_says_its_version_and_helps() -> None:
    assert said("--version") == f"hivemind-core, version {__version__}"
    assert "add-client" in said("--help")
    assert hub_command().code == 2
    assert hub_command("bogus").error == "No such command 'bogus'."


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=CHILD_TIMEOUT_S, check=False
    )


def test_it_runs_as_a_module() -> None:
    done = python("-m", "hivemind_core", "--version")
    assert (done.returncode, done.stdout) == (0, f"hivemind-core, version {__version__}\n")


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, hivemind_core.scripts; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in python("-c", code).stdout.split()}
    assert "click" in loaded
    assert not loaded & {"aiohttp", "asyncio", "cryptography", "msgspec", "rich", "zxcvbn", "websockets"}


@pytest.mark.parametrize("name", ["two\nlines", "x" * 65])
def test_a_name_that_cannot_stand_in_a_log_is_refused(name: str) -> None:
    ran = hub_command("add-client", "--name", name)
    assert ran.code == 2
    assert "a name is printable text of at most 64 characters" in ran.error
    assert database().all() == []
