"""Deposits in SQLite: kept, counted, expired; and files that cannot be used."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hivemind_bus_client.message import HiveMessage, HiveMessageType
from hivemind_core import mailbox_store
from hivemind_core.mailbox import MAX_COLLECTED_BYTES, MAX_PAYLOAD_BYTES, Deposit, Limits, Refused, Released
from hivemind_core.mailbox_store import MailboxStore
from hivemind_core.storage import StorageError

NOW = 1_790_000_000.0
WEEK_S = 604_800.0


def sealed(size: int = 0) -> str:
    return HiveMessage(HiveMessageType.INTERCOM, {"ciphertext": "x" * size}).serialize()


LETTER = sealed()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "mailbox.db"


@pytest.fixture
def store(path: Path) -> Iterator[MailboxStore]:
    with closing(MailboxStore(path)) as opened:
        yield opened


def leave(store: MailboxStore, box: str, sender: str = "alice", now: float = NOW, **deposit: object) -> str:
    """Deposit something, and return its id or why it was not taken."""
    fields = {"payload": LETTER, **deposit}
    done = store.deposit(sender, Deposit(box, **fields), Limits(), now)  # type: ignore[arg-type]
    return done.reason if isinstance(done, Refused) else done


def waiting(store: MailboxStore, box: str, now: float = NOW) -> list[str]:
    return [message.deposit_id for message in store.collect(box, now)]


# --- keeping ----------------------------------------------------------------------------------------------------


def test_a_message_waits_until_it_is_acknowledged(store: MailboxStore) -> None:
    first, second = leave(store, "bob"), leave(store, "bob", payload=sealed(5))
    assert store.collect("bob", NOW) == [(first, LETTER), (second, sealed(5))]
    assert waiting(store, "bob") == [first, second]
    assert store.ack("bob", frozenset({first}), NOW) == 1
    assert waiting(store, "bob") == [second]
    assert store.ack("bob", frozenset({first}), NOW) == 0


def test_nobody_reads_or_removes_what_is_anothers(store: MailboxStore) -> None:
    deposit_id = leave(store, "bob")
    assert waiting(store, "eve") == waiting(store, "alice") == []
    assert store.ack("eve", frozenset({deposit_id}), NOW) == 0
    assert store.ack("alice", frozenset({deposit_id}), NOW) == 0
    assert waiting(store, "bob") == [deposit_id]


def test_it_outlives_the_process(path: Path, store: MailboxStore) -> None:
    deposit_id = leave(store, "bob")
    with closing(MailboxStore(path)) as again:  # as after a power cut: the first was never closed
        assert waiting(again, "bob") == [deposit_id]


def test_it_expires(store: MailboxStore) -> None:
    short, long = leave(store, "bob", ttl_s=10.0), leave(store, "bob", ttl_s=20.0)
    assert waiting(store, "bob", NOW + 9.9) == [short, long]
    assert waiting(store, "bob", NOW + 10) == [long]
    assert store.ack("bob", frozenset({short}), NOW + 10) == 0
    assert waiting(store, "bob", NOW + 20) == []


def test_what_has_expired_takes_no_room(store: MailboxStore, path: Path) -> None:
    one_each = Limits(per_box=1, per_sender=1, boxes=1)
    for start in (0.0, 10.0, 20.0):
        done = store.deposit("alice", Deposit(f"box {start}", LETTER, 10.0), one_each, NOW + start)
        assert isinstance(done, str)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM deposits").fetchone() == (1,)
        assert db.execute("SELECT box, pending, bytes FROM boxes").fetchall() == [("box 20.0", 1, len(LETTER))]


def test_one_reply_holds_so_much_and_the_rest_comes_after_the_acknowledgement(store: MailboxStore) -> None:
    size = MAX_PAYLOAD_BYTES - 100
    ids = [leave(store, "bob", payload=sealed(size - len(LETTER))) for _ in range(6)]
    fit = MAX_COLLECTED_BYTES // size
    assert 1 < fit < 6
    assert waiting(store, "bob") == ids[:fit]
    assert store.ack("bob", frozenset(ids[:fit]), NOW) == fit
    assert waiting(store, "bob") == ids[fit:]


def test_one_message_always_fits(store: MailboxStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind_core.mailbox.MAX_COLLECTED_BYTES", 5)
    first, _ = leave(store, "bob"), leave(store, "bob")
    assert waiting(store, "bob") == [first]


@pytest.mark.parametrize(
    ("limits", "reason"), [(Limits(per_box=2), "mailbox_full"), (Limits(per_sender=2), "too_many_deposits")]
)
def test_limits(store: MailboxStore, limits: Limits, reason: str) -> None:
    for _ in range(2):
        assert isinstance(store.deposit("alice", Deposit("bob", LETTER), limits, NOW), str)
    assert store.deposit("alice", Deposit("bob", LETTER), limits, NOW) == Refused(reason)
    kept = waiting(store, "bob")
    assert len(kept) == 2
    store.ack("bob", frozenset(kept), NOW)
    assert isinstance(store.deposit("alice", Deposit("bob", LETTER), limits, NOW), str)


def test_boxes_and_bytes_are_counted_for_all_together(store: MailboxStore) -> None:
    two_boxes = Limits(boxes=2)
    assert isinstance(store.deposit("a", Deposit("one", LETTER), two_boxes, NOW), str)
    assert isinstance(store.deposit("b", Deposit("two", LETTER), two_boxes, NOW), str)
    assert store.deposit("c", Deposit("three", LETTER), two_boxes, NOW) == Refused("too_many_mailboxes")
    assert isinstance(store.deposit("c", Deposit("two", LETTER), two_boxes, NOW), str)
    tight = Limits(total_bytes=3 * len(LETTER))
    assert store.deposit("d", Deposit("two", LETTER), tight, NOW) == Refused("mailbox_full")


# --- the file ---------------------------------------------------------------------------------------------------


def test_the_file_is_its_owners_alone(path: Path, store: MailboxStore) -> None:
    leave(store, "bob")
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_others_could_read_is_made_private(path: Path, store: MailboxStore) -> None:
    store.close()
    path.chmod(0o644)
    MailboxStore(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_goes_gives_its_room_back(path: Path, store: MailboxStore) -> None:
    ids = [leave(store, "bob", payload=sealed(100_000)) for _ in range(40)]
    store.ack("bob", frozenset(ids), NOW)
    store.close()
    assert path.stat().st_size < 200_000


@pytest.mark.parametrize("content", [b"not a database at all, " * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_none_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"Could not open the mailbox .*mailbox\.db"):
        MailboxStore(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE clients (x)")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="the database of another program"):
        MailboxStore(path)
    assert path.read_bytes() == before


def test_a_later_schema_is_refused(path: Path, store: MailboxStore) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(StorageError, match=r"schema version 2; this hub knows up to 1\. Update"):
        MailboxStore(path)


def test_a_locked_file_is_told_and_nothing_is_lost(
    path: Path, store: MailboxStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    deposit_id = leave(store, "bob")
    store.close()
    monkeypatch.setattr(mailbox_store, "BUSY_TIMEOUT_S", 0.05)
    with closing(MailboxStore(path)) as impatient, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for write in (lambda: leave(impatient, "bob"), lambda: impatient.ack("bob", frozenset({deposit_id}), NOW)):
            with pytest.raises(StorageError, match=r"Could not write the mailbox .*: database is locked"):
                write()
        assert waiting(impatient, "bob") == [deposit_id]
        other.execute("ROLLBACK")
        assert waiting(impatient, "bob") == [deposit_id]
        assert leave(impatient, "bob")


def test_a_full_disk_is_told_and_what_waits_can_be_read(path: Path, store: MailboxStore) -> None:
    first = leave(store, "bob")
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")  # what SQLite says then is what it says of a full disk
    with pytest.raises(StorageError, match=r"Could not write the mailbox .*: database or disk is full"):
        leave(store, "bob", payload=sealed(100_000))
    assert waiting(store, "bob") == [first]
    store._db.execute("PRAGMA max_page_count = 1000000")
    second = leave(store, "bob", payload=sealed(100_000))
    assert waiting(store, "bob") == [first, second]


def test_damage_inside_is_told(path: Path, store: MailboxStore) -> None:
    for _ in range(50):
        leave(store, "bob", payload=sealed(3000))
    store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    damaged = path.read_bytes()
    with pytest.raises(StorageError, match=r"mailbox\.db: database disk image is malformed"):
        waiting(MailboxStore(path), "bob")
    assert path.read_bytes() == damaged


def test_a_file_that_is_replaced_or_deleted_meanwhile_is_followed(path: Path, store: MailboxStore) -> None:
    leave(store, "bob")
    for file in path.parent.iterdir():
        file.unlink()
    assert waiting(store, "bob") == []
    kept = leave(store, "bob")
    with closing(MailboxStore(path)) as again:
        assert waiting(again, "bob") == [kept]
    other = path.with_name("other.db")
    with closing(MailboxStore(other)) as filled:
        restored = leave(filled, "bob")
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.replace(other, path)
    assert waiting(store, "bob") == [restored]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Could not open the mailbox"):
        MailboxStore(tmp_path / "file" / "mailbox.db")


# --- what a released hub kept -----------------------------------------------------------------------------------


def test_what_a_released_hub_kept_is_taken_over_beyond_every_limit(store: MailboxStore) -> None:
    messages = [Released("bob", f"id {n}", LETTER, NOW + n) for n in range(300)]
    assert not store.has_imported("file")
    store.take_over("file", messages)
    assert store.has_imported("file")
    assert waiting(store, "bob", NOW - 1) == [f"id {n}" for n in range(300)]
    assert waiting(store, "bob", NOW + 297.5) == ["id 298", "id 299"]
    assert leave(store, "bob", now=NOW) == "mailbox_full"
    assert store.ack("bob", frozenset({"id 299"}), NOW) == 1


def test_a_file_is_taken_over_whole_or_not_at_all(store: MailboxStore) -> None:
    first, second = Released("bob", "first", LETTER, NOW + 5), Released("bob", "second", "\ud800", NOW + 5)
    with pytest.raises(StorageError):
        store.take_over("file", [first, second])
    assert not store.has_imported("file")
    assert waiting(store, "bob") == []


# --- any order of requests --------------------------------------------------------------------------------------

NAMES = st.sampled_from(["alice", "bob", "carol"])
SMALL = Limits(per_box=3, per_sender=4, total_bytes=MAX_PAYLOAD_BYTES * 16, boxes=2)


class AnyOrder(RuleBasedStateMachine):
    """A mailbox beside a list: what was taken is read, in order, until it is acknowledged or expires."""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "mailbox.db"
        self.store = MailboxStore(self.path)
        self.now = NOW
        self.kept: list[tuple[str, str, str, float]] = []
        """Id, box, sender, end."""

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    @rule(sender=NAMES, box=NAMES, ttl_s=st.sampled_from([1.0, 5.0, WEEK_S]))
    def leave(self, sender: str, box: str, ttl_s: float) -> None:
        boxes = {kept_in for _, kept_in, _, _ in self.kept}
        expected = None
        if sum(one[2] == sender for one in self.kept) >= SMALL.per_sender:
            expected = "too_many_deposits"
        elif sum(one[1] == box for one in self.kept) >= SMALL.per_box:
            expected = "mailbox_full"
        elif box not in boxes and len(boxes) >= SMALL.boxes:
            expected = "too_many_mailboxes"
        done = self.store.deposit(sender, Deposit(box, LETTER, ttl_s), SMALL, self.now)
        assert (done.reason if isinstance(done, Refused) else None) == expected
        if isinstance(done, str):
            self.kept.append((done, box, sender, self.now + ttl_s))

    @rule(box=NAMES)
    def collect(self, box: str) -> None:
        assert waiting(self.store, box, self.now) == [one[0] for one in self.kept if one[1] == box]

    @precondition(lambda self: self.kept)
    @rule(data=st.data(), caller=NAMES)
    def acknowledge(self, data: st.DataObject, caller: str) -> None:
        chosen = data.draw(st.sets(st.sampled_from([one[0] for one in self.kept])))
        own = {one[0] for one in self.kept if one[1] == caller} & chosen
        assert self.store.ack(caller, frozenset({*chosen, "unknown"}), self.now) == len(own)
        self.kept = [one for one in self.kept if one[0] not in own]

    @rule(seconds=st.sampled_from([1.0, 4.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.kept = [one for one in self.kept if one[3] > self.now]

    @rule(cleanly=st.booleans())
    def the_hub_restarts(self, cleanly: bool) -> None:
        before = self.store
        if cleanly:
            before.close()
        self.store = MailboxStore(self.path)
        if not cleanly:
            before.close()

    @invariant()
    def the_totals_are_those_of_the_rows(self) -> None:
        if not hasattr(self, "store"):
            return
        with closing(sqlite3.connect(self.path)) as db:
            counted = db.execute("SELECT box, count(*), sum(size) FROM deposits GROUP BY box ORDER BY box").fetchall()
            assert db.execute("SELECT * FROM boxes ORDER BY box").fetchall() == counted


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
