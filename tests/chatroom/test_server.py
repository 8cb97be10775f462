"""The web server over real sockets, with applications that answer for ever."""

from __future__ import annotations

import logging
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from helpers.processes import Child, Children, wait_until
from hivemind_chatroom import server as server_module
from hivemind_chatroom import sockets
from hivemind_chatroom.server import Server, StopSignals, allowed_connections, serve
from hivemind_chatroom.sockets import listen

WAIT_S = 60.0
GET = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Room:
    """An application with an endless answer at /events, as the chatroom has it."""

    def __init__(self) -> None:
        self.open = 0
        self.stopped = threading.Event()
        self.asked = threading.Event()
        """Somebody is at /held."""
        self.held = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"].read(length)
        path = environ["PATH_INFO"]
        if path == "/events":
            start("200 OK", [("Content-Type", "text/event-stream")])
            return self._events(environ["waitress.client_disconnected"])
        if path == "/flood":
            start("200 OK", [("Content-Type", "text/event-stream")])
            return self._flood()
        if path == "/held":
            self.asked.set()
            self.held.wait(WAIT_S)
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
        return [b"hello"]

    def _counted(self, step: int) -> None:
        with self._lock:
            self.open += step

    def _events(self, gone: Callable[[], bool]) -> Iterator[bytes]:
        self._counted(1)
        try:
            yield b": welcome\n\n"
            while not gone() and not self.stopped.wait(0.02):
                pass
            yield b"event: bye\n\n"
        finally:
            self._counted(-1)

    def _flood(self) -> Iterator[bytes]:
        self._counted(1)
        try:
            while not self.stopped.is_set():
                yield b"x" * 65536
        finally:
            self._counted(-1)

    def start(self) -> None:
        pass

    def stop(self, timeout_s: float = 0) -> None:
        self.stopped.set()
        self.held.set()


def read_to(stream: socket.socket, part: bytes) -> bytes:
    got = b""
    while part not in got:
        more = stream.recv(65536)
        assert more, got
        got += more
    return got


