"""What every store does. A new kind of store joins by a line in `STORES` of helpers/stores.py."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from helpers.redis_server import RedisServer
from helpers.stores import STORES, Options, StoreKind
from hivemind_core.clients import REVOKED, Client, tombstone
from hivemind_core.database import ClientDatabase
from hivemind_core.storage import DuplicateKey, StorageError, Store

PROCESSES = 8
EACH = 5
JOIN_S = 60

KITCHEN = Client(
    0,
    "key",
    "kitchen",
    "by the door",
    is_admin=True,
    last_seen=12.5,
    allowed_types=("speak", "ünicode"),
    password="päss",
    can_escalate=False,
    metadata={"role": "guest", 'odd "$.[0]" key': [1, {"x": None}], "é": 1.5},
)


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def options(kind: str, request: pytest.FixtureRequest) -> Options:
    """How to reach the Redis of a test; nothing for the kinds that are files."""
    if kind != "redis":
        return {}
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.options()


@pytest.fixture
def stores(kind: str) -> StoreKind:
    return STORES[kind]


@pytest.fixture
def opened(stores: StoreKind, tmp_path: Path, options: Options) -> Iterator[Callable[[], Store]]:
    """Open the same store once more, as another process would."""
    running: list[Store] = []

    def another() -> Store:
        running.append(stores.open(tmp_path, options))
        return running[-1]

    yield another
    for store in running:
        store.close()


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    return opened()


def setting(**columns: Any) -> Callable[[Client], Mapping[str, Any]]:
    return lambda row: columns


# rows


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.load() == []


def test_a_row_comes_back_as_it_was_put(store: Store, opened: Callable[[], Store]) -> None:
    stored = store.insert(KITCHEN)
    assert stored == Client(**{**vars(KITCHEN), "client_id": 1})
    assert store.load() == opened().load() == [stored]


def test_ids_count_on_and_name_the_nameless(store: Store) -> None:
    rows = [store.insert(Client(99, key)) for key in ("a", "b", "c")]
    assert [(row.client_id, row.name) for row in rows] == [
        (1, "HiveMind-Node-0"),
        (2, "HiveMind-Node-1"),
        (3, "HiveMind-Node-2"),
    ]


def test_an_access_key_belongs_to_one_client(store: Store) -> None:
    first = store.insert(KITCHEN)
    with pytest.raises(DuplicateKey) as raised:
        store.insert(Client(0, "key", "thief"))
    assert raised.value.other == first
    assert str(raised.value) == "A client already exists for access key 'key' (Node ID: 1, Friendly Name: kitchen)."
    assert store.load() == [first]


# columns


def test_only_the_named_columns_change(store: Store, opened: Callable[[], Store]) -> None:
    before = store.insert(KITCHEN)
    opened().edit(1, setting(password="theirs"))
    after = store.edit(1, setting(name="bedroom", allowed_types=("x",)))
    assert after == Client(**{**vars(before), "name": "bedroom", "allowed_types": ("x",), "password": "theirs"})
    assert store.load() == [after]


def test_a_change_sees_the_row_as_it_is_stored_now(store: Store, opened: Callable[[], Store]) -> None:
    store.insert(Client(0, "key", allowed_types=("a",)))
    opened().edit(1, setting(allowed_types=("a", "b")))
    after = store.edit(1, lambda row: {"allowed_types": (*row.allowed_types, "c")})
    assert after is not None
    assert after.allowed_types == ("a", "b", "c")


def test_a_change_of_nothing_writes_nothing(store: Store, opened: Callable[[], Store]) -> None:
    row = store.insert(KITCHEN)
    other = opened()
    stamp = other.version()
    assert store.edit(1, lambda row: {}) == row
    assert other.version() == stamp


def test_there_is_nothing_to_change_in_a_row_that_is_not_there(store: Store) -> None:
    assert store.edit(5, setting(name="x")) is None
    assert store.load() == []


def test_an_unknown_column_is_refused_before_anything_is_written(store: Store) -> None:
    row = store.insert(KITCHEN)
    with pytest.raises(ValueError, match="no column colour"):
        store.edit(1, setting(name="x", colour="red"))
    assert store.load() == [row]


def test_a_change_that_raises_changes_nothing_and_unlocks(store: Store) -> None:
    row = store.insert(KITCHEN)
    with pytest.raises(ZeroDivisionError):
        store.edit(1, lambda row: {"name": 1 / 0})
    assert store.load() == [row]
    assert store.edit(1, setting(name="x")) is not None


def test_seen_clients_are_written_in_one_step_and_the_gone_passed_over(store: Store) -> None:
    for key in ("a", "b", "c"):
        store.insert(Client(0, key))
    store.delete(2)
    store.touch({1: 99.5, 2: 5.0, 3: 7.0, 9: 5.0})
    assert [row.last_seen for row in store.load()] == [99.5, -1, 7.0]


# tombstones


def test_a_deleted_row_keeps_its_id_alone(store: Store) -> None:
    store.insert(KITCHEN)
    assert store.delete(1)
    assert store.load() == [tombstone(1)]


def test_deleting_twice_or_nobody_says_so(store: Store) -> None:
    store.insert(KITCHEN)
    store.delete(1)
    assert not store.delete(1)
    assert not store.delete(9)


def test_the_id_of_a_deleted_client_is_not_used_again_but_its_key_may_be(store: Store) -> None:
    store.insert(KITCHEN)
    store.delete(1)
    assert store.insert(KITCHEN).client_id == 2


def test_a_deleted_client_stays_deleted(store: Store, opened: Callable[[], Store]) -> None:
    """A released hub that wrote a row it had read before brought the deleted client back, keys and all."""
    store.insert(KITCHEN)
    opened().delete(1)
    assert store.edit(1, setting(password="back", api_key="key")) is None
    assert store.load() == [tombstone(1)]


# a whole store at once

OLD_ROWS = [
    Client(2, "b", "kitchen", password="p", allowed_types=("x",), metadata={"x": float("nan"), "y": [1]}),
    tombstone(5),
    Client(9, "b", "same key", is_admin=True, last_seen=3.5, can_escalate=False),
]


def test_rows_are_restored_under_their_own_ids(store: Store, opened: Callable[[], Store]) -> None:
    store.restore(iter(OLD_ROWS))
    stored = opened().load()
    assert [row.client_id for row in stored] == [2, 5, 9]
    assert stored[1:] == OLD_ROWS[1:]
    assert (stored[0].allowed_types, stored[0].metadata["y"]) == (("x",), [1])
    assert store.insert(KITCHEN).client_id == 10


def test_only_an_empty_store_is_restored(store: Store) -> None:
    store.insert(KITCHEN)
    store.delete(1)
    with pytest.raises(StorageError, match="not empty"):
        store.restore(OLD_ROWS)
    assert store.load() == [tombstone(1)]


@pytest.mark.parametrize(
    "wrong",
    [Client(9, "twice"), Client(10, "k", "\udcff"), Client(10, "k", last_seen=cast(float, "never"))],
    ids=["same id", "no text", "not as it was"],
)
def test_where_one_row_cannot_be_restored_none_is(store: Store, wrong: Client) -> None:
    with pytest.raises(StorageError, match="client database"):
        store.restore([*OLD_ROWS, wrong])
    assert store.load() == []


def test_of_a_deleted_client_nothing_is_restored_but_its_id(store: Store) -> None:
    """The released hub leaves things in the records of clients that it deletes."""
    store.restore([Client(3, REVOKED, is_admin=True, metadata={"crypto_key": "c"})])
    assert [(row.client_id, row.is_revoked) for row in store.load()] == [(3, True)]


def test_reading_alone_touches_nothing(store: Store, stores: StoreKind, tmp_path: Path, options: Options) -> None:
    store.insert(KITCHEN)
    store.insert(Client(0, "b"))
    store.delete(2)
    rows = store.load()
    for closed in (False, True):
        if closed:
            store.close()
        before = stores.contents(tmp_path, options)
        assert stores.read(tmp_path, options) == rows
        assert stores.contents(tmp_path, options) == before


def test_reading_alone_what_is_not_there_makes_nothing(stores: StoreKind, tmp_path: Path, options: Options) -> None:
    with pytest.raises(StorageError, match="client database"):
        stores.read(tmp_path, options)
    assert stores.contents(tmp_path, options) == {}


# others


def test_the_version_moves_when_others_write(store: Store, opened: Callable[[], Store]) -> None:
    other = opened()
    stamps = [store.version()]
    for write in (
        lambda: other.insert(KITCHEN),
        lambda: other.edit(1, setting(name="x")),
        lambda: other.touch({1: 5}),
        lambda: other.delete(1),
    ):
        write()
        stamps.append(store.version())
    assert len(set(stamps)) == len(stamps)
    assert store.version() == stamps[-1]


def test_own_writes_do_not_move_the_version_unless_others_wrote_too(store: Store, opened: Callable[[], Store]) -> None:
    other = opened()
    stamp = store.version()
    store.insert(KITCHEN)
    store.touch({1: 5})
    assert store.version() == stamp
    other.edit(1, setting(name="x"))
    store.edit(1, setting(description="y"))
    assert store.version() != stamp


def test_a_failure_never_looks_like_an_absent_client(store: Store) -> None:
    store.insert(KITCHEN)
    store.close()
    for call in (
        store.load,
        store.version,
        lambda: store.insert(Client(0, "b")),
        lambda: store.edit(1, setting(name="x")),
        lambda: store.touch({1: 5}),
        lambda: store.delete(1),
        lambda: store.restore([]),
    ):
        with pytest.raises(StorageError, match="client database"):
            call()


def add_some(kind: str, folder: Path, options: Options, start: Any, name: str) -> None:
    start.wait(JOIN_S)
    store = STORES[kind].open(folder, options)
    for number in range(EACH):
        added = store.insert(Client(0, f"{name}-{number}", password=name))
        store.edit(added.client_id, setting(metadata={"by": name}))
        store.edit(1, lambda row: {"allowed_types": (*row.allowed_types, row.name)})
    store.close()


def test_processes_that_add_at_once_get_ids_of_their_own_and_lose_nothing(
    kind: str, tmp_path: Path, options: Options
) -> None:
    """The released hub numbered rows by counting them: of six added at once, one survived."""
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(PROCESSES)
    names = [f"p{number}" for number in range(PROCESSES)]
    workers = [spawn.Process(target=add_some, args=(kind, tmp_path, options, start, name)) for name in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(JOIN_S)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    store = STORES[kind].open(tmp_path, options)
    rows = store.load()
    store.close()
    assert [row.client_id for row in rows] == list(range(1, PROCESSES * EACH + 1))
    assert {row.api_key for row in rows} == {f"p{p}-{n}" for p in range(PROCESSES) for n in range(EACH)}
    assert all(row.metadata["by"] == row.password for row in rows)
    assert len(rows[0].allowed_types) == PROCESSES * EACH


# the database over any store


def test_the_database_over_it_never_shows_tombstones(store: Store) -> None:
    store.insert(KITCHEN)
    store.delete(1)
    db = ClientDatabase(store)
    assert (db.by_key(REVOKED), db.by_id(1), db.all(), len(db)) == (None, None, [], 0)


def test_the_database_over_it_takes_in_and_names_what_others_wrote(store: Store, opened: Callable[[], Store]) -> None:
    ours, theirs = ClientDatabase(store), ClientDatabase(opened())
    for key in ("a", "b"):
        ours.add(Client(0, key))
    assert ours.refresh() == set()
    theirs.refresh()
    theirs.delete(1)
    theirs.patch_metadata(2, {"role": "guest"})
    ours.patch_metadata(2, {"noise_psk": "00"})
    assert ours.refresh() == {1, 2}
    assert ours.by_key("a") is None
    row = ours.by_key("b")
    assert row is not None
    assert row.metadata == {"role": "guest", "noise_psk": "00"}
