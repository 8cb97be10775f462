"""Policies of plugins are asked in threads: nobody but the client waits for them, in order, and none for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

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


async def test_stopping_waits_for_nobody() -> None:
    held = Held()
    scene = Scene(Entry("held", Plugin(held)))
    scene.say(1, "held")
    await asyncio.to_thread(held.begun.wait, PATIENCE_S)
    scene.reviews.stop()
    held.free.set()
    await asyncio.sleep(0.05)
    assert scene.heard == []
