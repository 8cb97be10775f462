"""What every store of a mailbox must do: keep, count, and let expire, in the order in which it came."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from helpers.mailbox_stores import KINDS, LETTER, NOW, MailboxPlace, leave, place, sealed, waiting
from hivemind_core.mailbox import MAX_COLLECTED_BYTES, MAX_PAYLOAD_BYTES, Deposit, Limits, Refused, Released
from hivemind_core.mailbox_service import DepositStore
from hivemind_core.storage import StorageError

WEEK_S = 604_800.0


@pytest.fixture(params=KINDS)
def kept_in(request: pytest.FixtureRequest, tmp_path: Path) -> MailboxPlace:
    return place(request.param, tmp_path, request)


@pytest.fixture
def store(kept_in: MailboxPlace) -> Iterator[DepositStore]:
    with closing(kept_in.open()) as opened:
        yield opened


# --- keeping ----------------------------------------------------------------------------------------------------


def test_a_message_waits_until_it_is_acknowledged(store: DepositStore) -> None:
    first, second = leave(store, "bob"), leave(store, "bob", payload=sealed(5))
    assert store.collect("bob", NOW) == [(first, LETTER), (second, sealed(5))]
    assert waiting(store, "bob") == [first, second]
    assert store.ack("bob", frozenset({first}), NOW) == 1
    assert waiting(store, "bob") == [second]
    assert store.ack("bob", frozenset({first}), NOW) == 0


def test_nobody_reads_or_removes_what_is_anothers(store: DepositStore) -> None:
    deposit_id = leave(store, "bob")
    assert waiting(store, "eve") == waiting(store, "alice") == []
    assert store.ack("eve", frozenset({deposit_id}), NOW) == 0
    assert store.ack("alice", frozenset({deposit_id}), NOW) == 0
    assert waiting(store, "bob") == [deposit_id]


def test_it_outlives_the_process(kept_in: MailboxPlace, store: DepositStore) -> None:
    deposit_id = leave(store, "bob")
    with closing(kept_in.open()) as again:  # as after a power cut: the first was never closed
        assert waiting(again, "bob") == [deposit_id]


def test_it_expires(store: DepositStore) -> None:
    short, long = leave(store, "bob", ttl_s=10.0), leave(store, "bob", ttl_s=20.0)
    assert waiting(store, "bob", NOW + 9.9) == [short, long]
    assert waiting(store, "bob", NOW + 10) == [long]
    assert store.ack("bob", frozenset({short}), NOW + 10) == 0
    assert waiting(store, "bob", NOW + 20) == []


def test_what_has_expired_takes_no_room(kept_in: MailboxPlace, store: DepositStore) -> None:
    one_each = Limits(per_box=1, per_sender=1, boxes=1)
    for start in (0.0, 10.0, 20.0):
        done = store.deposit("alice", Deposit(f"box {start}", LETTER, 10.0), one_each, NOW + start)
        assert isinstance(done, str)
    noted, counted = kept_in.totals()
    assert noted == counted
    assert store.collect("box 20.0", NOW + 20) == [(done, LETTER)]
    assert noted[""] == (1, len(LETTER))


def test_one_reply_holds_so_much_and_the_rest_comes_after_the_acknowledgement(store: DepositStore) -> None:
    size = MAX_PAYLOAD_BYTES - 100
    ids = [leave(store, "bob", payload=sealed(size - len(LETTER))) for _ in range(6)]
    fit = MAX_COLLECTED_BYTES // size
    assert 1 < fit < 6
    assert waiting(store, "bob") == ids[:fit]
    assert store.ack("bob", frozenset(ids[:fit]), NOW) == fit
    assert waiting(store, "bob") == ids[fit:]


def test_one_message_always_fits(store: DepositStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind_core.mailbox.MAX_COLLECTED_BYTES", 5)
    first, _ = leave(store, "bob"), leave(store, "bob")
    assert waiting(store, "bob") == [first]


@pytest.mark.parametrize(
    ("limits", "reason"), [(Limits(per_box=2), "mailbox_full"), (Limits(per_sender=2), "too_many_deposits")]
)
def test_limits(store: DepositStore, limits: Limits, reason: str) -> None:
    for _ in range(2):
        assert isinstance(store.deposit("alice", Deposit("bob", LETTER), limits, NOW), str)
    assert store.deposit("alice", Deposit("bob", LETTER), limits, NOW) == Refused(reason)
    kept = waiting(store, "bob")
    assert len(kept) == 2
    store.ack("bob", frozenset(kept), NOW)
    assert isinstance(store.deposit("alice", Deposit("bob", LETTER), limits, NOW), str)


def test_boxes_and_bytes_are_counted_for_all_together(store: DepositStore) -> None:
    two_boxes = Limits(boxes=2)
    assert isinstance(store.deposit("a", Deposit("one", LETTER), two_boxes, NOW), str)
    assert isinstance(store.deposit("b", Deposit("two", LETTER), two_boxes, NOW), str)
    assert store.deposit("c", Deposit("three", LETTER), two_boxes, NOW) == Refused("too_many_mailboxes")
    assert isinstance(store.deposit("c", Deposit("two", LETTER), two_boxes, NOW), str)
    tight = Limits(total_bytes=3 * len(LETTER))
    assert store.deposit("d", Deposit("two", LETTER), tight, NOW) == Refused("mailbox_full")


# --- what a released hub kept -----------------------------------------------------------------------------------


def test_what_a_released_hub_kept_is_taken_over_beyond_every_limit(store: DepositStore) -> None:
    messages = [Released("bob", f"id {n}", LETTER, NOW + n) for n in range(300)]
    assert not store.has_imported("file")
    store.take_over("file", messages)
    assert store.has_imported("file")
    assert waiting(store, "bob", NOW - 1) == [f"id {n}" for n in range(300)]
    assert waiting(store, "bob", NOW + 297.5) == ["id 298", "id 299"]
    assert leave(store, "bob", now=NOW) == "mailbox_full"
    assert store.ack("bob", frozenset({"id 299"}), NOW) == 1


def test_a_file_is_taken_over_whole_or_not_at_all(store: DepositStore) -> None:
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

    def __init__(self, fresh: Callable[[], MailboxPlace]) -> None:
        super().__init__()
        self.fresh = fresh

    @initialize()
    def begin(self) -> None:
        self.place = self.fresh()
        self.store = self.place.open()
        self.now = NOW
        self.kept: list[tuple[str, str, str, float]] = []
        """Id, box, sender, end."""

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

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
        self.store = self.place.open()
        if not cleanly:
            before.close()

    @invariant()
    def what_is_noted_is_what_is_counted(self) -> None:
        if not hasattr(self, "store"):
            return
        noted, counted = self.place.totals()
        assert noted == counted


@pytest.mark.parametrize("kind", KINDS)
def test_any_order_of_requests(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folders = (tmp_path / str(number) for number in count())

    def fresh() -> MailboxPlace:
        if kind == "redis":
            request.getfixturevalue("redis_server").call("FLUSHALL")
        return place(kind, next(folders), request)

    often = settings(max_examples=15, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(lambda: AnyOrder(fresh), settings=often)  # type: ignore[no-untyped-call]
