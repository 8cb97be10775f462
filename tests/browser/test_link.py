"""When something between the page and the assistant is amiss: it is said, nothing is lost, and it passes by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from helpers.browser import Browsing
from helpers.bus_peer import UTTERANCE
from helpers.chatroom_process import KEY, PASSWORD, ChatroomProcess, Scene, opened_scene
from helpers.processes import free_port, wait_until
from helpers.relay import Relay
from helpers.room_page import RoomPage

AWAY = "Failed to load resource|ERR_"
"""What the console says of a server that is not there."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    history = tmp_path_factory.mktemp("history") / "rooms.db"
    with opened_scene(tmp_path_factory.mktemp("link"), "--rate", "100000", "--history", history) as opened:
        yield opened


def enter(browsing: Browsing, scene: Scene, name: str, room: str) -> RoomPage:
    window = RoomPage(browsing.page(), scene.room.url, name, room)
    window.wait_live()
    return window


def test_a_dead_hub_is_said_and_what_was_written_is_sent_when_it_is_back(browsing: Browsing, scene: Scene) -> None:
    ann = enter(browsing, scene, "ann", "outage")
    ann.ask("ann", "before")
    expect(ann.banner).to_be_empty()
    scene.hub.kill()
    expect(ann.banner).to_contain_text("The hub cannot be reached.")
    expect(ann.page.locator("#link-dot")).to_contain_text("hub is down")
    ann.say("do you hear me")
    waiting = ann.message("do you hear me").locator(".state")
    expect(waiting).to_contain_text("Sending…")
    expect(waiting).to_contain_text("waits for it")
    ann.page.reload()
    expect(waiting).to_contain_text("Sending…")
    scene.hub.start()
    scene.bus.joined()
    expect(ann.reply("ann", "you said: do you hear me")).to_be_visible()
    expect(ann.banner).to_be_empty()
    expect(waiting).to_have_text("Answered")
    assert ann.texts().count("@ann - you said: do you hear me") == 1


def test_a_cut_stream_goes_on_without_loss_or_doubles(browsing: Browsing, scene: Scene) -> None:
    browsing.expect(AWAY)
    relay = Relay(scene.room.port)
    near = RoomPage(browsing.page(), f"http://localhost:{relay.port}", "near", "wire")
    near.wait_live()
    far = enter(browsing, scene, "far", "wire")
    far.ask("far", "one")
    expect(near.reply("far", "you said: one")).to_be_visible()
    relay.cut()
    expect(near.banner).to_contain_text("The connection to the chatroom is lost")
    far.ask("far", "two")
    near.say("typed while cut off")
    expect(near.page.get_by_role("alert")).to_contain_text("does not answer")
    expect(near.box).to_have_value("typed while cut off")
    far.ask("far", "three")
    assert "two" not in near.texts()
    relay.mend()
    expect(near.reply("far", "you said: three")).to_be_visible()
    expect(near.banner).to_be_empty()
    said = [line for number in ("one", "two", "three") for line in (number, f"@far - you said: {number}")]
    assert near.texts() == said
    near.box.press("Enter")
    for window in (near, far):
        expect(window.reply("near", "you said: typed while cut off")).to_be_visible()
    assert far.texts() == near.texts()
    relay.cut()


def test_a_restart_of_the_chatroom_is_hardly_noticed(browsing: Browsing, scene: Scene) -> None:
    browsing.expect(AWAY)
    eve = enter(browsing, scene, "eve", "restart")
    eve.ask("eve", "keep this")
    eve.box.fill("half a sentence")
    assert scene.room.stop() == 0
    scene.room.start()
    eve.wait_live()
    expect(eve.banner).to_be_empty()
    expect(eve.box).to_have_value("half a sentence")
    eve.ask("eve", "and this")
    assert eve.texts() == ["keep this", "@eve - you said: keep this", "and this", "@eve - you said: and this"]
    sessions = {scene.bus.hears(text)["context"]["session"]["session_id"] for text in ("keep this", "and this")}
    assert len({session.rpartition(":")[2] for session in sessions}) == 1


def test_without_a_stream_it_polls(browsing: Browsing, scene: Scene) -> None:
    browsing.expect("status of 503")
    room = scene.another("--streams", "1", name="narrow")
    first, second = (RoomPage(browsing.page(), room.url, name, "narrow") for name in ("first", "second"))
    first.wait_live()
    second.wait_live()
    second.ask("second", "asked by one who polls")
    first.ask("first", "asked by one who streams")
    expect(second.reply("first", "you said: asked by one who streams")).to_be_visible()
    expect(second.banner).to_be_empty()
    first.types("hm", second.page.get_by_text("first is typing…"))
    browsing.close()
    room.stop()


def test_a_denial_is_shown_with_its_cure_and_the_cure_works(browsing: Browsing, scene: Scene) -> None:
    added = scene.hub.command("add-client", "--role", "none", "--access-key", "mute", "--password", PASSWORD)
    found = re.search(r"Node ID: (\d+)", added)
    assert found
    cure = ["allow-msg", UTTERANCE, found[1]]
    room = ChatroomProcess(scene.children, scene.hub.port, name="mute")
    room.start(key="mute")
    window = RoomPage(browsing.page(), room.url, "mia", "mute")
    window.wait_live()
    window.say("may I speak")
    state = window.message("may I speak").last.locator(".state")
    expect(state).to_contain_text("Not allowed")
    expect(state).to_contain_text(f"hivemind-core {' '.join(cure)}")
    scene.hub.command(*cure)
    wait_until(lambda: outcome_of_sending_again(window) == "Answered", 60, "the cure")
    expect(window.reply("mia", "you said: may I speak")).to_be_visible()
    browsing.close()
    room.stop()


def outcome_of_sending_again(window: RoomPage) -> str:
    """Send the denied message once more."""
    window.page.get_by_role("button", name="Send again").last.click()
    word = window.message("may I speak").last.locator(".state-word")
    expect(word).to_have_text(re.compile("Answered|Not allowed"))
    return word.inner_text()


@pytest.mark.parametrize(("key", "password"), [("nobody-has-this-key", PASSWORD), (KEY, "another horse battery 43")])
def test_refused_credentials_are_said(browsing: Browsing, scene: Scene, key: str, password: str) -> None:
    browsing.expect("status of 503")
    room = ChatroomProcess(scene.children, scene.hub.port, name=f"refused {key[0]}")
    child = room.start(key=key, password=password, linked=False)
    wait_until(lambda: (room.get("/readyz")[1] or {}).get("link") == "refused", 60, "the refusal")
    window = RoomPage(browsing.page(), room.url, "rob", "lobby")
    expect(window.banner).to_contain_text("hub")
    expect(window.page.locator("#link-dot")).to_contain_text("hub refuses")
    window.say("hello?")
    expect(window.page.get_by_role("alert")).not_to_be_empty()
    expect(window.box).to_have_value("hello?")
    assert child.running
    browsing.close()
    room.stop()


def test_it_serves_before_there_is_a_hub(browsing: Browsing, scene: Scene) -> None:
    early = ChatroomProcess(scene.children, free_port(), name="early")
    early.start(linked=False)
    window = RoomPage(browsing.page(), early.url, "eli", "early")
    expect(window.page.locator("#link-dot")).to_be_visible()
    window.say("anybody there")
    expect(window.message("anybody there").locator(".state")).to_contain_text("Sending…")
    expect(window.banner).to_contain_text("hub")
    browsing.close()
    early.stop()
