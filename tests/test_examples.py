"""Every program in examples/ runs, as a user would start it, against a real hub of its own."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.hub_process import HOST, HubProcess
from helpers.processes import Child, Children, Home, free_port, wait_until
from hivemind_core.policy import Entry, PolicyChain
from hivemind_core.testing import MemoryHive

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
BIN = Path(sys.executable).parent
KEY, PASSWORD = "access-key-of-the-examples", "orbital-walnut-cipher-93-lantern"
MOST_LINES = 40

pytestmark = pytest.mark.e2e


class Stage:
    """A hub, and a home whose identity may join it."""

    def __init__(self, folder: Children) -> None:
        self.children = folder
        self.hub = HubProcess(folder, BIN / "hivemind-core", free_port())
        self.home: Home = folder.home("user")

    def begin(self, agent: str = "builtin") -> None:
        bus = {"host": HOST, "port": self.hub.bus_port}
        self.hub.configure({"agent_protocol": {"module": agent, agent: bus}})
        self.hub.add_client(KEY, PASSWORD, name="example")
        self.hub.start()
        self.client("set-identity", "--key", KEY, "--password", PASSWORD, "--host", HOST, "--port", str(self.hub.port))

    def client(self, command: str, *arguments: str) -> str:
        return self.children.run(command, [BIN / "hivemind-client", command, *arguments], self.home)

    def run(self, example: str, *arguments: str) -> str:
        """What a program printed that ends by itself."""
        return self.children.run(example, [sys.executable, EXAMPLES / example, *arguments], self.home)

    def spawn(self, example: str, *arguments: str) -> Child:
        """A program that stays."""
        return self.children.spawn(example, [sys.executable, EXAMPLES / example, *arguments], self.home)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Children(tmp_path) as running:
        yield Stage(running)


def test_every_example_is_short_and_run_here() -> None:
    here = Path(__file__).read_text("utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) < MOST_LINES, path.name
        assert f'"{path.name}"' in here, f"no test runs {path.name}"


def test_ask(stage: Stage) -> None:
    stage.begin()
    assert "It is " in stage.run("ask.py")
    assert "One satellite is connected: example." in stage.run("ask.py", "who", "is", "connected?")


def test_ask_async(stage: Stage) -> None:
    stage.begin()
    answers = stage.run("ask_async.py").splitlines()
    assert sorted(line.split(" hears: ")[0] for line in answers) == ["alice", "bob"]
    assert "bob hears: One satellite is connected: example." in answers


def test_the_example_of_the_readme(stage: Stage) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    stage.begin()
    assert "It is " in stage.children.run("readme", [sys.executable, "-c", code], stage.home)


def test_speaker(stage: Stage) -> None:
    stage.begin()
    speaker = stage.spawn("speaker.py")
    speaker.wait_line("connected")
    stage.hub.kill()
    speaker.wait_line("connection lost")
    stage.hub.start()
    wait_until(lambda: speaker.lines().count("connected") == 2, 30, "the second connection")


def test_speaker_says_why_it_is_refused(stage: Stage) -> None:
    stage.begin()
    stage.client("set-identity", "--password", "a quite different password 1234")
    speaker = stage.spawn("speaker.py")
    assert speaker.wait_exit() == 1
    assert "The password does not match" in speaker.output()
    assert "Traceback" not in speaker.output()


def test_assistant(stage: Stage) -> None:
    stage.begin("embedded")
    bus = f"ws://{HOST}:{stage.hub.bus_port}/core"
    stage.spawn("assistant.py", bus).wait_line("joined")
    assert stage.run("ask.py", "good", "morning") == "You said: good morning\n"


def test_memory_hive(stage: Stage) -> None:
    options = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
    done = stage.children.run("pytest", [sys.executable, *options, EXAMPLES / "memory_hive.py"], stage.home)
    assert "1 passed" in done


@pytest.mark.parametrize(("hours", "heard"), [((0, 24), []), ((24, 0), ["hello"])])
async def test_quiet_hours(hours: tuple[int, int], heard: list[str]) -> None:
    policy = runpy.run_path(str(EXAMPLES / "quiet_hours.py"))["QuietHours"](*hours)
    async with MemoryHive(policies=PolicyChain([Entry("quiet-hours", policy)])) as hive:
        kitchen = await hive.join("kitchen")
        kitchen.say("hello")
        await hive.settle()
        assert hive.agent.utterances == heard
        assert [denial["code"] for denial in kitchen.denials] == ([] if heard else ["quiet_hours"])
