"""Hub and chatroom under a service manager that is only a socket: what they tell it, and what their logs look like."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.chatroom_process import BIN, KEY, PASSWORD, ChatroomProcess
from helpers.hub_process import HubProcess
from helpers.processes import Child, Children, free_port, wait_until

WAIT_S = 60.0


class ServiceManager:
    """Its end of the socket, with everything that was said to it and when."""

    def __init__(self, address: str) -> None:
        self.environ = {"NOTIFY_SOCKET": address}
        self.said: list[tuple[float, str]] = []
        self.senders: set[int] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(address.replace("@", "\0", 1))
        self._socket.setblocking(False)

    def listen(self) -> list[str]:
        """Every line so far."""
        try:
            while True:
                data, credentials, *_ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
                self.senders.add(int.from_bytes(credentials[0][2][:4], "little"))
                self.said += [(time.monotonic(), line) for line in data.decode().split("\n")]
        except BlockingIOError:
            return [line for _, line in self.said]

    def wait(self, line: str, child: Child) -> None:
        wait_until(lambda: line in self.listen(), WAIT_S, f"{line!r} among {self.listen()}\n{child.tail()}")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServiceManager]:
    made = ServiceManager(str(tmp_path / "notify") if request.param == "file" else f"@hivemind-{uuid.uuid4().hex}")
    yield made
    made.close()


@pytest.fixture
def hub(children: Children) -> HubProcess:
    made = HubProcess(children, BIN / "hivemind-core", free_port())
    made.configure({"agent_protocol": {"module": "builtin"}})
    made.add_client(KEY, PASSWORD, name="chatroom")
    return made


def start(hub: HubProcess, *options: str, **environ: str) -> Child:
    return hub._children.spawn("hub", [BIN / "hivemind-core", "listen", *options], hub.home, environ)


def test_a_hub_from_start_to_end(children: Children, hub: HubProcess, manager: ServiceManager) -> None:
    child = start(hub, **manager.environ)
    manager.wait("READY=1", child)
    with socket.create_connection(("127.0.0.1", hub.port), timeout=60):
        pass
    serving = f"STATUS=Listening on ws://127.0.0.1:{hub.port}, {{}}, assistant builtin answers"
    manager.wait(serving.format("0 satellites"), child)
    room = ChatroomProcess(children, hub.port)
    room.start()
    manager.wait(serving.format("1 satellite"), child)
    room.stop()
    manager.wait(serving.format("0 satellites"), child)
    assert child.stop() == 0
    assert [line for line in manager.listen() if not line.startswith("STATUS=")] == ["READY=1", "STOPPING=1"]
    assert manager.senders == {child.pid}


def test_a_chatroom_from_start_to_end(children: Children, hub: HubProcess, manager: ServiceManager) -> None:
    room = ChatroomProcess(children, hub.port)
    credentials = {"SAT_KEY": KEY, "SAT_PASSWORD": PASSWORD, "SAT_HOST": "ws://127.0.0.1", "SAT_PORT": str(hub.port)}
    child = room.spawn(env={**manager.environ, **credentials}, linked=False)
    manager.wait("READY=1", child)
    manager.wait(f"STATUS=Serving port {room.port}, The hub cannot be reached.", child)
    start(hub)
    manager.wait(f"STATUS=Serving port {room.port}, connected to the hub", child)
    assert room.stop() == 0
    assert [line for line in manager.listen() if not line.startswith("STATUS=")] == ["READY=1", "STOPPING=1"]
    assert manager.senders == {child.pid}


def chatroom(children: Children, hub: HubProcess, environ: dict[str, str]) -> Child:
    room = ChatroomProcess(children, hub.port)
    given = {"SAT_KEY": KEY, "SAT_PASSWORD": PASSWORD, "SAT_HOST": "ws://127.0.0.1", "SAT_PORT": str(hub.port)}
    return room.spawn(env={**given, **environ}, linked=False)


@pytest.mark.parametrize(
    "begin",
    [lambda children, hub, environ: start(hub, **environ), chatroom],
    ids=["hub", "chatroom"],
)
def test_a_watchdog_hears_of_a_process_that_runs_and_not_of_one_that_is_stuck(
    children: Children, hub: HubProcess, tmp_path: Path, begin: Callable[[Children, HubProcess, dict[str, str]], Child]
) -> None:
    manager = ServiceManager(str(tmp_path / "notify"))
    child = begin(children, hub, {**manager.environ, "WATCHDOG_USEC": "300000"})
    manager.wait("READY=1", child)
    wait_until(lambda: manager.listen().count("WATCHDOG=1") > 5, WAIT_S, "the watchdog's food")
    child.process.send_signal(signal.SIGSTOP)
    os.waitpid(child.pid, os.WUNTRACED)
    before = len(manager.listen())
    time.sleep(0.5)
    assert len(manager.listen()) == before
    child.process.send_signal(signal.SIGCONT)
    wait_until(lambda: len(manager.listen()) > before, WAIT_S, "a sign of life")
    child.stop()
    manager.close()


def test_what_the_hub_starts_does_not_speak_for_it(children: Children, hub: HubProcess, tmp_path: Path) -> None:
    manager = ServiceManager(str(tmp_path / "notify"))
    environ = {**manager.environ, "HIVEMIND_CHATROOM_PORT": str(free_port()), "HIVEMIND_CHATROOM_HOST": "127.0.0.1"}
    child = start(hub, "--quick-start", **environ)
    child.wait_output("The chatroom is open at", WAIT_S)
    manager.wait("READY=1", child)
    wait_until(lambda: any("1 satellite," in line for line in manager.listen()), WAIT_S, "the chatroom at the hub")
    child.stop()
    manager.listen()
    assert manager.senders == {child.pid}
    manager.close()


def test_one_that_cannot_run_says_nothing(hub: HubProcess, manager: ServiceManager) -> None:
    hub.configure({"agent_protocol": {"module": "nope"}})
    assert start(hub, **manager.environ).wait_exit() == 2
    assert manager.listen() == []


def test_that_nobody_hears_it_is_no_reason_to_fail(hub: HubProcess, tmp_path: Path) -> None:
    child = start(hub, NOTIFY_SOCKET=str(tmp_path / "nobody"), WATCHDOG_USEC="1000000")
    child.wait_output("the service manager does not hear this process", WAIT_S)
    child.wait_port(hub.port)
    assert child.stop() == 0


# --- logs -----------------------------------------------------------------------------------------------------


def stderr_lines(child: Child) -> list[str]:
    return child.stderr.read_text("utf-8").splitlines()


@pytest.mark.parametrize("by", ["option", "environment", "file"])
def test_json(hub: HubProcess, by: str) -> None:
    options = ["--log-format", "json", "--log-level", "debug"] if by == "option" else []
    environ = {"HIVEMIND_LOG_FORMAT": "json", "HIVEMIND_LOG_LEVEL": "debug"} if by == "environment" else {}
    more = {"log_format": "json", "log_level": "DEBUG"} if by == "file" else {}
    hub.configure({"agent_protocol": {"module": "builtin"}, "surprise": 1, **more})
    child = start(hub, *options, **environ)
    child.wait_output("listening on", WAIT_S)
    child.stop()
    entries = [json.loads(line) for line in stderr_lines(child)]
    assert all({*entry} == {"time", "level", "logger", "message"} for entry in entries)
    assert {entry["level"] for entry in entries} >= {"INFO", "WARNING"}
    assert any(entry["message"].startswith("listening on") for entry in entries)


def test_the_journal_where_the_log_goes_there(children: Children, hub: HubProcess) -> None:
    script = 'export JOURNAL_STREAM="$(stat -L -c %d:%i /proc/$$/fd/2)"; exec "$0" listen'
    child = children.spawn("hub", ["sh", "-c", script, BIN / "hivemind-core"], hub.home)
    child.wait_output("listening on", WAIT_S)
    child.stop()
    assert f"<6>hivemind_core.service: listening on ws://127.0.0.1:{hub.port}" in stderr_lines(child)


def test_the_chatroom_has_the_same_choice(children: Children, hub: HubProcess) -> None:
    room = ChatroomProcess(children, hub.port, "--log-path", "stdout", "--log-format", "json")
    start(hub).wait_port(hub.port)
    child = room.start()
    room.stop()
    lines = [line for line in child.stdout.read_text("utf-8").splitlines() if line.startswith("{")]
    assert any(json.loads(line)["message"] == "connected to the hub" for line in lines)
    assert KEY not in child.output()
    assert PASSWORD not in child.output()
    script = 'export JOURNAL_STREAM="$(stat -L -c %d:%i /proc/$$/fd/1)"; exec "$0" "$@" --log-path stdout'
    where = ["--port", str(free_port()), "--key", KEY, "--password", PASSWORD, "--hub-host", "ws://127.0.0.1"]
    argv = ["sh", "-c", script, BIN / "hivemind-flask-chatroom", *where, "--hub-port", str(hub.port)]
    there = children.spawn("journal", argv, room.home)
    there.wait_output("<6>hivemind_chatroom.hive: connected to the hub", WAIT_S)
    there.stop()
