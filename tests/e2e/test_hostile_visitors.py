"""A stranger with raw sockets, and an assistant gone mad: whoever else is here is answered as always.

The stranger comes from an address of their own, as strangers do.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from helpers.chatroom_process import Scene, opened_scene
from helpers.processes import ChildError, wait_until
from helpers.visitor import Visitor

HOSTILE = "127.0.0.66"
WAIT_S = 60.0
MANY = 560
"""Connections; more than the chatroom has with default options."""
CUT = 1000
FLOOD = 5000
ROOM = "market"
HEAD = "Host: localhost\r\n"

Crowd = Callable[[int, str], list[socket.socket]]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    if sys.platform != "linux":
        pytest.skip("only there is all of 127.0.0.0/8 this machine")
    with opened_scene(tmp_path_factory.mktemp("hostile"), "--rate", "100000") as opened:
        yield opened


@pytest.fixture
def alice(scene: Scene) -> Visitor:
    return scene.visitor("alice", ROOM)


def connect(scene: Scene, sent: str = "") -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", scene.room.port), WAIT_S, (HOSTILE, 0))
    with suppress(OSError):  # it may be closed already
        opened.sendall(sent.encode())
    return opened


@pytest.fixture
def crowd(scene: Scene) -> Iterator[Crowd]:
    """Many connections of the stranger that have sent the same and read nothing."""
    with ExitStack() as stack:
        yield lambda number, sent: [stack.enter_context(closing(connect(scene, sent))) for _ in range(number)]


def threads(scene: Scene) -> int:
    assert scene.room.child is not None
    return len(os.listdir(f"/proc/{scene.room.child.pid}/task"))


def memory_mb(scene: Scene) -> float:
    assert scene.room.child is not None
    pages = int(Path(f"/proc/{scene.room.child.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def all_is_well(scene: Scene, alice: Visitor, words: str) -> None:
    """Whoever looks after the process, and whoever asks, is answered."""
    assert scene.room.get("/healthz")[0] == 200
    assert alice.say(words).status == 202
    alice.wait_answer(words)


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "GET /healthz HTTP/1.1\r\nHost: loc",
        f"POST /send_message HTTP/1.1\r\n{HEAD}Content-Length: 60000\r\n\r\nx",
        f"POST /typing HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        f"GET /events?room={ROOM} HTTP/1.1\r\n{HEAD}\r\n",
    ],
    ids=["silent", "slow head", "slow body", "slow chunk", "streams"],
)
def test_connections_that_never_end(scene: Scene, alice: Visitor, crowd: Crowd, sent: str) -> None:
    with alice.listening() as stream:
        stream.wait("hello")
        crowd(MANY, sent)
        all_is_well(scene, alice, f"while there are many: {sent[:20]!r}")
        stream.wait("message", text=f"you said: while there are many: {sent[:20]!r}")


def test_much_is_asked_for_and_nothing_read(scene: Scene, alice: Visitor, crowd: Crowd) -> None:
    for number in range(40):
        assert alice.say(f"{number} " + "x" * 1900).status == 202
    alice.wait_answer("39 " + "x" * 1900)
    before = memory_mb(scene)
    crowd(300, 20 * f"GET /messages HTTP/1.1\r\n{HEAD}\r\n")
    all_is_well(scene, alice, "while nobody reads")
    assert memory_mb(scene) < before + 250


def test_streams_that_are_cut_leave_nothing_behind(scene: Scene, alice: Visitor) -> None:
    asked = f"GET /events?room={ROOM}&username=hostile HTTP/1.1\r\n{HEAD}\r\n"
    for _ in range(50):
        connect(scene, asked).close()
    running, before = threads(scene), memory_mb(scene)
    with alice.listening() as stream:
        stream.wait("hello")
        for number in range(CUT):
            opened = connect(scene, asked)
            if number % 2:
                opened.recv(100)
            opened.close()
        all_is_well(scene, alice, "while streams are cut")
        stream.wait("message", text="you said: while streams are cut")
        wait_until(lambda: people(alice) == ["alice"], WAIT_S, "those who are gone to be gone")
    wait_until(lambda: threads(scene) <= running, WAIT_S, "the threads that there were")
    assert memory_mb(scene) < before + 50

    def has_a_place() -> bool:
        with closing(connect(scene, asked)) as opened:
            return opened.recv(100).startswith(b"HTTP/1.1 200")

    wait_until(has_a_place, WAIT_S, "the stranger's own places to be free again")


def people(alice: Visitor) -> list[str]:
    found = alice.get(f"/status?room={ROOM}").json["people"]
    return sorted(person["username"] for person in found)


def test_an_assistant_that_floods(scene: Scene, alice: Visitor) -> None:
    for number in range(20):
        scene.visitor(f"guest {number}", f"room {number}").say("hello")
    alice.say("before the flood")
    alice.wait_answer("before the flood")
    address, before = scene.address(), memory_mb(scene)

    def flood() -> None:
        for number in range(FLOOD):
            context = {"source": "skills", "destination": address, "session": {"session_id": f"session {number}"}}
            scene.bus.emit_raw(
                json.dumps({"type": "speak", "data": {"utterance": f"{number} " + "é" * 200}, "context": context})
            )

    flooding = threading.Thread(target=flood, daemon=True)
    flooding.start()
    assert scene.room.get("/healthz")[0] == 200
    assert alice.say("in the flood").status == 202
    flooding.join(WAIT_S)
    wait_until(lambda: "the assistant says too much at once" in scene.room.log(), WAIT_S, "its word about it")
    for number in range(20):  # what waited is dropped, the latest answers among it
        assert alice.say(f"after the flood {number}").status == 202
        with suppress(ChildError):
            alice.wait_answer(f"after the flood {number}", timeout_s=3)
            break
    else:
        pytest.fail("no answer")
    assert memory_mb(scene) < before + 150