class Visitor:
    """A connection."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S)

    def ask(self, path: str) -> Visitor:
        self.socket.sendall(GET % path.encode())
        return self

    def read_to(self, part: bytes) -> bytes:
        return read_to(self.socket, part)

    def is_closed(self) -> bool:
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def server(room: Room) -> Iterator[Server]:
    with listen("127.0.0.1", 0) as listener:
        made = Server(room, listener, streams=4)
        made.start()
        yield made
        room.stop()
        made.stop()


@pytest.fixture
def visit(server: Server) -> Iterator[Callable[[], Visitor]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(Visitor(server)))


def test_it_answers_and_says_nothing_of_itself(visit: Callable[[], Visitor]) -> None:
    answer = visit().ask("").read_to(b"hello")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"server:" not in answer.lower()


def test_one_connection_may_ask_again(visit: Callable[[], Visitor]) -> None:
    visitor = visit()
    for _ in range(3):
        visitor.ask("").read_to(b"hello")


def test_streams_leave_room_for_other_requests(room: Room, visit: Callable[[], Visitor]) -> None:
    for _ in range(4):
        visit().ask("events").read_to(b"welcome")
    assert room.open == 4
    visit().ask("").read_to(b"hello")


def test_a_visitor_who_left_is_noticed(room: Room, visit: Callable[[], Visitor]) -> None:
    visitor = visit().ask("events")
    visitor.read_to(b"welcome")
    assert room.open == 1
    visitor.close()
    wait_until(lambda: room.open == 0, WAIT_S, "the end of the stream")


def test_a_reader_that_takes_nothing_gets_little(room: Room, server: Server, visit: Callable[[], Visitor]) -> None:
    """The writing thread waits; no buffer grows. It goes on when the reader is gone."""
    visitor = visit()
    visitor.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    visitor.ask("flood")
    (channel,) = wait_until(lambda: list(server._server.active_channels.values()), WAIT_S, "the connection")
    limit = server_module.WAITING_BYTES
    wait_until(lambda: channel.total_outbufs_len > limit, WAIT_S, "a full buffer")
    time.sleep(0.2)
    assert channel.total_outbufs_len <= limit + 2 * 65536
    assert room.open == 1
    visitor.close()
    wait_until(lambda: room.open == 0, WAIT_S, "the end of the stream")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot tell")
def test_connections_inherit_when_a_stalled_reader_is_dropped(server: Server, visit: Callable[[], Visitor]) -> None:
    visit().ask("").read_to(b"hello")
    (channel,) = server._server.active_channels.values()
    assert channel.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
    assert channel.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot tell")
def test_a_stalled_reader_is_dropped(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "STALLED_MS", 300)
    with listen("127.0.0.1", 0) as listener:
        server = Server(room, listener, streams=1)
        server.start()
        with closing(Visitor(server)) as visitor:
            visitor.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            visitor.ask("flood")
            wait_until(lambda: room.open == 1, WAIT_S, "the flood")
            wait_until(lambda: room.open == 0, WAIT_S, "its end")
        server.stop()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 131072\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n" + b"x" * 0x20000, b"413"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_what_is_too_much_is_refused(visit: Callable[[], Visitor], request_bytes: bytes, status: bytes) -> None:
    visitor = visit()
    visitor.socket.sendall(request_bytes)
    assert visitor.read_to(b"\r\n").startswith(b"HTTP/1.1 " + status) or visitor.is_closed()


def test_what_the_application_may_refuse_in_its_own_words_gets_there(visit: Callable[[], Visitor]) -> None:
    visitor = visit()
    visitor.socket.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" + b"x" * 65536)
    visitor.read_to(b"hello")


def test_a_fault_of_the_application_shows_nothing_of_it(caplog: pytest.LogCaptureFixture) -> None:
    def broken(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        raise RuntimeError("a secret of the code")

    with listen("127.0.0.1", 0) as listener:
        server = Server(broken, listener, streams=1)
        server.start()
        with closing(Visitor(server)) as visitor:
            answer = visitor.ask("").read_to(b"\r\n\r\n")
        server.stop()
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"secret" not in answer
    assert "a secret of the code" in caplog.text


def test_closing_lets_nobody_in_and_cuts_nobody_off(room: Room, server: Server, visit: Callable[[], Visitor]) -> None:
    idle, busy, stream = visit(), visit().ask("held"), visit().ask("events")
    stream.read_to(b"welcome")
    idle.ask("").read_to(b"hello")
    assert room.asked.wait(WAIT_S)
    assert server.connections == 3

    def closed() -> bool:
        server.close()
        return server.connections == 2

    wait_until(closed, WAIT_S, "the end of the idle connection")
    assert idle.is_closed()
    with pytest.raises(OSError):
        wait_until(lambda: Visitor(server).close(), WAIT_S, "a refusal")
    assert room.open == 1
    room.stop()
    assert busy.read_to(b"hello")
    assert stream.read_to(b"bye")
    server.stop()
    wait_until(lambda: server.connections == 0, WAIT_S, "the end of all connections")


def test_stopping_cuts_those_who_do_not_end(server: Server, visit: Callable[[], Visitor], room: Room) -> None:
    visitor = visit().ask("flood")
    wait_until(lambda: room.open == 1, WAIT_S, "the flood")
    server.stop(0.1)
    wait_until(lambda: server.connections == 0, WAIT_S, "the end of all connections")
    assert visitor.is_closed()
    wait_until(lambda: room.open == 0, WAIT_S, "the end of the flood")


def test_stopping_twice_does_no_harm(server: Server) -> None:
    server.stop()
    server.stop()


def test_no_thread_is_left(room: Room) -> None:
    before = set(threading.enumerate())
    with listen("127.0.0.1", 0) as listener:
        server = Server(room, listener, streams=50)
        server.start()
        assert len(set(threading.enumerate()) - before) == 50 + server_module.WORKERS + 1
        server.stop()
    wait_until(lambda: not set(threading.enumerate()) - before, WAIT_S, "the end of the threads")


def test_other_threads_keep_their_stack(room: Room) -> None:
    with listen("127.0.0.1", 0) as listener:
        server = Server(room, listener, streams=1)
        assert threading.stack_size() == 0
        server.start()
        server.stop()


def test_a_server_that_fails_ends_it_all(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    with listen("127.0.0.1", 0) as listener:
        server = Server(room, listener, streams=1)
        monkeypatch.setattr(server._server, "run", lambda: 1 / 0)
        assert serve(server, room, room, StopSignals()) is False
    assert room.stopped.is_set()


def test_a_part_that_fails_does_not_keep_the_rest_from_ending(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Room):
        def stop(self, timeout_s: float = 0) -> None:
            raise RuntimeError("the disk is full")

    stop = StopSignals()
    stop.set()
    with listen("127.0.0.1", 0) as listener:
        server = Server(room, listener, streams=1)
        assert serve(server, Broken(), room, stop) is True
    assert room.stopped.is_set()
    assert "the disk is full" in caplog.text


# --- limits of the process ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "wanted", "allowed", "raised"),
    [
        ((1024, 4096), 500, 500, None),
        ((256, 4096), 500, 500, (564, 4096)),
        ((256, 300), 500, 236, (300, 300)),
        ((256, resource.RLIM_INFINITY), 500, 500, (564, resource.RLIM_INFINITY)),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 500, 500, None),
    ],
)
def test_there_are_never_more_connections_than_files(
    monkeypatch: pytest.MonkeyPatch, limits: Any, wanted: int, allowed: int, raised: Any
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, to: told.append(to))
    assert allowed_connections(wanted) == allowed
    assert told == ([] if raised is None else [raised])


# --- signals ------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys, threading, time
from hivemind_chatroom.server import *
from hivemind_chatroom.sockets import listen
stopped = threading.Event()
def app(environ, start):
    start("200 OK", [("Content-Type", "text/event-stream")])
    yield b": welcome\\n\\n"
    stopped.wait()
    yield b"event: bye\\n\\n"
class Part:
    def __init__(self, end): self.end = end
    def start(self): pass
    def stop(self, timeout_s=0): self.end()
def end():
    print("ending", flush=True)
    if "hang" in sys.argv: time.sleep(60)
    stopped.set()
stop = StopSignals()
stop.install()
if "input" in sys.argv: end_with_input(stop)
with listen("127.0.0.1", 0) as listener:
    server = Server(app, listener, 210)
    print("port", server.port, flush=True)
    sys.exit(0 if serve(server, Part(end), Part(lambda: None), stop) else 1)
"""


