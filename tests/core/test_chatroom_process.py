from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from helpers.processes import free_port as some_port
from hivemind_core import chatroom_process
from hivemind_core.chatroom_process import ChatroomProcess, environment, free_port, is_installed
from hivemind_core.clients import Client

CLIENT = Client(1, "the-key", "chatroom", password="the-password")
WAIT_S = 60.0


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What runs in place of the chatroom."""
    monkeypatch.setattr(chatroom_process, "MODULE", "stand_in")
    return tmp_path / "stand_in.py"


def started(program: Path, code: str) -> ChatroomProcess:
    program.write_text(f"import os, signal, sys, time\n{code}\n")
    return ChatroomProcess({**os.environ, "PYTHONPATH": str(program.parent)})


async def ended(room: ChatroomProcess) -> None:
    assert room._watch is not None
    await asyncio.wait_for(room._watch, WAIT_S)


async def printed(capfd: pytest.CaptureFixture[str]) -> str:
    """What was shown, once there is something."""
    for _ in range(3000):
        shown = capfd.readouterr().out
        if shown:
            return shown
        await asyncio.sleep(0.02)
    raise AssertionError("nothing was printed")


async def test_what_it_prints_is_shown(program: Path, capfd: pytest.CaptureFixture[str]) -> None:
    room = started(program, "print('open at http://localhost:1'); print('noise', file=sys.stderr); sys.stdin.read()")
    await room.start()
    assert await printed(capfd) == "open at http://localhost:1\n"
    await room.stop()
    assert capfd.readouterr().err == ""


async def test_it_ends_with_the_hub(program: Path) -> None:
    room = started(program, "print('up', flush=True); time.sleep(60)")
    await room.start()
    await room.stop()
    assert room._process is not None
    assert room._process.returncode == -15
    await room.stop()


async def test_what_does_not_end_is_ended(
    program: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chatroom_process, "STOP_S", 0.2)
    room = started(program, "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)")
    await room.start()
    assert await printed(capfd) == "deaf\n"
    await room.stop()
    assert room._process is not None
    assert room._process.returncode == -9


async def test_its_last_words_are_shown(program: Path, capfd: pytest.CaptureFixture[str]) -> None:
    room = started(program, "print('Error: the port is taken', file=sys.stderr); sys.exit(1)")
    await room.start()
    await ended(room)
    assert capfd.readouterr().err == (
        "The chatroom ended (exit status 1); the hub goes on. It said:\n    Error: the port is taken\n"
    )
    await room.stop()


async def test_much_noise_is_cut(program: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = "[print('line', number, file=sys.stderr) for number in range(9999)]; print('x' * 300_000, file=sys.stderr)"
    room = started(program, code)
    await room.start()
    await ended(room)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 + chatroom_process.LAST_LINES
    assert lines[-2] == "    line 9998"
    assert len(lines[-1]) < 2000


async def test_that_it_cannot_start_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    room = ChatroomProcess({})
    await room.start()
    await room.stop()
    assert "the chatroom cannot be started" in caplog.text


def arguments_of(room: ChatroomProcess) -> bytes:
    assert room._process is not None
    return Path(f"/proc/{room._process.pid}/cmdline").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_nobody_sees_credentials_in_the_list_of_processes(
    program: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    room = started(program, "print('up', flush=True); sys.stdin.read()")
    room._environ |= environment(CLIENT, "ws://127.0.0.1", 5678, {})
    await room.start()
    await printed(capfd)
    arguments = arguments_of(room)
    await room.stop()
    assert b"stand_in" in arguments
    assert b"the-" not in arguments


def test_it_is_told_by_its_environment() -> None:
    found = environment(CLIENT, "wss://127.0.0.1", 7, {"HOME": "/home/me"})
    port = found.pop("HIVEMIND_CHATROOM_PORT")
    assert int(port) >= chatroom_process.PORT
    assert found == {
        "HOME": "/home/me",
        "HIVEMIND_CHATROOM_KEY": "the-key",
        "HIVEMIND_CHATROOM_PASSWORD": "the-password",
        "HIVEMIND_CHATROOM_HUB_HOST": "wss://127.0.0.1",
        "HIVEMIND_CHATROOM_HUB_PORT": "7",
        "HIVEMIND_CHATROOM_APP": "quick-start-chatroom",
        "HIVEMIND_CHATROOM_LOG_LEVEL": "INFO",
    }


def test_what_is_set_for_it_counts() -> None:
    given = {"HIVEMIND_CHATROOM_PORT": "80", "HIVEMIND_CHATROOM_LOG_LEVEL": "ERROR", "HIVEMIND_CHATROOM_KEY": "other"}
    found = environment(CLIENT, "ws://127.0.0.1", 7, given)
    assert found["HIVEMIND_CHATROOM_PORT"] == "80"
    assert found["HIVEMIND_CHATROOM_LOG_LEVEL"] == "ERROR"
    assert found["HIVEMIND_CHATROOM_KEY"] == "the-key"


def test_a_port_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert port < free_port("127.0.0.1", port) < port + chatroom_process.PORTS_TRIED
        assert port < free_port("0.0.0.0", port)
        monkeypatch.setattr(chatroom_process, "PORTS_TRIED", 1)
        with pytest.raises(OSError, match=str(port)):
            free_port("127.0.0.1", port)
    port = some_port()
    assert free_port("127.0.0.1", port) == port


@pytest.mark.parametrize("missing", ["hivemind_chatroom", "flask", "waitress"])
def test_without_its_packages_it_is_not_installed(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    assert is_installed()
    find = chatroom_process.find_spec
    monkeypatch.setattr(chatroom_process, "find_spec", lambda name: None if name == missing else find(name))
    assert not is_installed()
