"""What strangers, assistants and servers in trouble do to a page that is open for long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Route, expect

from helpers.browser import Browsing
from helpers.bus_peer import saying
from helpers.chatroom_process import Scene, opened_scene
from helpers.room_page import RoomPage

PARTS = """async (texts) => {
    const { linkParts } = await import("/static/links.js");
    return texts.map((text) => linkParts(text).filter(({ url }) => url).map(({ text }) => text));
}"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with opened_scene(tmp_path_factory.mktemp("hostile-texts"), "--rate", "100000") as opened:
        yield opened


def enter(browsing: Browsing, scene: Scene, name: str) -> RoomPage:
    window = RoomPage(browsing.page(), scene.room.url, name)
    window.wait_live()
    return window


def test_brackets_that_close_belong_to_an_address_if_it_opened_them(browsing: Browsing, scene: Scene) -> None:
    window = enter(browsing, scene, "alice")
    host = "http://example.org/"
    cases = {
        f"({host}a)": f"{host}a",
        f"{host}a_(b)": f"{host}a_(b)",
        f"{host}a_(b)).": f"{host}a_(b)",
        f"[{host}(a]]": f"{host}(a",
        f"{host}{{a}}}}!?": f"{host}{{a}}",
        f"{host}{')' * 100_000}": host,
        f"{host}{'(' * 50_000}{')' * 50_001}": f"{host}{'(' * 50_000}{')' * 50_000}",
    }
    assert window.page.evaluate(PARTS, list(cases)) == [[found] for found in cases.values()]


def test_an_assistant_that_changes_its_language_all_the_time_fills_no_list(browsing: Browsing, scene: Scene) -> None:
    window = enter(browsing, scene, "bob")
    window.ask("bob", "hello")
    session = scene.bus.hears("hello")["context"]["session"]
    options = window.page.locator("#set-lang option")
    before = options.count()
    tags = [f"q{chr(97 + number)}z" for number in range(20)]
    for tag in tags:
        scene.announce("speak", {"utterance": f"now in {tag}"}, session={**session, "lang": tag})
    expect(window.messages.filter(has_text=f"now in {tags[-1]}")).to_be_visible()
    assert options.count() <= before + 1


def test_accents_that_pile_up_stay_with_their_message(browsing: Browsing, scene: Scene) -> None:
    window = enter(browsing, scene, "carol")
    window.ask("carol", "an honest line")
    tower = "a" + "\u0300\u0301\u0302\u0303" * 100
    scene.bus.on(tower, saying("there"))
    window.say(tower)
    expect(window.reply("carol", "there")).to_be_visible()
    clip = "(node) => getComputedStyle(node.closest('.body')).overflowY"
    assert window.page.locator(".message .text").last.evaluate(clip) == "clip"


def test_an_address_is_read_as_it_is_in_a_text_that_is_turned_round(browsing: Browsing, scene: Scene) -> None:
    window = enter(browsing, scene, "dave")
    window.say("\u202ehttps://example.org/a")
    link = window.messages.locator("a[href='https://example.org/a']").first
    expect(link).to_have_text("https://example.org/a")
    expect(link).to_have_css("unicode-bidi", "isolate")


def test_a_server_in_trouble_is_asked_less_and_less_often(browsing: Browsing, scene: Scene) -> None:
    browsing.expect("500")
    browsing.expect("503")
    page = browsing.page()
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=500, json={})

    page.route("**/events?*", lambda route: route.fulfill(status=503))
    page.route("**/messages?*", refuse)
    page.route("**/status?*", refuse)
    page.clock.install()
    RoomPage(page, scene.room.url, "alice", "trouble")
    expect(page.locator("#link-word")).to_have_text("reconnecting")
    for _ in range(120):
        page.clock.run_for(1000)
        page.evaluate("() => fetch('/healthz').then((answer) => answer.text())")  # let answers come in
    assert 10 < len(asked) < 2 * 30  # two requests each time; every two seconds it would be 120
