"""`migrate-db`: everything arrives, the source is left alone, and there is a whole copy or none."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from helpers.hub_commands import hub_command, said
from helpers.processes import free_port
from helpers.redis_server import RedisServer
from helpers.stores import dump
from hivemind_core.audit_log import AuditLog
from hivemind_core.clients import Client, tombstone
from hivemind_core.config import data_dir, default_path
from hivemind_core.storage import StorageError
from hivemind_core.storage.json import JSONStore, read_json
from hivemind_core.storage.redis import RedisStore, read_redis
from hivemind_core.storage.redis_settings import read_settings
from hivemind_core.storage.sqlite import SQLiteStore, read_sqlite

SQLITE, JSON = "hivemind-sqlite-db-plugin", "hivemind-json-db-plugin"
REDIS = "hivemind-redis-db-plugin"
ROWS = [
    Client(
        2,
        "key-2",
        "küche",
        "by the door",
        is_admin=True,
        last_seen=12.5,
        allowed_types=("speak", "x.y"),
        password="p",
        can_broadcast=False,
        can_escalate=False,
        can_propagate=False,
        metadata={"skill_blacklist": ["a.b"], "noise_pubkey": "00", "crypto_key": "c", "x": {"é": [1, None, 1.5]}},
    ),
    tombstone(4),
    Client(7, "key-7", "bedroom"),
]


@pytest.fixture
def folder() -> Path:
    folder = data_dir() / "hivemind-core"
    folder.mkdir(parents=True)
    return folder


def fill(path: Path, rows: Iterable[Client] = ROWS) -> Path:
    with closing((JSONStore if path.suffix == ".json" else SQLiteStore)(path)) as store:
        store.restore(rows)
    return path


def configure(document: dict[str, Any]) -> None:
    default_path().parent.mkdir(parents=True, exist_ok=True)
    default_path().write_text(json.dumps(document))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def copied(folder: Path) -> dict[str, str]:
    """The same without what is noted of a copy."""
    return {name: digest for name, digest in digests(folder).items() if name != "audit.log"}


def refused(folder: Path, *arguments: str, code: int = 1) -> str:
    """Return why nothing was copied; no file may have changed or be new."""
    before = digests(folder)
    ran = hub_command("migrate-db", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert digests(folder) == before
    return ran.error


# copying


@pytest.mark.parametrize(
    ("arguments", "source", "target", "modules"),
    [
        ((), "clients.json", "clients.db", (JSON, SQLITE)),
        (("--from", SQLITE, "--to", JSON), "clients.db", "clients.json", (SQLITE, JSON)),
        (("--from", "sqlite", "--to", "json"), "clients.db", "clients.json", (SQLITE, JSON)),
    ],
)
def test_every_row_arrives_and_the_source_stays_as_it_is(
    folder: Path, arguments: tuple[str, ...], source: str, target: str, modules: tuple[str, str]
) -> None:
    fill(folder / source)
    before = digests(folder)
    ran = hub_command("migrate-db", *arguments)
    assert (ran.code, ran.out) == (0, f"Migrated 3 client(s) from {modules[0]} to {modules[1]}.\n")
    read = read_json if target.endswith(".json") else read_sqlite
    assert read(folder / target) == ROWS
    assert digests(folder).items() >= before.items()
    made = {"clients.db"} if target == "clients.db" else {"clients.json", "clients.schema_version"}
    assert digests(folder).keys() == before.keys() | made | {"audit.log"}
    (noted,) = AuditLog(folder / "audit.log").entries()
    assert (noted["source"], noted["action"], noted["client_id"]) == ("command", "migrate-db", None)
    place = str(folder / target)
    assert noted["details"] == {"from": modules[0], "to": modules[1], "place": place, "clients": 3}
    assert (folder / target).stat().st_mode & 0o777 == 0o600


def test_there_and_back_again_nothing_is_lost(folder: Path) -> None:
    source = fill(folder / "clients.json")
    text = source.read_text("utf-8")
    said("migrate-db")
    source.unlink()
    assert hub_command("migrate-db", "--from", "sqlite", "--to", "json").code == 0
    assert json.loads(source.read_text("utf-8")) == json.loads(text)


def test_a_file_of_version_1_is_copied_as_it_would_be_upgraded_and_not_upgraded(folder: Path) -> None:
    row = {"client_id": 1, "api_key": "a", "skill_blacklist": ["s"], "intent_blacklist": [], "crypto_key": "c"}
    (folder / "clients.json").write_text(json.dumps({"1": row}))
    before = digests(folder)
    said("migrate-db")
    assert read_sqlite(folder / "clients.db") == [
        Client(1, "a", metadata={"skill_blacklist": ["s"], "crypto_key": "c"}),
    ]
    assert digests(folder).items() >= before.items()


def test_files_are_where_server_json_says_for_each(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "hub.sqlite"
    configure({"database": {"module": SQLITE, SQLITE: {"db_path": str(elsewhere)}, JSON: {"name": "old"}}})
    fill(folder / "old.json")
    assert said("migrate-db") == f"Migrated 3 client(s) from {JSON} to {SQLITE}."
    assert read_sqlite(elsewhere) == ROWS


def test_a_target_that_exists_and_has_no_clients_is_filled(folder: Path) -> None:
    """As a hub leaves it that was started once with the other kind of database."""
    fill(folder / "clients.json")
    fill(folder / "clients.db", [])
    with closing(SQLiteStore(folder / "clients.db")) as running:
        said("migrate-db")
        assert running.load() == ROWS


def test_a_database_without_clients_is_copied_too(folder: Path) -> None:
    fill(folder / "clients.json", [])
    assert said("migrate-db") == f"Migrated 0 client(s) from {JSON} to {SQLITE}."
    assert read_sqlite(folder / "clients.db") == []


# what the hub uses then


@pytest.mark.parametrize(
    ("document", "arguments", "used"),
    [
        ({}, (), None),
        ({}, ("--from", "sqlite", "--to", "json"), SQLITE),
        ({"database": {"module": JSON}}, (), JSON),
        ({"database": {"module": SQLITE}}, (), None),
    ],
)
def test_how_to_use_the_copy_is_told_where_the_hub_would_not(
    folder: Path, document: dict[str, Any], arguments: tuple[str, ...], used: str | None
) -> None:
    configure(document)
    fill(folder / ("clients.db" if arguments else "clients.json"))
    ran = hub_command("migrate-db", *arguments)
    target = JSON if arguments else SQLITE
    told = f'The hub still uses {used}. To use the copy, set `database.module` to "{target}" in {default_path()} '
    assert ran.err.startswith(told) if used else ran.err == ""


def test_the_hub_goes_on_with_the_copy(folder: Path) -> None:
    fill(folder / "clients.json")
    said("migrate-db")
    assert [row["access_key"] for row in json.loads(said("list-clients", "--json"))] == ["key-2", "key-7"]
    added = said("add-client", "--access-key", "next", "--password", "correct horse battery staple 42")
    assert "Node ID: 8" in added
    assert len(read_json(folder / "clients.json")) == 3


# refusals


def test_one_kind_is_not_copied_to_itself(folder: Path) -> None:
    fill(folder / "clients.json")
    told = refused(folder, "--from", "json", "--to", JSON)
    assert told == "--from and --to are the same backend; nothing to do."


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_an_unknown_kind_is_refused_with_those_that_are_known(folder: Path, option: str) -> None:
    told = refused(folder, option, "a-db-plugin", code=2)
    assert "'a-db-plugin' is no kind of client database" in told
    assert f"{JSON} (json), {SQLITE} (sqlite), {REDIS} (redis)" in told


def test_where_there_is_nothing_to_copy_nothing_is_made(folder: Path) -> None:
    assert refused(folder) == f"There is no client database {folder / 'clients.json'} to copy from."


@pytest.mark.parametrize("row", [Client(1, "theirs"), tombstone(1)])
def test_a_target_that_holds_clients_is_not_written_over(folder: Path, row: Client) -> None:
    fill(folder / "clients.json")
    target = fill(folder / "clients.db", [row])
    assert f"{target} holds 1 client(s) already" in refused(folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "line 1 is not valid JSON"),
        ('{"1": {"client_id": 1, "api_key": "a"}, "x": 5}', "the entry 'x' is no record of a client"),
        ('{"1": {"client_id": 1, "api_key": "a", "name": "\\udcff"}}', "surrogates not allowed"),
    ],
)
def test_what_cannot_be_copied_whole_is_not_copied_at_all(folder: Path, text: str, reason: str) -> None:
    (folder / "clients.json").write_text(text)
    assert reason in refused(folder)


@pytest.mark.parametrize("options", [{"password": "secret"}, {"name": 5}, "text"])
def test_options_that_cannot_be_met_are_an_error_of_the_configuration(folder: Path, options: Any) -> None:
    configure({"database": {"module": SQLITE, JSON: options}})
    refused(folder, code=2)


def test_a_copy_that_differs_is_thrown_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder / "clients.json")

    def wrong(store: SQLiteStore, clients: Iterable[Client]) -> None:
        for row in list(clients)[:-1]:
            store.insert(row)

    monkeypatch.setattr(SQLiteStore, "restore", wrong)
    assert "does not give back client" in refused(folder)


def test_a_failure_on_the_way_leaves_no_half_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder / "clients.json")

    def fail(store: SQLiteStore, clients: Iterable[Client]) -> None:
        store.insert(next(iter(clients)))
        raise StorageError("no space left")

    monkeypatch.setattr(SQLiteStore, "restore", fail)
    assert refused(folder) == "no space left"


def test_a_database_that_appears_meanwhile_is_not_written_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder / "clients.json")
    restore = SQLiteStore.restore

    def late(store: SQLiteStore, clients: Iterable[Client]) -> None:
        restore(store, clients)
        with closing(SQLiteStore(folder / "clients.db")) as other:
            other.insert(Client(0, "theirs", "kitchen"))

    monkeypatch.setattr(SQLiteStore, "restore", late)
    ran = hub_command("migrate-db")
    assert (ran.code, ran.out) == (1, "")
    assert "meanwhile; nothing was copied" in ran.error
    assert read_sqlite(folder / "clients.db") == [Client(1, "theirs", "kitchen")]


# Redis


@pytest.fixture
def redis_options(redis_server: RedisServer) -> dict[str, Any]:
    """How to reach a Redis with nothing in it; server.json names SQLite, and says of Redis where it is."""
    options = redis_server.options(index_prefix="hive")
    configure({"database": {"module": SQLITE, REDIS: options}})
    return options


def fill_redis(options: dict[str, Any], rows: Iterable[Client] = ROWS) -> None:
    with closing(RedisStore(read_settings(options))) as store:
        store.restore(rows)


@pytest.mark.parametrize("file", ["clients.db", "clients.json"])
def test_rows_are_copied_into_redis_and_back(
    folder: Path, redis_options: dict[str, Any], redis_server: RedisServer, file: str
) -> None:
    kind = "sqlite" if file.endswith(".db") else "json"
    source = fill(folder / file)
    before = digests(folder)
    ran = hub_command("migrate-db", "--from", kind, "--to", "redis")
    assert ran.out == f"Migrated 3 client(s) from {SQLITE if kind == 'sqlite' else JSON} to {REDIS}.\n"
    assert 'set `database.module` to "hivemind-redis-db-plugin"' in ran.err
    assert read_redis(read_settings(redis_options)) == ROWS
    assert copied(folder) == before

    source.rename(folder / "away")
    stored = dump(redis_server.client())
    assert hub_command("migrate-db", "--from", "redis", "--to", kind).code == 0
    assert (read_sqlite if kind == "sqlite" else read_json)(source) == ROWS
    assert dump(redis_server.client()) == stored


def test_the_hub_goes_on_with_the_copy_in_redis(folder: Path, redis_options: dict[str, Any]) -> None:
    fill(folder / "clients.db")
    said_of_it = hub_command("migrate-db", "--from", "sqlite", "--to", "redis")
    assert said_of_it.code == 0
    configure({"database": {"module": REDIS, REDIS: redis_options}})
    assert [row["access_key"] for row in json.loads(said("list-clients", "--json"))] == ["key-2", "key-7"]
    assert "Node ID: 8" in said("add-client", "--access-key", "next", "--password", "correct horse battery staple 42")


@pytest.mark.parametrize("row", [Client(1, "theirs"), tombstone(1)])
def test_a_redis_that_holds_clients_is_not_written_over(
    folder: Path, redis_options: dict[str, Any], redis_server: RedisServer, row: Client
) -> None:
    fill(folder / "clients.json")
    fill_redis(redis_options, [row])
    before = dump(redis_server.client())
    told = refused(folder, "--to", "redis")
    where = f"127.0.0.1:{redis_server.port}, keys hive:*"
    assert f"{where} holds 1 client(s) already" in told
    assert "Name another `index_prefix`" in told
    assert dump(redis_server.client()) == before


def test_clients_under_other_keys_are_not_in_the_way(folder: Path, redis_options: dict[str, Any]) -> None:
    fill(folder / "clients.json")
    fill_redis({**redis_options, "index_prefix": "hive:client"})
    fill_redis({**redis_options, "index_prefix": "other"})
    assert hub_command("migrate-db", "--to", "redis").code == 0
    assert read_redis(read_settings(redis_options)) == ROWS


def test_a_redis_where_nothing_is_has_nothing_to_copy(
    folder: Path, redis_options: dict[str, Any], redis_server: RedisServer
) -> None:
    told = refused(folder, "--from", "redis")
    assert told == (f"There is no client database in Redis at 127.0.0.1:{redis_server.port}, keys hive:* to copy from.")
    assert dump(redis_server.client()) == {}


def test_what_stands_in_redis_and_is_no_record_is_not_passed_over_in_a_copy(
    folder: Path, redis_options: dict[str, Any], redis_server: RedisServer
) -> None:
    fill_redis(redis_options)
    redis_server.call("SET", "hive:client:5", "garbage")
    assert "hive:client:5 is no record of a client" in refused(folder, "--from", "redis")


def test_a_redis_that_is_not_there_is_told(folder: Path, redis_options: dict[str, Any]) -> None:
    fill(folder / "clients.json")
    configure({"database": {REDIS: {**redis_options, "port": free_port()}}})
    assert "See whether Redis runs there" in refused(folder, "--to", "redis")


# on a terminal


def test_a_terminal_shows_how_far_it_is_and_stdout_only_the_result(folder: Path) -> None:
    fill(folder / "clients.json")
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "hivemind_core.scripts", "migrate-db"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=60, check=False)
    shown = os.read(ours, 10_000).decode()
    os.close(theirs)
    os.close(ours)
    assert (done.returncode, done.stdout) == (0, f"Migrated 3 client(s) from {JSON} to {SQLITE}.\n")
    assert "Copying clients" in shown
    assert "100%" in shown
