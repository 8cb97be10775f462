"""Applications from the package index, unchanged, on our client library in the place of the one they were made for."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from helpers import bus_stub
from helpers.hub_process import HOST, UTTERANCE, HubProcess
from helpers.pair import DRIVERS, KEY, OUR_PROGRAMS, PASSWORD, RECONNECT_S, cannot_run
from helpers.processes import Child, ChildError, Children, free_port, json_lines, wait_until
from helpers.released import CALLER, PINS, EnvironmentFailed, build_wheels, make_environment

ROOT = Path(__file__).parents[2]
WHEREABOUTS = {"PYTHONPATH": str(DRIVERS / "whereabouts")}
ASKED_AGAIN_S = 1.0
APPLICATIONS = ("flask-chatroom", "cli", "deltachat")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What stands in for the released library, from this tree."""
    folder = tmp_path_factory.mktemp("wheels")
    try:
        build_wheels([ROOT, ROOT / "packages" / "hivemind_bus_client"], folder)
    except EnvironmentFailed as error:
        cannot_run(f"no wheels of ours: {error}")
    return sorted(str(wheel) for wheel in folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheels: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Installs an application with our library; the folder of its programs."""
    made: dict[str, Path] = {}

    def install(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp(name) / "environment"
            pins = PINS / f"app-{name}.txt"
            try:
                made[name] = make_environment(folder, ["--no-deps", "-r", str(pins), *wheels])
            except EnvironmentFailed as error:
                cannot_run(f"no environment for {name}: {error}")
        return made[name]

    return install


@dataclass
class Stage:
    """A hub of ours, with a bus whose skill repeats what it hears, and one application at it."""

    children: Children
    installed: Callable[[str], Path]
    wheels: list[str]
    record: Path = field(init=False)
    hub: HubProcess = field(init=False)

    def __post_init__(self) -> None:
        self.record = self.children.folder / "bus.jsonl"
        stub: list[str | Path] = [OUR_PROGRAMS / "python", bus_stub.__file__, "--record", self.record]
        bus = self.children.spawn("bus", stub)
        self.hub = HubProcess(self.children, OUR_PROGRAMS / "hivemind-core", bus.expect("ready")["port"])
        self.hub.add_client(KEY, PASSWORD)
        self.hub.start()

    def start(self, name: str, program: str, *arguments: str | Path) -> Child:
        """Start an application on a device whose identity was set as documented."""
        programs, home = self.installed(name), self.children.home(name)
        hub = ["--host", f"ws://{HOST}", "--port", str(self.hub.port)]
        identity = ["--key", KEY, "--password", PASSWORD, "--siteid", "kitchen", *hub]
        self.children.run("set-identity", [programs / "hivemind-client", "set-identity", *identity], home)
        return self.children.spawn(name, [programs / program, *arguments], home, WHEREABOUTS)

    def assert_runs_on_ours(self, application: Child) -> None:
        """The library that this very process has loaded is the one built from this tree."""
        package = Path(state_of(application)["file"]).parent
        (wheel,) = (wheel for wheel in self.wheels if "hivemind_mesh" in wheel)
        with zipfile.ZipFile(wheel) as ours:
            modules = [name for name in ours.namelist() if name.startswith("hivemind_bus_client/")]
            assert [name for name in modules if (package.parent / name).read_bytes() != ours.read(name)] == []
        assert {path.name for path in package.glob("*.py")} <= {Path(name).name for name in modules}

    def on_the_bus(self, topic: str) -> list[dict[str, Any]]:
        """The messages of a type that were on the agent's bus so far."""
        frames = json_lines(self.record)
        return [frame for frame in frames if frame["type"] == topic]

    def restart_hub(self, application: Child) -> None:
        """End the hub, start it anew and wait until the application is there again."""
        self.hub.stop()
        wait_until(lambda: not state_of(application)["connected"], RECONNECT_S, "the application to notice")
        self.hub.start()
        what = f"the application at the new hub\n{self.children.report()}"
        wait_until(lambda: state_of(application)["connected"], RECONNECT_S, what)


def state_of(application: Child) -> dict[str, Any]:
    """What its process says of the client in it. It is asked again: a signal that comes just before it begins to read
    its input is noticed with the next one."""

    def told() -> dict[str, Any] | None:
        application.process.send_signal(signal.SIGUSR1)
        with suppress(ChildError):
            return application.expect("client", ASKED_AGAIN_S)
        return None

    found: dict[str, Any] = wait_until(told, RECONNECT_S, f"its state\n{application.tail()}")
    return found


@pytest.fixture
def stage(children: Children, installed: Callable[[str], Path], wheels: list[str]) -> Stage:
    return Stage(children, installed, wheels)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_its_requirements_are_met_by_ours(installed: Callable[[str], Path], name: str) -> None:
    python = installed(name) / "python"
    check = [sys.executable, "-m", "uv", "pip", "check", "--python", str(python)]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False, env=CALLER)
    assert done.returncode == 0, done.stdout + done.stderr


