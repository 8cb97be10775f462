"""Every program in examples/ runs, as a user would start it, against a real hub of its own."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from helpers.hub_process import HOST, HubProcess
from helpers.processes import Child, ChildError, Children, Home, free_port, wait_until
from helpers.sound import need_engine, sound
from hivemind_bus_client.identity import NodeIdentity
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

    def begin(self, agent: str = "builtin", **settings: Any) -> None:
        bus = {"host": HOST, "port": self.hub.bus_port}
        self.hub.configure({"agent_protocol": {"module": agent, agent: bus}, **settings})
        self.hub.add_client(KEY, PASSWORD, name="example")
        self.hub.start()
        self.client("set-identity", "--key", KEY, "--password", PASSWORD, "--host", HOST, "--port", str(self.hub.port))

    def client(self, command: str, *arguments: str, home: Home | None = None) -> str:
        return self.children.run(command, [BIN / "hivemind-client", command, *arguments], home or self.home)

    def run(self, example: str, *arguments: str, home: Home | None = None) -> str:
        """What a program printed that ends by itself."""
        return self.children.run(example, [sys.executable, EXAMPLES / example, *arguments], home or self.home)

    def spawn(self, example: str, *arguments: str) -> Child:
        """A program that stays."""
        return self.children.spawn(example, [sys.executable, EXAMPLES / example, *arguments], self.home)

    def another(self, name: str) -> Home:
        """A second device of the hub, with a file `NAME.pem` of its public key beside the first one's programs."""
        home = self.children.home(name)
        self.hub.add_client(name, PASSWORD, name=name)
        where = ["--host", HOST, "--port", str(self.hub.port)]
        printed = self.client("set-identity", "--key", name, "--password", PASSWORD, *where, home=home)
        pem = printed.split("PUBKEY: ")[1].split("identity saved")[0]
        (self.home.path / f"{name}.pem").write_text(pem, "utf-8")
        return home


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
    wait_until(lambda: speaker.lines().count("connected") >= 2, 60, "the second connection")


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


def test_tts(stage: Stage) -> None:
    need_engine()
    stage.begin(binary_protocol={"module": "speech"})
    with pytest.raises(ChildError, match="allow-msg speak:synth"):
        stage.run("tts.py", "none.wav", "not", "yet")
    assert not (stage.home.path / "none.wav").exists()
    stage.hub.command("allow-msg", "speak:synth", "1")

    def may_ask() -> bool:
        with suppress(ChildError):
            return bool(stage.run("tts.py", "none.wav", "again"))
        return False

    wait_until(may_ask, 60, "the right to ask")
    for file, text in (("one.wav", "good morning"), ("two.wav", "the kettle is on and the bread is in the oven")):
        assert repr(text) in stage.run("tts.py", file, *text.split())
    one, two = (sound((stage.home.path / file).read_bytes()) for file in ("one.wav", "two.wav"))
    assert one.is_speech
    assert two.is_speech
    assert two.seconds > 2 * one.seconds


def test_mailbox(stage: Stage) -> None:
    stage.begin(rendezvous={"enabled": True})
    stage.hub.add_client("key-of-the-friend", PASSWORD, name="friend")
    friend = stage.children.home("friend")
    reach = ["--key", "key-of-the-friend", "--password", PASSWORD, "--host", HOST, "--port", str(stage.hub.port)]
    stage.children.run("set-identity", [BIN / "hivemind-client", "set-identity", *reach], friend)

    def at_friends(*arguments: str) -> str:
        return stage.children.run("mailbox.py", [sys.executable, EXAMPLES / "mailbox.py", *arguments], friend)

    (stage.home.path / "friend.pem").write_text(at_friends("key"), "ascii")
    (friend.path / "me.pem").write_text(stage.run("mailbox.py", "key"), "ascii")
    stage.run("mailbox.py", "leave", "key-of-the-friend", "friend.pem", "good", "night")
    stage.hub.stop()
    stage.hub.start()
    assert at_friends("fetch", "me.pem") == "good night\n"
    assert at_friends("fetch", "me.pem") == ""


def test_chat(stage: Stage) -> None:
    stage.begin()
    chat = stage.spawn("chat.py")
    chat.write("what time is it\nwho is connected\n")
    chat.close_stdin()
    assert chat.wait_exit() == 0
    first, second = chat.lines()
    assert first.startswith("> It is ")
    assert second == "> One satellite is connected: example."


def test_query(stage: Stage) -> None:
    stage.begin()
    assert stage.run("query.py").startswith("It is ")


def test_query_that_nobody_answers(stage: Stage) -> None:
    stage.begin("auto")  # an assistant is looked for in vain, and the small one declines what it does not know
    with pytest.raises(ChildError, match="Nobody has an answer"):
        stage.run("query.py", "   ")


def test_cascade(stage: Stage) -> None:
    stage.begin()
    offered, picked = stage.run("cascade.py", "who", "is", "connected").splitlines()
    assert offered == "offered: One satellite is connected: example."
    assert picked == "picked: One satellite is connected: example."


def test_trust(stage: Stage) -> None:
    stage.begin()
    stage.client("set-identity", "--siteid", "hall")
    friend, stranger = stage.another("friend"), stage.another("stranger")
    listener = stage.spawn("trust.py", "friend", "friend.pem")
    listener.wait_line("trusting friend")
    for home, words in ((stranger, "from a stranger"), (friend, "from a friend")):
        payload = f'{{"utterance": "{words}"}}'
        stage.client("propagate", "--siteid", "hall", "--msg", "speak", "--payload", payload, home=home)
    listener.wait_line("say: ")
    assert listener.lines() == ["trusting friend", "say: from a friend"]


def test_intercom(stage: Stage) -> None:
    stage.begin()
    friend, stranger = stage.another("friend"), stage.another("stranger")
    own = NodeIdentity(stage.home.config / "hivemind" / "_identity.json")
    own.add_trusted_key("friend", (stage.home.path / "friend.pem").read_text("utf-8"))
    own.save()
    listener = stage.spawn("intercom.py")
    listener.wait_line("listening")
    for home, words in ((stranger, "let me in"), (friend, "come here")):
        (home.path / "other.pem").write_text(str(own.public_key), "utf-8")
        stage.run("intercom.py", "other.pem", *words.split(), home=home)
    listener.wait_line("friend: ")
    assert listener.lines() == ["listening", "friend: come here"]


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
