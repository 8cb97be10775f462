"""The names under which programs know the released chatroom."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TAKEN_CLIENT = """
import sys
from hivemind_chatroom.__main__ import MessageHandler, app

class Bus:
    def __init__(self): self.handlers, self.sent = {}, []
    def on_mycroft(self, name, handler): self.handlers[name] = handler
    def emit(self, message): self.sent.append(message)
    def emit_mycroft(self, message): self.sent.append(message)

bus = Bus()
MessageHandler.connect(bus=bus)
assert "speak" in bus.handlers
page = app.test_client().get("/")
assert page.status_code == 302, page.status
assert page.headers["Location"].endswith("/chatroom/anon_user/flask/en"), page.headers
assert app.test_client().get("/chatroom/alice/kitchen/en").status_code == 200
fields = {"username": "alice", "site_id": "kitchen", "lang": "en", "message": "hello"}
assert app.test_client().post("/send_message", data=fields).status_code == 302
assert "hello" in app.test_client().get("/messages").get_data(as_text=True)
"""

NOTHING_TOUCHED = """
import builtins, os, socket, sys
home = os.environ["HOME"]
def refuse(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo"):
        raise RuntimeError(f"{event} {arguments}")
    if event in ("open", "os.mkdir", "os.listdir") and str(arguments[0]).startswith(home):
        raise RuntimeError(f"{event} {arguments}")
sys.addaudithook(refuse)
from hivemind_chatroom.__main__ import MessageHandler, app, main, platform
from hivemind_chatroom.version import VERSION_ALPHA, VERSION_BUILD, VERSION_MAJOR, VERSION_MINOR
assert platform == "JarbasFlaskChatRoomV0.2"
import flask
assert isinstance(app, flask.Flask) and callable(main)
"""

WITHOUT_FLASK = """
import sys
sys.modules["flask"] = sys.modules["waitress"] = None
from hivemind_chatroom.__main__ import main
sys.argv = ["hivemind-flask-chatroom", "--key", "k", "--password", "p", "--hub-host", "ws://127.0.0.1"]
main()
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_importing_it_touches_nothing(own_home: Path) -> None:
    done = run(NOTHING_TOUCHED)
    assert done.returncode == 0, done.stderr
    assert list(own_home.rglob("*")) == []


def test_a_client_can_be_brought_along() -> None:
    done = run(TAKEN_CLIENT)
    assert done.returncode == 0, done.stderr


def test_without_flask_it_says_what_to_install() -> None:
    done = run(WITHOUT_FLASK)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The chatroom needs ")
    assert "pip install 'hivemind-mesh[chatroom]'" in done.stderr


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "hivemind_chatroom", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: hivemind-flask-chatroom ")
