"""The chatroom and its hub as processes: started in any order, ended by force or by word, with right and wrong keys."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from helpers.chatroom_process import BIN, KEY, PASSWORD, ChatroomProcess, opened_scene
from helpers.hub_process import HOST, HubProcess
from helpers.processes import Children, free_port, wait_until
from helpers.visitor import Visitor

SLOW_S = 60.0
"""The satellite waits longer after each vain try."""


@pytest.fixture
def hub(children: Children) -> HubProcess:
    """A hub with the small assistant of its own; not started yet."""
    made = HubProcess(children, BIN / "hivemind-core", free_port())
    made.configure({"agent_protocol": {"module": "builtin"}})
    made.add_client(KEY, PASSWORD, name="chatroom")
    return made


def link(room: ChatroomProcess) -> str:
    return str((room.get("/readyz")[1] or {}).get("link"))


def says_no_more(hub: HubProcess) -> bool:
    """Whether the hub has written nothing for a second."""
    assert hub.child is not None
    before = hub.child.output()
    time.sleep(1)
    return hub.child.output() == before


def person(room: ChatroomProcess, name: str = "alice") -> Visitor:
    visitor = Visitor(room.port, name)
    assert visitor.enter().status == 200
    return visitor


def test_it_serves_before_the_hub_is_there_and_sends_what_it_took(children: Children, hub: HubProcess) -> None:
    room = ChatroomProcess(children, hub.port)
    room.start(linked=False)
    alice = person(room)
    assert room.get("/readyz")[0] == 503
    taken = alice.say("what time is it")
    assert taken.status == 202
    assert taken.json["state"] == "sending"
    assert taken.json["note"]
    wait_until(lambda: link(room) == "down", SLOW_S, "that the hub is down")
    hub.start()
    [line] = alice.wait_answer("what time is it", timeout_s=SLOW_S)
    assert line["text"].startswith("It is ")
    assert alice.wait_state("what time is it", "answered")["note"] == ""
    assert room.get("/readyz") == (200, {"status": "ready", "link": "connected"})


def test_a_hub_that_dies_loses_nothing_that_was_taken(children: Children, hub: HubProcess) -> None:
    hub.start()
    room = ChatroomProcess(children, hub.port)
    room.start()
    alice = person(room)
    with alice.listening() as stream:
        stream.wait("hello")
        hub.kill()
        stream.wait("link", state="down")
        for number in range(5):
            assert alice.say(f"what time is it {number}").status == 202
        hub.start()
        stream.wait("link", state="connected")
    for number in range(5):
        alice.wait_answer(f"what time is it {number}", timeout_s=SLOW_S)
    replies = [line["reply_to"] for line in alice.messages() if line["role"] == "assistant"]
    assert len(replies) == len(set(replies)) == 5
    assert replies == sorted(replies)


@pytest.mark.parametrize(
    ("key", "password"),
    [("nobody-has-this-key", PASSWORD), (KEY, "another horse another battery 43")],
    ids=["key", "password"],
)
def test_who_is_refused_stops_trying_and_says_so(children: Children, hub: HubProcess, key: str, password: str) -> None:
    hub.start()
    room = ChatroomProcess(children, hub.port)
    child = room.start(key=key, password=password, linked=False)
    wait_until(lambda: link(room) == "refused", SLOW_S, f"the refusal\n{child.tail()}")
    alice = person(room)
    status = alice.get("/status").json["link"]
    assert status["text"]
    assert status["cure"]
    refused = alice.say("hello")
    assert refused.status == 503
    assert refused.json["message"] == status["text"]
    wait_until(lambda: says_no_more(hub), SLOW_S, "the hub's last word")
    assert hub.child is not None
    before = hub.child.output()
    with alice.listening() as stream:
        assert stream.wait("hello")["link"]["state"] == "refused"
        with pytest.raises(AssertionError):
            wait_until(lambda: hub.child is not None and hub.child.output() != before, 4, "another try")
    assert room.get("/healthz")[0] == 200
    assert key not in room.log()
    assert password not in room.log()
    assert room.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told_to_and_says_good_bye(children: Children, number: signal.Signals) -> None:
    room = ChatroomProcess(children, free_port())
    child = room.start(linked=False)
    alice = person(room)
    with alice.listening() as stream:
        stream.wait("hello")
        os.kill(child.pid, number)
        stream.wait("bye")
        assert child.wait_exit() == 0
    assert "Traceback" not in room.log()


def test_it_ends_cleanly_while_connected_and_the_hub_sees_it_go(children: Children, hub: HubProcess) -> None:
    hub.start()
    room = ChatroomProcess(children, hub.port)
    room.start()
    person(room).say("hello")
    assert room.stop() == 0
    assert hub.child is not None
    hub.child.wait_output("left")


def test_history_and_who_one_is_outlive_it(tmp_path: Path) -> None:
    kept = tmp_path / "rooms.db"
    with opened_scene(tmp_path / "scene", "--history", kept) as scene:
        alice = Visitor(scene.room.port, "alice", "attic")
        alice.enter()
        alice.say("remember this")
        alice.wait_answer("remember this")
        alice.say("and this", private=True)
        alice.wait_answer("and this")
        before = alice.messages(room="attic")
        me = alice.get("/status?room=attic").json["you"]
        assert scene.room.stop() == 0
        assert kept.stat().st_mode & 0o077 == 0
        assert sqlite3.connect(kept).execute("PRAGMA integrity_check").fetchone() == ("ok",)
        scene.room.start()
        assert alice.messages(room="attic") == before
        assert "and this" not in Visitor(scene.room.port).get("/messages").text
        alice.say("one more")
        alice.wait_answer("one more")
        assert alice.get("/status?room=attic").json["you"] == me
        last = alice.messages(room="attic")[-1]
        assert last["id"] > max(line["seq"] for line in before)
        sessions = {frame["context"]["session"]["session_id"].rpartition(":")[2] for frame in scene.bus.utterances()}
        assert len(sessions) == 1


def test_its_credentials_come_from_the_environment(children: Children, hub: HubProcess) -> None:
    hub.start()
    room = ChatroomProcess(children, hub.port)
    env = {"SAT_KEY": KEY, "SAT_PASSWORD": PASSWORD, "SAT_HOST": HOST, "SAT_PORT": str(hub.port)}
    room.spawn(env={**env, "HIVEMIND_CHATROOM_TITLE": "Our house"})
    assert "Our house" in person(room).enter().text


def test_its_credentials_come_from_the_identity_of_an_application(children: Children, hub: HubProcess) -> None:
    hub.start()
    room = ChatroomProcess(children, hub.port)
    where = ["--host", f"ws://{HOST}", "--port", str(hub.port), "--key", KEY, "--password", PASSWORD]
    children.run("set-identity", [BIN / "hivemind-client", "set-identity", *where], room.home)
    own = room.home.config / "hivemind" / "lounge"
    own.mkdir()
    (room.home.config / "hivemind" / "_identity.json").rename(own / "_identity.json")
    room.spawn("--app", "lounge")
    person(room).say("hello")


def test_without_credentials_it_says_how_to_get_them(children: Children) -> None:
    child = children.spawn("chatroom", [BIN / "hivemind-flask-chatroom", "--port", str(free_port())])
    child.close_stdin()
    assert child.wait_exit() == 1
    assert "Error: " in child.output()
    assert "set-identity" in child.output()
    assert "Traceback" not in child.output()


def test_a_port_that_is_taken_is_said(children: Children, hub: HubProcess) -> None:
    hub.start()
    env = {"SAT_KEY": KEY, "SAT_PASSWORD": PASSWORD, "SAT_HOST": HOST}
    taken = ["--host", HOST, "--port", str(hub.port)]
    child = children.spawn("chatroom", [BIN / "hivemind-flask-chatroom", *taken], env=env)
    assert child.wait_exit() == 1
    assert str(hub.port) in child.output()
    assert "Traceback" not in child.output()


def test_it_starts_as_a_module_and_logs_where_it_is_told(children: Children, tmp_path: Path) -> None:
    home, port = children.home("module"), free_port()
    env = {"SAT_KEY": KEY, "SAT_PASSWORD": PASSWORD, "SAT_HOST": HOST, "SAT_PORT": str(free_port())}
    as_module = [sys.executable, "-m", "hivemind_chatroom", "--port", str(port)]
    child = children.spawn("module", [*as_module, "--log-path", "stdout", "--log-level", "DEBUG"], home, env)
    child.wait_port(port)
    child.wait_output("no link to the hub")
    assert child.stop() == 0
    as_command = [BIN / "hivemind-flask-chatroom", "--port", str(port)]
    child = children.spawn("command", [*as_command, "--log-path", tmp_path / "logs"], home, env)
    child.wait_port(port)
    log = tmp_path / "logs" / "flask-chat.log"
    wait_until(log.exists, 60, "its log")
    assert child.stop() == 0
    assert KEY not in log.read_text("utf-8") + child.output()


def test_two_of_them_live_at_one_hub(tmp_path: Path) -> None:
    with opened_scene(tmp_path / "scene") as scene:
        other = scene.another(name="second")
        first, second = scene.visitor("alice"), Visitor(other.port, "alice")
        second.enter()
        first.say("to the first")
        second.say("to the second")
        first.wait_answer("to the first")
        second.wait_answer("to the second")
        assert "to the second" not in first.get("/messages").text
        sessions = {frame["context"]["session"]["session_id"] for frame in scene.bus.utterances()}
        assert len(sessions) == 2
