"""Members over a bus in memory: what is handed over, and what of it is reported, whatever the bus does."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from helpers.memory_streams import STREAMS, Clock, MemoryMember, MemoryStreams
from hivemind_core.cluster.channel import FENCE_S, PROBE_S, RETRY_S
from hivemind_core.cluster.entries import parse
from hivemind_core.cluster.incoming import EXPIRED_S
from hivemind_core.cluster.outgoing import UNDELIVERED_S, WRITE_BYTES
from hivemind_core.cluster.sealing import DoesNotOpen
from hivemind_core.cluster.traffic import ACK_FRAMES, FORGET_S, LOG_ENTRIES

A, B, C = "a" * 16, "b" * 16, "c" * 16
TICK_S = 0.25


class Hive:
    """Three members, their bus and their clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.redis = MemoryStreams()
        self.members = {hub: MemoryMember(hub, self.redis, self.clock) for hub in (A, B, C)}
        self.a, self.b, self.c = self.members.values()

    def pass_time(self, seconds: float, *, without: str = "") -> None:
        """Let all go on as they should, but one that is paused."""
        for _ in range(round(seconds / TICK_S)):
            self.clock.now += TICK_S
            self.turn(without=without)

    def turn(self, *, without: str = "") -> None:
        for member in self.members.values():
            if member.hub != without:
                member.write()
        for member in self.members.values():
            if member.hub != without:
                member.read()
                member.tick()


@pytest.fixture
def hive() -> Hive:
    return Hive()


def texts(member: MemoryMember) -> list[bytes]:
    return [text for _, text in member.handed]


# --- as it should be ---------------------------------------------------------------------------------------------


def test_frames_arrive_in_order_and_are_acknowledged(hive: Hive) -> None:
    for number in range(5):
        assert hive.a.put(B, b"%d" % number)
    hive.turn()
    assert hive.b.handed == [(A, b"%d" % number) for number in range(5)]
    assert not hive.a.traffic.is_done
    hive.turn()
    assert hive.a.traffic.is_done
    hive.pass_time(UNDELIVERED_S + 1)
    assert (len(hive.b.handed), hive.a.undelivered, hive.c.handed) == (5, [], [])


def test_frames_that_are_put_together_go_as_one_entry(hive: Hive) -> None:
    for _ in range(100):
        hive.a.put(B, b"1")
    assert hive.a.write() == 1


def test_an_acknowledgement_goes_with_frames_or_when_it_is_asked_for(hive: Hive) -> None:
    hive.a.put(B, b"1")
    hive.a.write(acks=False)
    hive.b.read()
    assert hive.b.traffic.owes_ack
    assert hive.b.write(acks=False) == 0
    hive.b.put(A, b"2")
    assert hive.b.write(acks=False) == 1
    assert not hive.b.traffic.owes_ack
    hive.a.read()
    assert hive.a.traffic.is_done
    assert hive.a.write(acks=True) == 1
    assert hive.b.write(acks=True) == 0


def test_many_frames_ask_for_an_acknowledgement_at_once(hive: Hive) -> None:
    for _ in range(ACK_FRAMES - 1):
        hive.a.put(B, b"1")
    hive.turn()
    hive.a.write()
    assert not hive.b.traffic.is_urgent
    hive.a.put(B, b"1")
    hive.a.write()
    hive.b.read()
    assert hive.b.traffic.is_urgent


def test_one_write_takes_little_at_once_and_the_members_take_turns(hive: Hive) -> None:
    traffic, found = hive.a.traffic, []
    for _ in range(2):
        for hub in (B, C):
            assert traffic.put(hub, bytes(WRITE_BYTES), hive.clock.now)
    for hub in (B, C, B, C):
        [write] = traffic.writes(hive.clock.now, hive.clock.ms, acks=False)
        assert write.command[1] == STREAMS.inbox(hub)
        found.append(traffic.has_more)
    assert found == [True, True, True, False]


def test_a_member_whose_inbox_is_not_there_is_not_what_is_left_to_write(hive: Hive) -> None:
    traffic = hive.a.traffic
    assert traffic.put(B, b"1", hive.clock.now)
    [write] = traffic.writes(hive.clock.now, hive.clock.ms, acks=False)
    write.answered(None, hive.clock.now)
    assert list(traffic.writes(hive.clock.now, hive.clock.ms, acks=False)) == []
    assert not traffic.has_more


