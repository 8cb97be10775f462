"""Policies of plugins are asked in threads: nobody but the client waits for them, in order, and none for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from helpers.link_hub import eventually
from hivemind_bus_client.message import Message
from hivemind_core import reviews
from hivemind_core.clients import Client
from hivemind_core.peers import Peer
from hivemind_core.policy import ALLOW, Entry, PolicyChain, Verdict
from hivemind_core.reviews import Reviews

PATIENCE_S = 30.0
DENIED = Verdict.deny("quiet_hours", "It is quiet now.")
Review = Callable[[Any, Client], Verdict]


class Plugin:
    """A policy that a package brings."""

    def __init__(self, review: Review = lambda subject, client: ALLOW) -> None:
        self.review = self.review_binary = review


class Scene:
    def __init__(self, *entries: Entry, most_s: float = PATIENCE_S) -> None:
        self.rows = {number: Client(number, f"key-{number}", allowed_types=("asked",)) for number in (1, 2)}
        self.reviews = Reviews(PolicyChain(entries), self.rows.get, most_s)
        self.heard: list[tuple[Any, Verdict]] = []

    def say(self, client_id: int, word: str, msg_type: str = "asked") -> None:
        message = Message(msg_type, {"word": word}, {"session": {"session_id": "x"}})
        self.reviews.message(self.peer(client_id), message, lambda said, verdict: self.heard.append((said, verdict)))

    def peer(self, client_id: int) -> Peer:
        class Connected:
            client = self.rows[client_id]

        return cast(Peer, Connected())

    async def heard_of(self, count: int) -> list[tuple[str, str]]:
        """Word and code of so many verdicts, when they are there."""
        await eventually(lambda: len(self.heard) >= count)
        return [(said.data["word"], verdict.code) for said, verdict in self.heard]


class Held:
    """Answers about a word only when it is let go."""

    def __init__(self, word: str = "held") -> None:
        self.word, self.free, self.begun = word, threading.Event(), threading.Event()

    def __call__(self, message: Message, client: Client) -> Verdict:
        if message.data["word"] == self.word:
            self.begun.set()
            assert self.free.wait(PATIENCE_S)
        return ALLOW


async def test_without_plugins_the_verdict_is_there_at_once() -> None:
    scene = Scene()
    scene.say(1, "a")
    scene.say(1, "b", "another")
    assert [(said.data["word"], verdict.code) for said, verdict in scene.heard] == [
        ("a", ""),
        ("b", "acl_disallowed_type"),
    ]


async def test_who_waits_for_a_plugin_holds_up_nobody_else() -> None:
    held = Held()
    scene = Scene(Entry("held", Plugin(held)))
    scene.say(1, "held")
    scene.say(1, "later")
    scene.say(2, "other")
    assert await scene.heard_of(1) == [("other", "")]
    held.free.set()
    assert await scene.heard_of(3) == [("other", ""), ("held", ""), ("later", "")]
    scene.reviews.stop()


async def test_the_hubs_own_policies_go_before_a_plugin_and_are_not_waited_for() -> None:
    asked: list[str] = []

    def note(message: Message, client: Client) -> Verdict:
        asked.append(message.msg_type)
        return ALLOW

    scene = Scene(Entry("notes", Plugin(note)))
    scene.say(1, "a", "another")
    assert [verdict.code for _, verdict in scene.heard] == ["acl_disallowed_type"]
    assert asked == []


async def test_each_plugin_sees_what_the_one_before_changed() -> None:
    def mark(message: Message) -> None:
        message.data["word"] += "!"

    scene = Scene(
        Entry("marks", Plugin(lambda message, client: Verdict(mutations=(mark,)))),
        Entry("sees", Plugin(lambda message, client: DENIED if message.data["word"] == "a!" else ALLOW)),
    )
    scene.say(1, "a")
    scene.say(1, "b")
    assert await scene.heard_of(2) == [("a!", "quiet_hours"), ("b!", "")]
    assert scene.heard[1][1].mutations == (mark,)


async def test_binary_data_is_judged_in_the_same_line() -> None:
    scene = Scene(Entry("quiet", Plugin(lambda subject, client: DENIED if subject == b"loud" else ALLOW)))
    verdicts: list[str] = []
    for data in (b"loud", b"soft"):
        scene.reviews.binary(scene.peer(1), data, lambda verdict: verdicts.append(verdict.code))
    scene.say(1, "after")
    await scene.heard_of(1)
    assert verdicts == ["quiet_hours", ""]


async def test_one_that_does_not_come_back_fails_until_it_does() -> None:
    held = Held()
    scene = Scene(Entry("held", Plugin(held)), most_s=0.05)
    scene.say(1, "held")
    scene.say(1, "later")
    assert await scene.heard_of(2) == [("held", "policy_error"), ("later", "policy_error")]
    assert scene.heard[0][1].data["policy"] == "held"
    scene.say(1, "at once")
    assert len(scene.heard) == 3  # no thread more is given to it
    held.free.set()
    while scene.heard[-1][1].code:
        await asyncio.sleep(0.01)
        scene.say(1, "again")
    assert scene.heard[-1][0].data["word"] == "again"


async def test_one_that_waits_for_a_thread_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews, "LIMITS", replace(reviews.LIMITS, threads=1))

    def think(message: Message, client: Client) -> Verdict:
        time.sleep(0.5)
        return ALLOW

    scene = Scene(Entry("thinks", Plugin(think)), most_s=3.0)
    for number in range(8):
        scene.rows[number] = replace(scene.rows[1], client_id=number)
        scene.say(number, "asked")
    assert await scene.heard_of(8) == [("asked", "")] * 8
    scene.reviews.stop()


async def test_but_it_is_where_no_thread_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews, "LIMITS", replace(reviews.LIMITS, threads=1))
    held = Held()
    scene = Scene(Entry("held", Plugin(held)), most_s=1.0)
    scene.say(1, "held")
    scene.say(2, "other")
    assert sorted(await scene.heard_of(2)) == [("held", "policy_error"), ("other", "policy_error")]
    held.free.set()
    await eventually(lambda: not scene.reviews.stuck)
    scene.say(2, "again")
    assert (await scene.heard_of(3))[-1] == ("again", "")
    scene.reviews.stop()


async def test_an_optional_one_that_is_late_is_passed_over_and_changes_nothing_any_more() -> None:
    held = Held()

    def review(message: Message, client: Client) -> Verdict:
        held(message, client)
        message.data["word"] = "changed"
        return ALLOW

    scene = Scene(Entry("late", Plugin(review), optional=True), Entry("next", Plugin()), most_s=0.05)
    scene.say(1, "held")
    assert await scene.heard_of(1) == [("held", "")]
    said = scene.heard[0][0]
    held.free.set()
    await eventually(lambda: not scene.reviews.stuck)
    assert said.data["word"] == "held"


async def test_one_that_raises_refuses() -> None:
    def review(message: Message, client: Client) -> Verdict:
        raise OSError("the model is not there")

    scene = Scene(Entry("broken", Plugin(review)))
    scene.say(1, "a")
    assert await scene.heard_of(1) == [("a", "policy_error")]


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError])
async def test_one_that_raises_what_is_no_exception_refuses_and_is_asked_again(error: type[BaseException]) -> None:
    def leave(message: Message, client: Client) -> Verdict:
        if message.data["word"] == "bad":
            raise error
        return ALLOW

    scene = Scene(Entry("leaves", Plugin(leave)))
    for word in ("bad", "good"):
        scene.say(1, word)
    assert await scene.heard_of(2) == [("bad", "policy_error"), ("good", "")]
    scene.reviews.stop()


async def test_a_verdict_that_is_none_refuses_and_holds_up_nothing() -> None:
    scene = Scene(Entry("odd", Plugin(lambda subject, client: Verdict(mutations=cast(Any, None)))))
    said: list[str] = []
    scene.say(1, "a")
    for data in (b"1", b"2"):
        scene.reviews.binary(scene.peer(1), data, lambda verdict: said.append(verdict.code))
    await eventually(lambda: len(said) == 2)
    assert (await scene.heard_of(1), said) == ([("a", "policy_error")], ["policy_error", "policy_error"])
    scene.reviews.stop()


async def test_the_context_of_what_waits_counts() -> None:
    held = Held()
    scene = Scene(Entry("held", Plugin(held)))
    scene.say(1, "held")
    large = Message("asked", {"word": "large"}, {"session": {"session_id": "x" * reviews.LIMITS.waiting_bytes}})
    scene.reviews.message(scene.peer(1), large, lambda said, verdict: scene.heard.append((said, verdict)))
    assert await scene.heard_of(1) == [("large", "policy_error")]
    held.free.set()
    scene.reviews.stop()


async def test_what_waits_is_bounded() -> None:
    held = Held()
    scene = Scene(Entry("held", Plugin(held)))
    scene.say(1, "held")
    for number in range(reviews.LIMITS.waiting + 3):
        scene.say(1, str(number))
    assert [verdict.code for _, verdict in scene.heard] == ["policy_error"] * 3
    held.free.set()
    assert len(await scene.heard_of(reviews.LIMITS.waiting + 4)) == reviews.LIMITS.waiting + 4


async def test_a_client_that_was_deleted_meanwhile_is_not_judged_any_more() -> None:
    held = Held()
    scene = Scene(Entry("held", Plugin(held)))
    scene.say(1, "held")
    scene.say(1, "later")
    await asyncio.to_thread(held.begun.wait, PATIENCE_S)
    scene.say(2, "other")
    del scene.rows[1]
    held.free.set()
    scene.say(2, "and again")
    assert await scene.heard_of(2) == [("other", ""), ("and again", "")]
    await eventually(lambda: not scene.reviews.under_way)
    assert len(scene.heard) == 2


async def test_rights_that_were_taken_away_meanwhile_count() -> None:
    held = Held()
    scene = Scene(Entry("held", Plugin(held)))
    for word in ("held", "later"):
        scene.say(1, word)
    await asyncio.to_thread(held.begun.wait, PATIENCE_S)
    scene.rows[1] = replace(scene.rows[1], allowed_types=("another",))
    held.free.set()
    assert await scene.heard_of(2) == [("held", "acl_disallowed_type"), ("later", "acl_disallowed_type")]


async def test_what_else_changes_of_a_client_meanwhile_does_not() -> None:
    held = Held()
    scene = Scene(Entry("held", Plugin(held)))
    scene.say(1, "held")
    await asyncio.to_thread(held.begun.wait, PATIENCE_S)
    scene.rows[1] = replace(scene.rows[1], last_seen=5.0, name="another")
    held.free.set()
    assert await scene.heard_of(1) == [("held", "")]


async def test_stopping_waits_for_nobody() -> None:
    held = Held()
    scene = Scene(Entry("held", Plugin(held)))
    scene.say(1, "held")
    await asyncio.to_thread(held.begun.wait, PATIENCE_S)
    scene.reviews.stop()
    held.free.set()
    await asyncio.sleep(0.05)
    assert scene.heard == []