class Room:
    """The chatroom as a browser uses it."""

    def __init__(self, port: int) -> None:
        self._port = port

    def post(self, user: str, text: str) -> int:
        """Say something as somebody; the status that comes back."""
        form = urlencode({"username": user, "lang": "pt-pt", "site_id": "attic", "message": text})
        return self._ask("POST", "/send_message", form)[0]

    def lines(self) -> list[tuple[str, str]]:
        """Everything said so far and by whom."""
        return [(line["username"], line["message"]) for line in json.loads(self._ask("GET", "/messages")[1])]

    def _ask(self, method: str, path: str, form: str = "") -> tuple[int, bytes]:
        connection = HTTPConnection(HOST, self._port, timeout=60)
        try:
            connection.request(method, path, form, {"Content-Type": "application/x-www-form-urlencoded"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, user: str, text: str) -> list[tuple[str, str]]:
        """Say something, wait for the answer; both as they stand in the room."""
        assert self.post(user, text) == 302
        exchange = [(user, text), ("HiveMind", f"@{user} - you said: {text}")]
        wait_until(lambda: exchange[1] in self.lines(), 60, f"an answer to {text}")
        return exchange


def test_the_chatroom_answers_each_user_once_and_survives_the_hub(stage: Stage) -> None:
    port = free_port()
    options = ["--host", HOST, "--port", str(port), "--log-path", "stdout"]
    application = stage.start("flask-chatroom", "hivemind-flask-chatroom", *options)
    application.wait_port(port)
    stage.assert_runs_on_ours(application)

    room = Room(port)
    said = room.ask("alice", "hello") + room.ask("bob", "olá")
    assert room.lines() == said
    sessions = [frame["context"]["session"] for frame in stage.on_the_bus(UTTERANCE)]
    assert [session["session_id"].rpartition(":")[2] for session in sessions] == ["alice", "bob"]
    assert {(session["lang"].lower(), session["site_id"]) for session in sessions} == {("pt-pt", "attic")}

    stage.restart_hub(application)
    assert room.lines() == said
    said += room.ask("alice", "again")
    assert room.lines() == said


def test_the_terminal_answers_and_survives_the_hub(stage: Stage) -> None:
    hub = ["--host", f"ws://{HOST}", "--port", str(stage.hub.port)]
    options = ["--access-key", KEY, "--password", PASSWORD, "--no-curses", *hub]
    application = stage.start("cli", "hivemind-cli", *options)
    application.wait_line("ask mycroft:")
    stage.assert_runs_on_ours(application)

    for text in ("hello world", "and again"):
        application.write(f"{text}\n")
        application.wait_line(f" Mycroft: you said: {text}")
        stage.restart_hub(application)
    application.write("the third\n")
    application.wait_line(" Mycroft: you said: the third")
    answers = [line for line in application.lines() if line.startswith(" Mycroft:")]
    assert len(answers) == 3


def test_the_asyncio_bridge_answers_and_survives_the_hub(stage: Stage) -> None:
    application = stage.start("deltachat", "python", DRIVERS / "deltachat_bridge.py")
    application.expect("ready")
    stage.assert_runs_on_ours(application)

    def ask(text: str, address: str) -> None:
        application.write(json.dumps({"text": text, "address": address}) + "\n")
        application.expect("said", text=f"you said: {text}", address=address)

    ask("hello", "ana@example.org")
    ask("olá", "rui@example.org")
    stage.restart_hub(application)
    ask("again", "ana@example.org")
    assert len([event for event in application.events() if event["event"] == "said"]) == 3