def test_what_is_told_reaches_all_others_and_is_done_when_it_is_written(hive: Hive) -> None:
    assert hive.a.traffic.put_log(b"1", hive.clock.now)
    assert not hive.a.traffic.is_done
    hive.turn()
    assert hive.a.traffic.is_done
    assert (hive.a.handed, hive.b.handed, hive.c.handed) == ([], [(A, b"1")], [(A, b"1")])


def test_the_log_is_bounded(hive: Hive) -> None:
    hive.a.traffic.put_log(b"1", hive.clock.now)
    (write,) = hive.a.traffic.writes(hive.clock.now, hive.clock.ms, acks=True)
    assert write.command[:5] == ("XADD", STREAMS.log, "MAXLEN", "~", LOG_ENTRIES)


# --- a bus that fails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("carried_out", range(4))
def test_what_a_lost_connection_wrote_comes_once(hive: Hive, carried_out: int) -> None:
    for hub in (B, C):
        hive.a.put(hub, b"1")
    hive.a.traffic.put_log(b"2", hive.clock.now)
    hive.a.write(carried_out=carried_out)
    hive.b.read()
    hive.turn()
    assert sorted(hive.b.handed) == sorted(hive.c.handed) == [(A, b"1"), (A, b"2")]
    assert hive.a.undelivered == []


def test_a_redis_that_begins_anew_gets_all_again(hive: Hive) -> None:
    for number in range(3):
        hive.a.put(B, b"%d" % number)
        hive.a.write()
    hive.redis.streams.clear()
    for member in hive.members.values():
        member.rejoin()
    hive.turn()
    assert texts(hive.b) == [b"0", b"1", b"2"]


def test_an_inbox_that_vanishes_is_filled_again_once_it_is_there(hive: Hive) -> None:
    hive.a.put(B, b"1")
    hive.a.write()
    del hive.redis.streams[hive.b.traffic.inbox]
    hive.pass_time(2 * PROBE_S)
    assert hive.b.traffic.inbox not in hive.redis.streams
    hive.redis.make(hive.b.traffic.inbox)
    hive.pass_time(2 * RETRY_S)
    assert texts(hive.b) == [b"1"]


def test_entries_that_vanish_are_asked_for_by_who_misses_them(hive: Hive) -> None:
    for number in range(4):
        hive.a.put(B, b"%d" % number)
        hive.a.write()
    del hive.redis.streams[hive.b.traffic.inbox][1:3]
    hive.turn()
    assert texts(hive.b) == [b"0"]
    hive.pass_time(2 * TICK_S)
    assert texts(hive.b) == [b"0", b"1", b"2", b"3"]


def test_entries_that_vanish_at_the_end_are_missed_by_who_wrote_them(hive: Hive) -> None:
    for number in range(4):
        hive.a.put(B, b"%d" % number)
        hive.a.write()
    hive.redis.streams[hive.b.traffic.inbox].clear()
    hive.pass_time(PROBE_S - TICK_S)
    assert texts(hive.b) == []
    hive.pass_time(4 * TICK_S)
    assert texts(hive.b) == [b"0", b"1", b"2", b"3"]


def test_one_that_does_not_read_is_asked_after_less_and_less_often(hive: Hive) -> None:
    hive.a.put(B, b"1")
    hive.pass_time(30, without=B)
    assert len(hive.redis.streams[hive.b.traffic.inbox]) == len([0, 1, 2 + 1, 4 + 3, 8 + 7, 8 + 15, 8 + 23][:-1])


def test_who_reads_the_log_is_told_where_something_is_missing(hive: Hive) -> None:
    for number in range(4):
        hive.a.traffic.put_log(b"%d" % number, hive.clock.now)
        hive.a.write()
    del hive.redis.streams[STREAMS.log][1]
    hive.turn()
    assert texts(hive.b) == [b"0", b"gap", b"2", b"3"]


def test_where_all_in_the_log_was_missed_the_next_tells(hive: Hive) -> None:
    hive.a.traffic.put_log(b"0", hive.clock.now)
    hive.turn()
    hive.a.traffic.put_log(b"1", hive.clock.now)
    hive.a.write()
    hive.clock.now += EXPIRED_S + 1
    hive.turn()
    assert texts(hive.b) == [b"0"]
    hive.a.traffic.put_log(b"2", hive.clock.now)
    hive.turn()
    assert texts(hive.b) == [b"0", b"gap", b"2"]


# --- time --------------------------------------------------------------------------------------------------------


def test_what_is_never_acknowledged_is_reported(hive: Hive) -> None:
    hive.a.put(B, b"1")
    hive.pass_time(UNDELIVERED_S - 1, without=B)
    assert hive.a.undelivered == []
    hive.pass_time(1, without=B)
    assert hive.a.undelivered == [(B, b"1")]
    hive.pass_time(5)
    assert hive.b.handed == []


