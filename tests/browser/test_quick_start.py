"""The released README's quick start, word for word but for the ports, in a fresh account, up to the reply on screen."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from playwright.sync_api import expect

from helpers.browser import Browsing
from helpers.chatroom_process import BIN
from helpers.processes import Child, Children, Home, free_port
from helpers.room_page import RoomPage

HUB, PAGE = "5678", "8985"


class Terminal:
    """What somebody types, in an account where nothing of HiveMind has ever run."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._home: Home = children.home("account")
        self._ports = {HUB: str(free_port()), PAGE: str(free_port())}
        self._secrets: dict[str, str] = {}

    def type(self, line: str) -> Child:
        """Type a command line."""
        for words, real in {**self._ports, **self._secrets}.items():
            line = line.replace(words, real)
        program, *arguments = shlex.split(line)
        return self._children.spawn(arguments[0], [BIN / program, *arguments], self._home)

    def run(self, line: str) -> str:
        """Type a command line and read what it prints to its end."""
        child = self.type(line)
        child.close_stdin()
        assert child.wait_exit() == 0, child.tail()
        return child.stdout.read_text("utf-8")

    def note(self, placeholder: str, printed: str, label: str) -> None:
        """Read off what is to be put in a placeholder's place."""
        found = re.search(rf"^{label}: *(\S+)$", printed, re.MULTILINE)
        assert found, printed
        self._secrets[placeholder] = found[1]

    def wait_port(self, child: Child, documented: str) -> int:
        port = int(self._ports[documented])
        child.wait_port(port)
        return port

    @property
    def folder(self) -> Path:
        return self._home.config


@pytest.mark.timeout(180)
def test_the_quick_start_ends_with_a_reply_on_the_screen(children: Children, browsing: Browsing) -> None:
    terminal = Terminal(children)
    printed = terminal.run("hivemind-core add-client")
    terminal.note("<access-key>", printed, "Access Key")
    terminal.note("<password>", printed, "Password")
    terminal.wait_port(terminal.type("hivemind-core listen --port 5678"), HUB)
    terminal.run(
        "hivemind-client set-identity"
        " --key <access-key>"
        " --password <password>"
        " --host 127.0.0.1 --port 5678"
        " --siteid flask"
    )
    assert (terminal.folder / "hivemind" / "_identity.json").exists()
    tested = terminal.run("hivemind-client test-identity")
    assert "== Identity successfully connected to HiveMind!" in tested
    port = terminal.wait_port(terminal.type("hivemind-flask-chatroom --port 8985"), PAGE)

    window = RoomPage(browsing.page(), f"http://localhost:{port}")
    expect(window.page).to_have_url(f"http://localhost:{port}/chatroom/anon_user/flask/en")
    window.wait_live()
    window.say("what time is it")
    answer = window.messages.last.locator(".text")
    expect(answer).to_have_text(re.compile(r"^@anon_user - It is \d\d:\d\d\.$"))

    alice = RoomPage(window.page, f"http://localhost:{port}", "alice", "livingroom", "en")
    alice.wait_live()
    alice.say("what time is it")
    expect(alice.messages.last.locator(".text")).to_have_text(re.compile(r"^@alice - It is \d\d:\d\d\.$"))
