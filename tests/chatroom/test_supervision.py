"""What a service manager is told of the chatroom."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.processes import wait_until
from hivemind_chatroom.chat import LinkState
from hivemind_chatroom.server import Server
from hivemind_chatroom.sockets import listen
from hivemind_chatroom.supervision import Supervision

WAIT_S = 60.0


class Listener:
    """Stands in for a notifier and keeps what it is told."""

    is_heard = True
    every_s = 0.01

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def ready(self, status: str) -> None:
        self.told.append(("ready", status))

    def alive(self, status: str) -> None:
        self.told.append(("alive", status))

    def stopping(self, status: str) -> None:
        self.told.append(("stopping", status))


class Rig:
    """A chatroom whose parts do as they are told."""

    def __init__(self) -> None:
        self.listener: Any = Listener()
        self.lock = threading.Lock()
        self.turns = True
        self.asked = 0
        self.is_waiting = False
        self.chat: Any = SimpleNamespace(link=LinkState("connected"), newest=self._newest)
        self.server: Any = SimpleNamespace(port=1, answers=self._answers)
        self.supervision = Supervision(self.listener, self.server, self.chat)

    def _answers(self, timeout_s: float) -> bool:
        self.asked += 1
        return self.turns

    def _newest(self) -> int:
        self.is_waiting = True
        with self.lock:
            self.is_waiting = False
            return 1

    def hears(self, more: int) -> None:
        count = len(self.listener.told) + more
        wait_until(lambda: len(self.listener.told) >= count, WAIT_S, "a report")

    def is_silent(self) -> bool:
        """It says nothing in the time for ten reports, once what was under way is done."""
        turns = self.asked + 2
        wait_until(lambda: self.asked >= turns or (self.lock.locked() and self.is_waiting), WAIT_S, "a look")
        before = len(self.listener.told)
        threading.Event().wait(0.1)
        return len(self.listener.told) == before


@pytest.fixture
def rig() -> Any:
    made = Rig()
    yield made
    if made.supervision.is_alive():
        made.supervision.ending()
        made.supervision.join(WAIT_S)


def test_it_is_ready_once_the_server_answers(rig: Rig) -> None:
    rig.turns = False
    rig.supervision.start()
    assert rig.is_silent()
    rig.turns = True
    rig.hears(3)
    rig.turns = False
    assert rig.is_silent()
    rig.supervision.ending()
    rig.supervision.join(WAIT_S)
    kinds = [kind for kind, _ in rig.listener.told]
    assert (kinds[0], set(kinds[1:-1]), kinds[-1]) == ("ready", {"alive"}, "stopping")


def test_it_is_silent_while_the_lock_is_held_or_the_server_is_stuck(rig: Rig) -> None:
    rig.supervision.start()
    rig.hears(2)
    with rig.lock:
        assert rig.is_silent()
    rig.hears(1)
    rig.turns = False
    assert rig.is_silent()
    rig.turns = True
    rig.hears(1)


def test_the_status_is_that_of_the_link(rig: Rig) -> None:
    assert rig.supervision.status() == "Serving port 1, connected to the hub"
    rig.chat.link = LinkState("down", "The hub cannot be reached.")
    assert rig.supervision.status() == "Serving port 1, The hub cannot be reached."
    rig.chat.link = LinkState("connecting")
    assert rig.supervision.status() == "Serving port 1, connecting"


def test_whether_a_real_server_answers() -> None:
    with listen("127.0.0.1", 0) as listener:
        server = Server(lambda environ, start: [], listener, streams=0)
        assert not server.answers(0.1), "it has not begun"
        server.start()
        assert server.answers(WAIT_S)
        held, release, readable = threading.Event(), threading.Event(), server._server.readable

        def hold() -> bool:
            held.set()
            release.wait(WAIT_S)
            return bool(readable())

        server._server.readable = hold  # asked in each round of the loop
        server._in_loop(lambda: None)
        assert held.wait(WAIT_S)
        assert not server.answers(0.1), "its loop is held up"
        release.set()
        assert server.answers(WAIT_S)
        server.stop()
        assert not server.answers(0.1), "it has ended"


def test_where_nobody_listens_there_is_no_thread(rig: Rig) -> None:
    rig.listener.is_heard = False
    rig.supervision.start()
    assert not rig.supervision.is_alive()
    rig.supervision.ending()


def test_one_report_that_fails_is_not_the_last(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.chat.link = None
    rig.supervision.start()
    wait_until(lambda: caplog.records, WAIT_S, "the failure")
    rig.chat.link = LinkState("connected")
    rig.hears(1)
