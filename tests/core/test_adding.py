"""``hivemind-core add-client``: what a new client is, what is printed, and what is refused."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from helpers.hub_commands import add, database, hub_command, said, stored
from hivemind_core.config import config_dir, default_path, load_config
from hivemind_core.roles import ROLES
from hivemind_core.testing import MemoryHive

STRONG = "correct horse battery staple 42"
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
    path.write_text(json.dumps(document))
    return path


def fields(text: str) -> dict[str, str]:
    """Return the `Name: value` lines of what a command said."""
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and not line.startswith(" "))


def next_command(text: str) -> list[str]:
    """Return the words of the command to run on the satellite."""
    (line,) = [line for line in text.splitlines() if "set-identity" in line]
    return shlex.split(line)


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
        f"Allowed Message Types: {', '.join(ROLES['chat'].types)}\n"
    )
    assert (len(client.api_key), len(client.password or "")) == (32, 32)
    assert client.allowed_types == ROLES["chat"].types
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
    assert stored(1).allowed_types == (*ROLES["chat"].types, "x.y")


@pytest.mark.parametrize("name", ROLES)
def test_a_role_gives_its_types_and_flags(name: str) -> None:
    said("add-client", "--role", name)
    client = stored(1)
    assert client.allowed_types == ROLES[name].types
    flags = {"is_admin": False, "can_escalate": True, "can_propagate": True, "can_broadcast": True}
    assert {flag: getattr(client, flag) for flag in flags} == flags | dict(ROLES[name].columns)


def test_what_is_said_of_powers_wins_over_the_role() -> None:
    assert fields(said("add-client", "--role", "admin"))["Admin Privileges"] == "True"
    assert fields(said("add-client", "--role", "admin", "--admin", "no"))["Admin Privileges"] == "False"
    said("add-client", "--role", "guest", "--admin", "1")
    assert (stored(3).is_admin, stored(3).can_broadcast) == (True, False)


def test_the_roles_are_explained() -> None:
    for text in (said("add-client", "--help"), said("roles")):
        for name, role in ROLES.items():
            assert name in text
            assert role.meaning in text
    for msg_type in ROLES["voice"].types:
        assert msg_type in said("roles")
    document = json.loads(said("roles", "--json"))
    assert document["guest"] == {
        "meaning": ROLES["guest"].meaning,
        "allowed_types": ["recognizer_loop:utterance", "ovos.utterance.handle"],
        "can_escalate": False,
        "can_propagate": False,
        "can_broadcast": False,
    }
    assert document.keys() == ROLES.keys()


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
        (["--access-key", "a\tb"], "an access key is printable text of at most 255 characters"),
        (["--access-key", "k" * 256], "an access key is printable text of at most 255 characters"),
        (["--metadata", '{"skill_blacklist": "a.b"}'], "skill_blacklist must be an array of skill ids"),
        (["--crypto-key", "x" * 15], "must be a text of exactly 16 ASCII characters"),
        (["--crypto-key", "é" * 16], "must be a text of exactly 16 ASCII characters"),
        (["--password", "foo", "--no-password"], "--password and --no-password exclude each other."),
    ],
)
def test_wrong_options_are_usage_errors_and_add_nobody(options: list[str], problem: str) -> None:
    ran = hub_command("add-client", *options)
    assert (ran.code, ran.out) == (2, "")
    assert problem in ran.error
    with closing(database()) as db:
        assert len(db) == 0


async def test_a_weak_password_is_accepted_when_asked_and_then_works() -> None:
    """The released hub stored such a client and then refused it at every connection (W36)."""
    said("add-client", "--password", "foo", "--allow-weak-password")
    row = stored(1)
    assert (row.password, row.metadata) == ("foo", {"allow_weak_password": True})
    async with MemoryHive(load_config()) as hive:
        assert hive.hub.config.runtime_password_strength_check
        satellite = await hive.join("kitchen", client=hive.db.add(row))
        satellite.say("hello")
        await hive.settle()
        assert hive.agent.utterances == ["hello"]


def test_a_random_password_needs_no_waiver() -> None:
    said("add-client", "--allow-weak-password")
    assert stored(1).metadata == {}


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


@pytest.mark.parametrize("name", ["two\nlines", "x" * 65])
def test_a_name_that_cannot_stand_in_a_log_is_refused(name: str) -> None:
    ran = hub_command("add-client", "--name", name)
    assert ran.code == 2
    assert "a name is printable text of at most 64 characters" in ran.error
    assert database().all() == []


# metadata and old protocols


def test_metadata_is_printed_sorted_and_without_its_secrets() -> None:
    given = {"z": 1, "api_token": "t0ken", "noise_psk": "a" * 64}
    ran = hub_command("add-client", "--metadata", json.dumps(given))
    assert fields(ran.out)["Metadata"] == '{"api_token": "********", "noise_psk": "********", "z": 1}'
    assert ran.err == "NOTE: the hub writes noise_psk itself; a wrong value locks the client out.\n"
    assert stored(1).metadata == given


def test_a_pre_shared_key_is_kept_printed_and_where_it_counts_is_said() -> None:
    path = configure({"min_protocol_version": 1})
    ran = hub_command("add-client", "--crypto-key", "0123456789abcdef")
    assert fields(ran.out)["Encryption Key"] == "0123456789abcdef"
    assert ran.out.index("\nPassword: ") < ran.out.index("\nEncryption Key: ") < ran.out.index("\nAllowed Message")
    assert stored(1).metadata == {"crypto_key": "0123456789abcdef"}
    assert ran.err == (
        "NOTE: The encryption key serves satellites of protocol 0, which this hub refuses: `min_protocol_version` is 1."
        f" Set it to 0 in {path}.\n"
    )


def test_a_client_without_a_password_is_for_protocol_1() -> None:
    path = configure({"min_protocol_version": 2})
    ran = hub_command("add-client", "--no-password")
    assert stored(1).password is None
    assert fields(ran.out)["Password"] == "(none)"
    assert "set-identity" not in ran.out
    assert ran.err == (
        "NOTE: A client without a password joins by protocol 1, which this hub refuses: `min_protocol_version` is 2."
        f" Set it to 1 in {path}.\n"
    )


def test_a_hub_that_allows_old_protocols_is_not_remarked_upon() -> None:
    configure({"min_protocol_version": 0})
    said("add-client", "--no-password", "--crypto-key", "0123456789abcdef")


async def test_a_pre_shared_key_lets_an_old_satellite_in() -> None:
    configure({"min_protocol_version": 0})
    said("add-client", "--crypto-key", "0123456789abcdef")
    async with MemoryHive(load_config()) as hive:
        means = {"min_version": 0, "max_version": 0, "crypto_key": "0123456789abcdef"}
        satellite = await hive.join("old", client=hive.db.add(stored(1)), older=means)
        satellite.say("hello")
        await hive.settle()
        assert hive.agent.utterances == ["hello"]


def test_payload_and_errors_are_apart_in_a_real_process(own_home: Path, own_identity: None) -> None:
    command = [sys.executable, "-m", "hivemind_core", "add-client", "--access-key", "k"]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, timeout=CHILD_TIMEOUT_S, check=False) for _ in range(2)
    )
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("Database backend: SQLiteDB\nCredentials added to database!\n\nNode ID: 1\n")
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.startswith("Error: A client already exists for access key 'k' (Node ID: 1,")
    assert "Traceback" not in second.stderr


def test_behind_a_published_port_satellites_are_told_where_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIVEMIND_ADVERTISED_HOST", "hub.example")
    monkeypatch.setenv("HIVEMIND_ADVERTISED_PORT", "15678")
    words = next_command(said("add-client"))
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert (options["--host"], options["--port"]) == ("hub.example", "15678")