def program(children: Children, *arguments: str) -> tuple[Child, int]:
    child = children.spawn("server", [sys.executable, "-c", PROGRAM, *arguments])
    return child, int(child.wait_line("port").split()[1])


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_says_good_bye_to_all_streams(children: Children, number: str) -> None:
    child, port = program(children)
    with ExitStack() as stack:
        streams = []
        for _ in range(200):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=WAIT_S))
            one.sendall(GET % b"events")
            streams.append(one)
        for one in streams:
            read_to(one, b"welcome")
        child.process.send_signal(getattr(signal, number))
        assert child.wait_exit(WAIT_S) == 0
        for one in streams:
            read_to(one, b"event: bye")
    assert "Traceback" not in child.output()


def test_a_second_signal_ends_it_at_once(children: Children) -> None:
    child, _ = program(children, "hang")
    child.process.terminate()
    child.wait_line("ending")
    child.process.terminate()
    assert child.wait_exit(WAIT_S) == -15


def test_it_can_end_with_who_started_it(children: Children) -> None:
    child, _ = program(children, "input")
    child.write("anything\n")
    child.close_stdin()
    assert child.wait_exit(WAIT_S) == 0


def test_it_logs_that_it_ends(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stop = StopSignals()
    stop.set()
    with listen("127.0.0.1", 0) as listener:
        serve(Server(room, listener, streams=1), room, room, stop)
    assert "shutting down" in caplog.text
