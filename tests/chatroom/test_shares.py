"""The web server's threads and connections, over real sockets: one address cannot keep the others out."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from ipaddress import ip_network
from typing import Any

import pytest

from helpers.processes import wait_until
from hivemind_chatroom import server as server_module
from hivemind_chatroom.server import Server
from hivemind_chatroom.settings import Access, Limits, Settings
from hivemind_chatroom.shares import OTHERS_EACH, STREAMS_ENDING, Share, share_of
from hivemind_chatroom.sockets import listen

WAIT_S = 60.0
EACH = 3
HOSTILE, GOOD = "127.0.0.2", "127.0.0.3"
GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Room:
    """An application that does not answer at /held, and answers much at /large."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.inside = 0
        self._lock = threading.Lock()

    def _counted(self, step: int) -> None:
        with self._lock:
            self.inside += step

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"].startswith("/held"):
            self._counted(1)
            self.held.wait(WAIT_S)
            self._counted(-1)
        body = b"x" * 4_000_000 if environ["PATH_INFO"] == "/large" else b"hello"
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]


@pytest.fixture
def room() -> Iterator[Room]:
    made = Room()
    yield made
    made.held.set()


def serving(room: Room, share: Share | None) -> Server:
    listener = listen("127.0.0.1", 0)
    made = Server(room, listener, 4, share)
    made.start()
    return made


@pytest.fixture
def server(room: Room) -> Iterator[Server]:
    made = serving(room, Share(others=EACH))
    yield made
    room.held.set()
    made.stop(0.0)


def connect(server: Server, address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), WAIT_S, (address, 0))


def answers(server: Server, address: str) -> bool:
    with closing(connect(server, address)) as opened:
        opened.sendall(GET % b"/")
        return opened.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.fixture
def crowd(server: Server) -> Iterator[Callable[[int, bytes], list[socket.socket]]]:
    """Many connections of the hostile address that have all sent the same."""
    with ExitStack() as stack:

        def many(number: int, sent: bytes) -> list[socket.socket]:
            found = [stack.enter_context(closing(connect(server, HOSTILE))) for _ in range(number)]
            for each in found:
                each.sendall(sent)
            return found

        yield many


def test_one_address_has_its_share_of_threads_and_no_more(room: Room, server: Server, crowd: Any) -> None:
    crowd(40, GET % b"/held")
    wait_until(lambda: room.inside == EACH, WAIT_S, "its share")
    assert answers(server, GOOD)
    assert room.inside == EACH


def test_those_that_wait_have_their_turn(room: Room, server: Server, crowd: Any) -> None:
    waiting = crowd(40, GET % b"/held")
    wait_until(lambda: room.inside == EACH, WAIT_S, "its share")
    for gone in waiting[10:20]:
        gone.close()
    room.held.set()
    for each in waiting[:10] + waiting[20:]:
        assert each.recv(4096).startswith(b"HTTP/1.1 200")
    assert answers(server, HOSTILE)


def test_who_asks_again_and_again_and_reads_nothing_holds_nobody_up(server: Server, crowd: Any) -> None:
    crowd(40, 3 * (GET % b"/large"))
    assert answers(server, GOOD)


def test_what_nobody_reads_does_not_pile_up(server: Server, crowd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind_chatroom.shares.MOST_UNREAD", 1_000_000_000)
    crowd(10, GET % b"/large")
    wait_until(lambda: server.connections == 10, WAIT_S, "all connections")
    monkeypatch.setattr("hivemind_chatroom.shares.MOST_UNREAD", 10_000_000)
    wait_until(lambda: server.connections <= 3, WAIT_S, "those beyond the limit to be closed")
    assert answers(server, GOOD)


def test_a_trusted_proxy_has_no_share(room: Room) -> None:
    server = serving(room, Share(others=EACH, is_proxy=lambda address: address == HOSTILE))
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(closing(connect(server, HOSTILE))).sendall(GET % b"/held")
        wait_until(lambda: room.inside == 10, WAIT_S, "all ten")
        room.held.set()
    server.stop(0.0)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", GET % b"/held"], ids=["silent", "slow", "served"])
def test_no_address_has_all_connections(room: Room, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(server_module, "allowed_connections", lambda wanted: 30)
    server = serving(room, Share(others=EACH))
    with ExitStack() as stack:
        good = stack.enter_context(closing(connect(server, GOOD)))
        wait_until(lambda: server.connections == 1, WAIT_S, "the first one")
        for _ in range(200):
            stack.enter_context(closing(connect(server, HOSTILE))).sendall(sent)
        assert answers(server, GOOD)
        good.sendall(GET % b"/")  # it has been idle longest, and is still there
        assert good.recv(4096).startswith(b"HTTP/1.1 200")
        assert server.connections <= 30 + server_module.SPARE_CONNECTIONS
        room.held.set()
    server.stop(0.0)


def test_the_last_to_be_closed_are_those_being_answered(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "allowed_connections", lambda wanted: 10)
    server = serving(room, None)
    with ExitStack() as stack:
        asked = stack.enter_context(closing(connect(server, HOSTILE)))
        asked.sendall(GET % b"/held")
        wait_until(lambda: room.inside == 1, WAIT_S, "the question")
        for _ in range(50):
            stack.enter_context(closing(connect(server, HOSTILE)))
            time.sleep(0.002)
        room.held.set()
        assert asked.recv(4096).startswith(b"HTTP/1.1 200")
    server.stop(0.0)


def test_those_behind_a_trusted_proxy_have_a_share_each(room: Room) -> None:
    server = serving(room, Share(others=EACH, is_proxy=lambda address: address == GOOD))
    asked = b"GET %s HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 10.0.0.9, %s\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(closing(connect(server, GOOD))).sendall(asked % (b"/held", b"192.0.2.1"))
        wait_until(lambda: room.inside == EACH, WAIT_S, "its share")
        other = stack.enter_context(closing(connect(server, GOOD)))
        other.sendall(asked % (b"/", b"192.0.2.2"))
        assert other.recv(4096).startswith(b"HTTP/1.1 200")
        assert room.inside == EACH
        room.held.set()
    server.stop(0.0)


def test_event_streams_have_a_share_of_their_own(room: Room) -> None:
    server = serving(room, Share(streams=2, others=1))
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(closing(connect(server, HOSTILE))).sendall(GET % b"/held/events")
        wait_until(lambda: room.inside == 2, WAIT_S, "its streams")
        assert answers(server, HOSTILE)
        assert room.inside == 2
        room.held.set()
    server.stop(0.0)


def test_the_share_of_a_chatroom() -> None:
    share = share_of(Settings(limits=Limits(streams=256, streams_each=32)))
    assert (share.streams, share.others) == (32 + STREAMS_ENDING, OTHERS_EACH)
    assert share_of(Settings(limits=Limits(streams=2))).streams == 2 + STREAMS_ENDING
    assert not share.is_proxy("10.0.0.1")
    networks = Access(trusted_proxies=(ip_network("10.0.0.0/8"),))
    assert share_of(Settings(access=networks)).is_proxy("10.0.0.1")
