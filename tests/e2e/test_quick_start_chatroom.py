"""`make run`: one command starts a hub with an assistant, and a chatroom in front of it; both end together."""

from __future__ import annotations

import json
import re
import socket
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from helpers.processes import Child, Children, Home, free_port, port_open, wait_until

BIN = Path(sys.executable).parent
RUN = [BIN / "hivemind-core", "listen", "--agent", "embedded", "--quick-start"]
WAIT_S = 60.0
OPEN = "The chatroom is open at "


class QuickStart:
    """What the command starts, in a home of its own and on free ports."""

    def __init__(self, children: Children) -> None:
        self.children = children
        self.home = children.home("account")
        self.port = free_port()
        config = {
            "network_protocol": {"hivemind-websocket-plugin": {"host": "127.0.0.1", "port": self.port}},
            "agent_protocol": {"module": "embedded", "embedded": {"host": "127.0.0.1", "port": free_port()}},
            "presence": {"enabled": False},
        }
        path = self.home.config / "hivemind-core" / "server.json"
        path.parent.mkdir()
        path.write_text(json.dumps(config), "utf-8")

    def run(self, **environ: str) -> Child:
        return self.children.spawn("run", RUN, self.home, {"HIVEMIND_CHATROOM_HOST": "127.0.0.1", **environ})

    def log(self) -> str:
        return (self.home.state / "hivemind" / "flask-chat.log").read_text("utf-8")


@pytest.fixture
def quick_start(children: Children) -> QuickStart:
    return QuickStart(children)


def address(run: Child) -> str:
    """The address it prints."""
    return run.wait_line(OPEN, WAIT_S).partition(OPEN)[2].strip()


def request(url: str, method: str, path: str, fields: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Status, body and where it leads."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=WAIT_S)
    try:
        body = urlencode(fields) if fields is not None else None
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if fields is not None else {}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8"), answer.headers.get("Location", "")
    finally:
        connection.close()


def messages(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(request(url, "GET", "/messages")[1])
    return found


def talk(url: str, text: str) -> dict[str, Any]:
    """Say something as a script would, and return the answer to it."""
    fields = {"username": "alice", "site_id": "kitchen", "lang": "en", "message": text}
    assert request(url, "POST", "/send_message", fields)[0] == 302

    def answer() -> dict[str, Any] | None:
        found = messages(url)
        asked = [entry["id"] for entry in found if entry["role"] == "user" and entry["text"] == text]
        return next((entry for entry in found if asked and entry["reply_to"] == asked[-1]), None)

    found: dict[str, Any] = wait_until(answer, WAIT_S, f"the answer to {text!r}")
    return found


def test_one_command_to_an_answer_in_the_browser(quick_start: QuickStart) -> None:
    run = quick_start.run(HIVEMIND_CHATROOM_PORT=str(free_port()))
    url = address(run)
    status, _, where = request(url, "GET", "/")
    assert (status, where) == (302, "/chatroom/anon_user/flask/en")
    status, page, _ = request(url, "GET", where)
    assert status == 200
    assert "<html" in page
    answer = talk(url, "hello")
    assert answer["incoming"]
    assert answer["username"] == "HiveMind"
    assert answer["message"].startswith("@alice - ")
    assert run.stop() == 0
    for port in (urlsplit(url).port or 0, quick_start.port):
        wait_until(lambda port=port: not port_open(port), WAIT_S, f"the end of what listens at {port}")
    assert "Traceback" not in run.output() + quick_start.log()


def test_the_next_start_finds_all_as_it_was(quick_start: QuickStart) -> None:
    """The same client and the same keys: the hub, which has pinned them, lets the chatroom in again."""
    port, told = str(free_port()), []
    for text in ("hello", "hello again"):
        run = quick_start.run(HIVEMIND_CHATROOM_PORT=port)
        talk(address(run), text)
        told.append(sorted(path.name for path in (quick_start.home.config / "hivemind").rglob("*_noise.key")))
        assert run.stop() == 0
    assert told[0] == told[1]
    assert len(told[0]) == 1
    listed = quick_start.children.run("list", [BIN / "hivemind-core", "list-clients", "--json"], quick_start.home)
    assert sorted(client["name"] for client in json.loads(listed)) == ["chatroom", "first-satellite"]


def test_no_secret_is_in_the_log(quick_start: QuickStart) -> None:
    run = quick_start.run(HIVEMIND_CHATROOM_PORT=str(free_port()), HIVEMIND_CHATROOM_LOG_LEVEL="DEBUG")
    talk(address(run), "a confidential question")
    run.stop()
    shown = quick_start.children.run(
        "list", [BIN / "hivemind-core", "list-clients", "--json", "--show-secrets"], quick_start.home
    )
    (room,) = (client for client in json.loads(shown) if client["name"] == "chatroom")
    log = quick_start.log()
    assert "POST /send_message 302" in log
    for secret in ("confidential", room["password"], room["access_key"]):
        assert secret not in log
    assert not re.search(r"authorization=", log)


def test_a_port_that_is_taken_is_passed_over(quick_start: QuickStart) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8985))
            taken.listen()
        except OSError:
            pass  # somebody else has it, which is as good
        url = address(quick_start.run())
        assert (urlsplit(url).port or 0) > 8985
        assert request(url, "GET", "/healthz")[0] == 200


def test_it_ends_with_a_hub_that_is_killed(quick_start: QuickStart) -> None:
    run = quick_start.run(HIVEMIND_CHATROOM_PORT=str(free_port()))
    port = urlsplit(address(run)).port or 0
    run.process.kill()
    wait_until(lambda: not port_open(port), WAIT_S, "the end of the chatroom")


def test_the_hub_goes_on_without_it(quick_start: QuickStart) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = quick_start.run(HIVEMIND_CHATROOM_PORT=str(port))
        run.wait_output("The chatroom ended (exit status 1); the hub goes on.", WAIT_S)
        run.wait_output("another program listens there", WAIT_S)
    assert run.running
    assert port_open(quick_start.port)
    assert run.stop() == 0


def test_a_home_is_a_home(quick_start: QuickStart) -> None:
    """Nothing of it is readable by others."""
    run = quick_start.run(HIVEMIND_CHATROOM_PORT=str(free_port()), HIVEMIND_CHATROOM_HISTORY=_history(quick_start.home))
    talk(address(run), "hello")
    run.stop()
    ours = [*quick_start.home.state.rglob("*"), *(quick_start.home.config / "hivemind").rglob("*")]
    files = {path.name: path.stat().st_mode & 0o077 for path in ours if path.is_file()}
    assert {"flask-chat.log", "secret", "rooms.db"} <= files.keys()
    assert set(files.values()) == {0}


def _history(home: Home) -> str:
    return str(home.state / "rooms.db")
