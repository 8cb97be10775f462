"""Ways into the chatroom: with a room password, through nginx with TLS under a path of its own, and with embeds on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from helpers.browser import PATIENCE_MS, Browsing
from helpers.bus_peer import reply
from helpers.chatroom_process import Scene, opened_scene
from helpers.nginx import Nginx
from helpers.room_page import RoomPage

PASSWORD = "öffne dich 7"
COOKIE = "hivemind_chatroom"
ELSEWHERE = "request to another host"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    options = ["--prefix", "/chat", "--trusted-proxy", "127.0.0.1", "--room-password", PASSWORD, "--host", "127.0.0.1"]
    with opened_scene(tmp_path_factory.mktemp("doors"), *options, "--rate", "100000") as opened:
        yield opened


@pytest.fixture(scope="module")
def nginx(scene: Scene) -> Nginx:
    return Nginx(scene.children, scene.room.port)


def test_a_password_is_asked_for_and_let_in_with(browsing: Browsing, scene: Scene) -> None:
    page = browsing.page()
    browsing.expect("status of 40[13]")
    room = RoomPage(page, f"{scene.room.url}/chat", "alice", "safe", "de-DE")
    expect(page).to_have_title("Sign in – HiveMind chatroom")
    password = page.get_by_label("Room password")
    expect(password).to_be_focused()
    password.fill("wrong")
    password.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not the password")
    password.fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{scene.room.url}/chat/chatroom/alice/safe/de-DE")
    room.wait_live()
    room.ask("alice", "let in")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Room password")).to_be_visible()
    RoomPage(page, f"{scene.room.url}/chat", "alice", "safe", "de-DE")
    expect(page.get_by_label("Room password")).to_be_visible()


def test_who_is_signed_out_meanwhile_is_told_and_led_back(browsing: Browsing, scene: Scene) -> None:
    browsing.expect("status of 401")
    page = browsing.page()
    room = RoomPage(page, f"{scene.room.url}/chat", "sue", "safe")
    page.get_by_label("Room password").fill(PASSWORD)
    page.get_by_label("Room password").press("Enter")
    room.wait_live()
    page.context.clear_cookies()
    room.say("am I still in")
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("password")
    expect(room.box).to_have_value("am I still in")
    problem.get_by_role("link", name="Sign in").click()
    page.get_by_label("Room password").fill(PASSWORD)
    page.get_by_label("Room password").press("Enter")
    expect(page).to_have_url(f"{scene.room.url}/chat/chatroom/sue/safe/en")
    expect(room.box).to_have_value("am I still in")


def test_behind_nginx_with_tls_the_page_and_its_stream_work(browsing: Browsing, scene: Scene, nginx: Nginx) -> None:
    context = browsing.context(ignore_https_errors=True)
    near = RoomPage(context.new_page(), f"{nginx.url}/chat", "near", "tunnel")
    near.page.get_by_label("Room password").fill(PASSWORD)
    near.page.get_by_label("Room password").press("Enter")
    expect(near.page).to_have_url(f"{nginx.url}/chat/chatroom/near/tunnel/en")
    near.wait_live()
    far = RoomPage(context.new_page(), f"{nginx.url}/chat", "far", "tunnel")
    far.wait_live()
    near.ask("near", "through the tunnel")
    expect(far.reply("near", "you said: through the tunnel")).to_be_visible()
    far.ask("far", "and back")
    expect(near.reply("far", "you said: and back")).to_be_visible()
    [cookie] = [cookie for cookie in context.cookies() if cookie["name"] == COOKIE]
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Lax")
    front = RoomPage(far.page, f"{nginx.url}/chat/")
    expect(front.page).to_have_url(f"{nginx.url}/chat/chatroom/far/tunnel/en")
    browsing.expect("status of 404")
    far.page.goto(f"{nginx.url}/chat/nowhere")
    far.page.get_by_role("link", name="Back to the chatroom").click()
    expect(far.page).to_have_url(f"{nginx.url}/chat/chatroom/far/tunnel/en")


def test_embeds_are_loaded_only_where_they_are_switched_on(browsing: Browsing, scene: Scene) -> None:
    picture, video = "https://example.org/cat.png", "https://www.youtube.com/watch?v=dQw4w9WgXcQ"
    media = {"title": "A song", "artist": "A band", "uri": "https://example.org/a.mp3", "image": picture}
    scene.bus.on("sing", lambda message: [reply(message, "ovos.common_play.play", {"media": media})])
    for options, shown in (((), 0), (("--embeds",), 1)):
        chatroom = scene.another(*options, name=f"with {shown}")
        windows = Browsing(browsing.browser)
        window = RoomPage(windows.page(), chatroom.url, "alice", "gallery")
        window.wait_live()
        window.ask("alice", f"look {picture}")
        window.ask("alice", f"watch {video}")
        window.say("sing")
        expect(window.page.get_by_role("link", name="A song")).to_be_visible()
        expect(window.log.locator("iframe")).to_have_count(2 * shown)
        expect(window.log.locator("audio")).to_have_count(shown)
        for _ in range(PATIENCE_MS // 50 * shown):  # what is loaded is told a moment later
            if any(x.startswith(ELSEWHERE) for x in windows.problems):
                break
            window.page.wait_for_timeout(50)
        windows.close()
        asked = [x for x in windows.problems if x.startswith(ELSEWHERE)]
        assert bool(asked) == bool(shown)
        if not shown:
            windows.check()
        else:
            assert not [x for x in windows.problems if "policy" in x.lower()]
        chatroom.stop()


def test_always_private_where_it_is_so_for_all(browsing: Browsing, scene: Scene) -> None:
    chatroom = scene.another("--private", name="confessional")
    alice, bob = (RoomPage(browsing.page(), chatroom.url, name, "box") for name in ("alice", "bob"))
    for window in (alice, bob):
        window.wait_live()
        expect(window.page.get_by_text("Private: only you see your conversation.")).to_be_visible()
    alice.ask("alice", "my secret")
    bob.ask("bob", "my other secret")
    assert bob.texts() == ["my other secret", "@bob - you said: my other secret"]
    assert alice.texts() == ["my secret", "@alice - you said: my secret"]
    browsing.close()
    chatroom.stop()
