"""Where client databases are, and what is said of a place that cannot be used."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from helpers.redis_server import RedisServer
from helpers.stores import dump
from hivemind_core.clients import Client, tombstone
from hivemind_core.config import ConfigError, data_dir
from hivemind_core.database_places import FILES, JSON_MODULE, KINDS, FilePlace, RedisPlace, place_of
from hivemind_core.storage import StorageError
from hivemind_core.storage.redis_settings import REDIS_MODULE, RedisSettings

SQLITE = "hivemind-sqlite-db-plugin"
ROWS = [Client(2, "a", "kitchen"), tombstone(4)]


def test_these_kinds_are_known() -> None:
    assert KINDS == (SQLITE, JSON_MODULE, REDIS_MODULE)


@pytest.mark.parametrize(("module", "name"), [(SQLITE, "clients.db"), (JSON_MODULE, "clients.json")])
def test_a_file_is_where_the_released_hub_has_it(module: str, name: str) -> None:
    place = place_of(module, {})
    assert str(place) == str(data_dir() / "hivemind-core" / name)
    assert not place.is_there()


def test_a_password_is_of_redis_alone() -> None:
    for module in FILES:
        with pytest.raises(ConfigError, match="encrypted"):
            place_of(module, {"password": "secret"})
    place = place_of(REDIS_MODULE, {"password": "secret", "db": 2})
    assert isinstance(place, RedisPlace)
    assert place.settings.password == "secret"
    assert str(place) == "in Redis at 127.0.0.1:6379, database 2, keys client:*"
    assert "secret" not in repr(place)


@pytest.mark.parametrize("module", KINDS)
def test_what_is_made_is_there_and_read(module: str, redis_server: RedisServer) -> None:
    place = place_of(module, redis_server.options() if module == REDIS_MODULE else {})
    assert not place.is_there()
    with place.made() as made, closing(made.open()) as store:
        store.restore(ROWS)
    assert place.is_there()
    assert place.read() == ROWS
    with closing(place.open()) as store:
        assert store.load() == ROWS


@pytest.mark.parametrize("module", KINDS)
def test_where_making_it_fails_nothing_is_made(module: str, redis_server: RedisServer, own_home: Path) -> None:
    place = place_of(module, redis_server.options() if module == REDIS_MODULE else {})
    with pytest.raises(StorageError), place.made() as made, closing(made.open()) as store:
        store.restore([*ROWS, *ROWS])
    assert not place.is_there()
    assert [path for path in own_home.rglob("*") if path.is_file()] == []
    assert dump(redis_server.client()) == {}


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    place = FilePlace(tmp_path / "clients.db", FILES[SQLITE])

    def make() -> None:
        with place.made() as made:
            made.open().close()
            place.path.write_text("somebody's")

    with pytest.raises(StorageError, match="meanwhile"):
        make()
    assert place.path.read_text() == "somebody's"


def test_a_redis_that_is_not_there_is_no_empty_database() -> None:
    with pytest.raises(StorageError, match="Connection refused"):
        RedisPlace(RedisSettings(port=1)).is_there()


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_redis_for_python_the_line_that_installs_it_is_told() -> None:
    said = run(
        "import sys; sys.modules['redis'] = None\n"
        "from hivemind_core.config import ConfigError\n"
        "from hivemind_core.database_places import REDIS_MODULE, place_of\n"
        "place = place_of(REDIS_MODULE, {})\n"
        "for call in (place.open, place.read, place.is_there):\n"
        "    try: call()\n"
        "    except ConfigError as error: print(error)\n"
    )
    assert said.splitlines() == 3 * [
        "server.json: `database.module` hivemind-redis-db-plugin needs the Redis client for Python."
        " Run: pip install 'hivemind-mesh[hub,redis]'"
    ]


def test_a_hub_with_a_file_does_not_load_it() -> None:
    said = run(
        "import sys\n"
        "from hivemind_core.config import load_config\n"
        "from hivemind_core.database import open_database\n"
        "open_database(load_config()).close()\n"
        "print('redis' in sys.modules)\n"
    )
    assert said == "False\n"


@pytest.mark.parametrize("path", ["~nobody at all/clients.db", "a\0b"])
@pytest.mark.parametrize("module", FILES)
def test_a_path_that_there_cannot_be_is_refused(module: str, path: str) -> None:
    with pytest.raises(ConfigError, match="`db_path` of the client database is no path"):
        place_of(module, {"db_path": path})