def test_what_comes_too_late_is_refused_and_reported_and_what_follows_arrives(hive: Hive) -> None:
    hive.a.put(B, b"late")
    hive.a.write()
    hive.clock.now += EXPIRED_S + 1
    hive.a.put(B, b"fresh")
    hive.turn()
    hive.turn()
    assert hive.b.handed == [(A, b"fresh")]
    assert hive.a.undelivered == [(B, b"late")]
    hive.a.put(B, b"more")
    hive.turn()
    hive.turn()
    assert hive.a.traffic.is_done
    assert (texts(hive.b), hive.a.undelivered) == ([b"fresh", b"more"], [(B, b"late")])


def test_a_member_that_is_gone_gets_nothing_more_of_what_is_reported(hive: Hive) -> None:
    hive.a.put(B, b"on its way")
    hive.a.write()
    hive.b.ask()  # and then it is paused
    hive.a.put(B, b"not yet written")
    assert hive.a.traffic.gone(B) == [b"not yet written"]
    hive.pass_time(FENCE_S - TICK_S, without=B)
    assert hive.a.undelivered == []
    hive.pass_time(2 * TICK_S, without=B)
    assert hive.a.undelivered == [(B, b"on its way")]
    hive.b.go_on()
    hive.turn()
    assert hive.b.handed == []
    hive.a.put(B, b"it was only paused")
    hive.turn()
    assert texts(hive.b) == [b"it was only paused"]


def test_where_redis_does_not_run_scripts_a_gone_member_is_given_up_by_age(hive: Hive) -> None:
    hive.a.put(B, b"1")
    hive.a.write()
    hive.a.traffic.gone(B)
    (purge,) = hive.a.traffic.writes(hive.clock.now, hive.clock.ms, acks=True)
    assert purge.may_fail
    purge.answered(None, hive.clock.now)
    hive.pass_time(UNDELIVERED_S - 1, without=B)
    assert hive.a.undelivered == []
    hive.pass_time(1, without=B)
    assert hive.a.undelivered == [(B, b"1")]


def test_who_leaves_learns_of_all_that_may_not_have_arrived(hive: Hive) -> None:
    hive.a.put(B, b"1")
    hive.a.write()
    hive.a.traffic.gone(B)
    hive.a.put(B, b"2")
    hive.a.put(C, b"3")
    assert sorted(hive.a.traffic.abandon()) == [(B, b"1"), (B, b"2"), (C, b"3")]
    hive.a.write()
    hive.b.read()
    assert hive.b.handed == []


def test_after_a_long_silence_both_begin_anew_and_understand_each_other(hive: Hive) -> None:
    for _ in range(3):
        hive.a.put(B, b"1")
        hive.b.put(A, b"2")
        hive.a.traffic.put_log(b"3", hive.clock.now)
        hive.turn()
        hive.turn()
        assert hive.a.traffic.is_done
        hive.pass_time(FORGET_S + 1, without=C)
    assert sorted(texts(hive.b)) == [b"1"] * 3 + [b"3"] * 3
    assert texts(hive.a) == [b"2"] * 3


def test_one_that_only_the_other_forgot_is_understood(hive: Hive) -> None:
    hive.a.put(B, b"1")
    hive.turn()
    hive.turn()
    hive.clock.now += FORGET_S
    hive.a.tick()  # b sleeps, and has not noticed
    hive.a.put(B, b"2")
    hive.b.put(A, b"3")
    hive.turn()
    assert (texts(hive.a), texts(hive.b)) == ([b"3"], [b"1", b"2"])


# --- strangers ---------------------------------------------------------------------------------------------------


def test_an_entry_opens_only_where_it_was_put_and_as_what(hive: Hive) -> None:
    hive.a.put(B, b"1")
    hive.a.write()
    ((_, fields),) = hive.redis.streams[hive.b.traffic.inbox]
    entry = parse(fields)
    assert entry is not None
    wrong = [entry._replace(sender=C), entry._replace(number=entry.number + 1), entry._replace(sealed=b"x" * 100)]
    for each in wrong:
        with pytest.raises(DoesNotOpen):
            hive.b.take(hive.b.traffic.inbox, each)
    for member, stream in ((hive.c, hive.c.traffic.inbox), (hive.b, STREAMS.log)):
        with pytest.raises(DoesNotOpen):
            member.take(stream, entry)
    assert hive.b.take(hive.b.traffic.inbox, entry).frames == [b"1"]
    assert hive.b.take(hive.b.traffic.inbox, entry).frames == []


