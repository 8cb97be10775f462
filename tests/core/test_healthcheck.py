"""`healthcheck`: whether the hub of this machine greets, told by the exit code."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection, serve

from helpers.hub_commands import Ran, hub_command
from helpers.live_hub import LiveHub
from helpers.processes import free_port
from hivemind_core import whereabouts
from hivemind_core.config import CertificateFiles, Config, HTTPConfig, WebSocketConfig
from hivemind_core.healthcheck import front_of

LOCAL = "127.0.0.1"
PATIENTLY = ("--timeout", "60")


def check(port: int, *options: str) -> Ran:
    return hub_command("healthcheck", "--host", LOCAL, "--port", str(port), *PATIENTLY, *options)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path / "server.json")


@contextmanager
def answering(handler: Callable[[ServerConnection], None]) -> Iterator[int]:
    """A WebSocket server that is no hub; its port."""
    with serve(handler, LOCAL, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


async def test_a_hub_that_greets_is_healthy(tmp_path: Path) -> None:
    async with LiveHub(tmp_path / "hub") as live:
        for _ in range(12):  # more than the failures that a stranger may have
            ran = await asyncio.to_thread(check, live.port)
            assert (ran.code, ran.err) == (0, ""), ran
        assert ran.out == f"The hub at ws://127.0.0.1:{live.port}/_healthz is healthy.\n"
        assert not live.hub.door.handshaking
        assert not live.hub.admission.limits.stranger_waits(LOCAL, 0.0)


async def test_one_with_tls_is_asked_with_its_own_certificate(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (tmp_path / "hivemind-core").mkdir()
    tls = WebSocketConfig(LOCAL, 0, tls=CertificateFiles(tmp_path))
    async with LiveHub(tmp_path / "hub", websocket=tls) as live:
        whereabouts.announce(Config(tmp_path / "server.json", websocket=tls), live.port)
        ran = await asyncio.to_thread(hub_command, "healthcheck", *PATIENTLY)
    assert (ran.code, ran.out) == (0, f"The hub at wss://127.0.0.1:{live.port}/_healthz is healthy.\n"), ran


def test_where_nothing_listens_it_is_not() -> None:
    ran = check(free_port())
    assert ran.code == 1
    assert "is not healthy: " in ran.error


def test_a_socket_that_never_answers_is_not() -> None:
    with socket.create_server((LOCAL, 0)) as silent:
        ran = check(silent.getsockname()[1], "--timeout", "0.2")
    assert ran.code == 1
    assert "is not healthy: " in ran.error


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "hello",
        "[]",
        '{"msg_type": "hello"}',
        '{"msg_type": "bus", "payload": {"node_id": "x"}}',
        b"\xff",
        "[" * 200_000,
    ],
    ids=lambda sent: repr(sent)[:60],
)
def test_another_server_is_not(sent: str | bytes) -> None:
    with answering(lambda connection: connection.send(sent)) as port:
        ran = check(port)
    assert ran.code == 1
    assert "is not healthy: " in ran.error


def test_one_that_says_nothing_is_not() -> None:
    with answering(lambda connection: connection.wait_closed()) as port:  # type: ignore[attr-defined]
        ran = check(port, "--timeout", "0.2")
    assert ran.code == 1


@pytest.mark.parametrize(("status", "code"), [(204, 0), (200, 1), (404, 1), (500, 1)])
def test_a_hub_that_serves_http_alone_is_asked_there(
    status: int, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/_healthz" else 400)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    file = tmp_path / "server.json"
    with HTTPServer((LOCAL, 0), Answer) as server:
        port = server.server_address[1]
        block = {"hivemind-http-plugin": {"host": LOCAL, "port": port}}
        file.write_text(json.dumps({"network_protocol": block}), "utf-8")
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        ran = hub_command("--config", str(file), "healthcheck", *PATIENTLY)
        thread.join()
    assert ran.code == code, ran


REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/_healthz\r\nContent-Length: 0\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n"


@contextmanager
def replying(*pieces: bytes) -> Iterator[int]:
    """A server that answers the first request with these bytes, each a moment after the other; its port."""

    def serve_one() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(4096)
            for piece in pieces:
                connection.sendall(piece)
                connection.settimeout(0.05)
                with suppress(TimeoutError, socket.timeout):
                    if not connection.recv(1):
                        return

    with socket.create_server((LOCAL, 0)) as listener:
        thread = threading.Thread(target=serve_one)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(60)


def check_http(tmp_path: Path, port: int, *options: str) -> Ran:
    file = tmp_path / "server.json"
    block = {"hivemind-http-plugin": {"host": LOCAL, "port": port}}
    file.write_text(json.dumps({"network_protocol": block}), "utf-8")
    return hub_command("--config", str(file), "healthcheck", *PATIENTLY, *options)


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-\x1b[31m\r\n", b"", NO_CONTENT + b"a: b\r\n" * 200, NO_CONTENT + b"a" * 70_000], ids=range(4)
)
def test_what_is_no_http_is_told_in_one_line(answer: bytes, tmp_path: Path) -> None:
    with replying(answer) as port:
        ran = check_http(tmp_path, port)
    assert ran.code == 1
    assert "is not healthy: " in ran.error
    assert ran.error.isprintable()


def test_who_sends_it_elsewhere_does_not_answer_for_it(tmp_path: Path) -> None:
    with replying(NO_CONTENT + b"\r\n") as elsewhere:
        with replying(REDIRECT % elsewhere) as port:
            ran = check_http(tmp_path, port)
        socket.create_connection((LOCAL, elsewhere)).close()
    assert ran.error.endswith("it answers 302.")


def test_an_answer_that_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    with replying(NO_CONTENT, *[b"a: b\r\n"] * 40, b"\r\n") as port:
        ran = check_http(tmp_path, port, "--timeout", "0.5")
    assert ran.error.endswith("it did not answer within 0.5 s.")


def test_what_a_server_says_steers_no_terminal() -> None:
    with answering(lambda connection: connection.close(1008, "\x1b[31mred\a")) as port:
        ran = check(port)
    assert ran.error.isprintable()


def test_where_it_listens_counts_more_than_what_is_configured(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (tmp_path / "hivemind-core").mkdir()
    whereabouts.announce(Config(config.path, websocket=WebSocketConfig("0.0.0.0", 5678)), 20678)
    assert front_of(config, None, None).port == 20678
    assert front_of(config, None, 5679) == WebSocketConfig("0.0.0.0", 5679)
    http = Config(config.path, http=HTTPConfig(LOCAL, 5679), serves_websocket=False)
    assert front_of(http, "10.0.0.1", None) == HTTPConfig("10.0.0.1", 5679)
