"""The released chatroom on its own released library, unchanged, at our hub: set up and answered as documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import bus_stub
from helpers.hub_process import HOST, UTTERANCE, HubProcess
from helpers.pair import KEY, OUR_PROGRAMS, PASSWORD, RECONNECT_S, cannot_run
from helpers.processes import Children, free_port, json_lines, wait_until
from helpers.released import EnvironmentFailed, released
from helpers.visitor import Visitor


@pytest.fixture(scope="module")
def programs() -> Path:
    try:
        return released("released-chatroom")
    except EnvironmentFailed as error:
        return cannot_run(f"no environment of the released chatroom: {error}")


def lines(visitor: Visitor) -> list[tuple[str, str]]:
    """What stands in the room, and by whom."""
    return [(line["username"], line["message"]) for line in visitor.get("/messages").json]


def ask(visitor: Visitor, text: str) -> None:
    """Say something, again while its link is not up, and wait for the answer."""
    wait_until(lambda: visitor.say_form(text).status == 302, RECONNECT_S, f"{text!r} taken")
    answer = ("HiveMind", f"@{visitor.name} - you said: {text}")
    wait_until(lambda: answer in lines(visitor), RECONNECT_S, f"an answer to {text!r}")


def test_it_serves_and_its_users_are_answered(children: Children, programs: Path) -> None:
    record = children.folder / "bus.jsonl"
    bus = children.spawn("bus", [OUR_PROGRAMS / "python", bus_stub.__file__, "--record", record])
    hub = HubProcess(children, OUR_PROGRAMS / "hivemind-core", bus.expect("ready")["port"])
    hub.add_client(KEY, PASSWORD, name="chatroom")
    hub.start()
    home, port = children.home("chatroom"), free_port()
    options = ["--key", KEY, "--password", PASSWORD, "--siteid", "flask", "--host", HOST, "--port", str(hub.port)]
    children.run("set-identity", [programs / "hivemind-client", "set-identity", *options], home)
    tested = children.run("test-identity", [programs / "hivemind-client", "test-identity"], home)
    assert "== Identity successfully connected to HiveMind!" in tested

    room = [programs / "hivemind-flask-chatroom", "--host", HOST, "--port", str(port), "--log-path", "stdout"]
    children.spawn("released-chatroom", room, home).wait_port(port)
    alice, bob = Visitor(port, "alice", "attic", "pt-pt"), Visitor(port, "bob")
    ask(alice, "hello")
    ask(bob, "good morning")

    frames = json_lines(record)
    heard = [frame["context"] for frame in frames if frame["type"] == UTTERANCE]
    assert [context["user"] for context in heard] == ["alice", "bob"]
    assert heard[0]["source"].startswith("JarbasFlaskChatRoomV0.2::")
    assert heard[0]["session"]["site_id"] == "attic"

    hub.stop()
    hub.start()
    wait_until(
        lambda: record.read_text("utf-8").count('"hive.client.connect"') >= 3, RECONNECT_S, "the chatroom is back"
    )
    ask(alice, "again")