# --- whatever happens --------------------------------------------------------------------------------------------

HUBS = st.sampled_from([A, A, B])
OTHER = {A: B, B: A}
LOST = st.sampled_from([None, None, None, 0, 1, 2])
SECONDS = st.sampled_from([0.1, 0.3, 1.0, 2.0, 3.5, 16.0, 31.0])


class AnyBus(RuleBasedStateMachine):
    """Two members that write, read, pause, lose connections, are declared gone and come back; in any order."""

    @initialize()
    def begin(self) -> None:
        self.hive = Hive()
        self.put = 0
        self.taken: dict[str, list[bytes]] = {A: [], B: []}

    def member(self, hub: str) -> MemoryMember:
        return self.hive.members[hub]

    @rule(hub=HUBS, count=st.integers(0, 3), carried_out=LOST, late=st.integers(0, 2))
    def send(self, hub: str, count: int, carried_out: int | None, late: int) -> None:
        member = self.member(hub)
        for _ in range(count):
            self.put += 1
            frame = b"%06d" % self.put
            if member.put(OTHER[hub], frame):
                self.taken[hub].append(frame)
        member.write(carried_out=carried_out, late=late)

    @rule(hub=HUBS, most=st.integers(1, 3))
    def read(self, hub: str, most: int) -> None:
        self.member(hub).read(most)

    @rule(hub=HUBS, pause_s=SECONDS, is_missed=st.booleans())
    def read_and_pause(self, hub: str, pause_s: float, is_missed: bool) -> None:
        member, other = self.member(hub), self.member(OTHER[hub])
        member.ask()
        self.hive.clock.now += pause_s
        if is_missed:
            self.declare_gone(hub)
            other.write()
        self.wait(pause_s)
        member.go_on()

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.hive.clock.now += seconds
        for hub in (A, B):
            self.member(hub).tick()

    @rule(hub=HUBS)
    def declare_gone(self, hub: str) -> None:
        other = self.member(OTHER[hub])
        other.undelivered += [(hub, frame) for frame in other.traffic.gone(hub)]

    @rule(hub=HUBS, index=st.integers(0, 5))
    def repeat(self, hub: str, index: int) -> None:
        self.hive.redis.repeat(self.member(hub).traffic.inbox, index)

    @rule(hub=HUBS, index=st.integers(0, 3))
    def lose_an_entry(self, hub: str, index: int) -> None:
        entries = self.hive.redis.streams.get(self.member(hub).traffic.inbox, [])
        if entries:
            del entries[index % len(entries)]

    @rule(hub=HUBS, comes_back=st.booleans())
    def lose_an_inbox(self, hub: str, comes_back: bool) -> None:
        self.hive.redis.streams.pop(self.member(hub).traffic.inbox, None)
        if comes_back:
            self.member(hub).rejoin()

    @rule()
    def begin_anew(self) -> None:
        self.hive.redis.streams.clear()
        for hub in (A, B):
            self.member(hub).rejoin()

    @invariant()
    def each_is_handed_over_once_and_in_order_and_never_after_it_was_reported(self) -> None:
        for hub in (A, B):
            receiver, sender = self.member(OTHER[hub]), self.member(hub)
            handed = texts(receiver)
            assert all(one < other for one, other in pairwise(handed))
            seen = getattr(receiver, "seen", 0)
            reported = {frame for _, frame in getattr(sender, "reported_before", [])}
            assert not reported & set(handed[seen:])
            receiver.seen, sender.reported_before = len(handed), list(sender.undelivered)  # type: ignore[attr-defined]

    def teardown(self) -> None:
        for hub in (A, B):
            self.member(hub).rejoin()
        self.hive.pass_time(UNDELIVERED_S + 5)
        self.each_is_handed_over_once_and_in_order_and_never_after_it_was_reported()
        for hub in (A, B):
            reported = [frame for _, frame in self.member(hub).undelivered]
            assert len(reported) == len(set(reported))
            assert set(self.taken[hub]) == {*texts(self.member(OTHER[hub])), *reported}
            assert self.member(hub).put(OTHER[hub], b"at last")
        self.hive.pass_time(2 * TICK_S)
        assert {texts(self.member(hub))[-1] for hub in (A, B)} == {b"at last"}
        assert all(self.member(hub).traffic.is_done for hub in (A, B))


TestAnyBus = AnyBus.TestCase
TestAnyBus.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
