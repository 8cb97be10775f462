"""The page fits every window and can be used by everybody: axe-core finds nothing, nothing sticks out sideways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from helpers.browser import DESKTOP, PHONE, Browsing, accessibility, overflow
from helpers.chatroom_process import Scene, opened_scene
from helpers.lively_room import PEOPLE, converse
from helpers.room_page import RoomPage

ROOM = "living room"
IMAGES = Path(__file__).parents[2] / "docs" / "images"
SHOTS: dict[str, ViewportSize] = {"desktop": {"width": 1100, "height": 760}, "phone": {"width": 360, "height": 740}}
MAX_BYTES = 150_000
LONG = "Donaudampfschifffahrtsgesellschaftskapitän" * 6
WIDE = f"{LONG} https://example.org/{'a' * 300} 名前名前名前 {'⸻' * 40}"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    options = ["--rate", "100000", "--answer-timeout", "600"]  # the last picture shows a question that is still open
    with opened_scene(tmp_path_factory.mktemp("looks"), *options) as opened:
        converse(opened, ROOM)
        yield opened


@pytest.fixture(scope="module")
def locked(scene: Scene) -> str:
    """The address of a chatroom with a password."""
    return scene.another("--room-password", "something", name="locked").url


def enter(page: Page, scene: Scene, name: str = "alice", room: str = ROOM) -> RoomPage:
    """Be a person who was here before."""
    cookies = scene.visitor(name, room).cookies.items()
    page.context.add_cookies([{"name": key, "value": value, "url": scene.room.url} for key, value in cookies])
    window = RoomPage(page, scene.room.url, name, room)
    window.wait_live()
    return window


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_everybody_can_use_it(
    browsing: Browsing, scene: Scene, locked: str, scheme: str, size: ViewportSize, request: pytest.FixtureRequest
) -> None:
    page = browsing.page(color_scheme=scheme, viewport=size, reduced_motion="reduce")
    window = enter(page, scene)
    expect(window.messages.first).to_be_attached()
    assert accessibility(page) == []
    people = page.locator("#people-button")
    if people.is_visible():
        people.click()
        assert accessibility(page) == []
        page.keyboard.press("Escape")
    window.box.fill("x" * 1999)
    page.get_by_role("checkbox", name="Private").check()
    page.get_by_role("button", name="Settings").click()
    assert accessibility(page) == []
    page.keyboard.press("Escape")
    window.box.fill("x" * 2001)
    window.box.press("Enter")
    expect(page.get_by_role("alert")).not_to_be_empty()
    assert accessibility(page) == []

    browsing.expect("status of 40[034]")
    RoomPage(page, scene.room.url, "alice", "an empty room")
    assert accessibility(page) == []
    page.goto(f"{scene.room.url}/nowhere")
    assert accessibility(page) == []
    page.goto(locked)
    page.get_by_label("Room password").fill("wrong")
    page.get_by_label("Room password").press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    assert accessibility(page) == []


@pytest.mark.parametrize("width", [320, 360, 900, 1600])
def test_nothing_sticks_out(browsing: Browsing, scene: Scene, width: int) -> None:
    name = f"{LONG[:36]}{width}"
    page = browsing.page(viewport={"width": width, "height": 640}, has_touch=width < 500, is_mobile=width < 500)
    window = enter(page, scene, name, LONG[:64])
    window.say(f"{WIDE} {width}")
    expect(window.messages.last).to_contain_text("you said")
    window.box.fill(WIDE * 3)
    assert overflow(page) == []
    page.get_by_role("button", name="Settings").click()
    assert overflow(page) == []
    page.keyboard.press("Escape")
    if page.locator("#people-button").is_visible():
        page.locator("#people-button").click()
        assert overflow(page) == []
    window.box.fill("x" * 2001)
    window.box.press("Enter")
    assert overflow(page) == []


def test_zoomed_in_to_twice_the_size_it_still_fits(browsing: Browsing, scene: Scene) -> None:
    page = browsing.page(viewport={"width": 640, "height": 512})
    enter(page, scene)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert overflow(page) == []
    expect(page.get_by_role("textbox", name="Message")).to_be_in_viewport()


@pytest.mark.parametrize("shot", SHOTS)
def test_its_pictures(
    browsing: Browsing, scene: Scene, shot: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A lively room; with --write-screenshots these are the pictures of the documentation."""
    kept = request.config.getoption("--write-screenshots", default=False)
    carol = [enter(browsing.page(), scene, name) for name in PEOPLE[1:]][-1]
    page = browsing.page(viewport=SHOTS[shot], device_scale_factor=1)
    enter(page, scene)
    page.get_by_text("The pizza is ready.").wait_for()
    page.get_by_text("HiveMind is thinking…").wait_for()
    carol.types("Luís", page.get_by_text("carol is typing…"))
    picture = (IMAGES if kept else tmp_path) / f"chatroom-{shot}.png"
    picture.parent.mkdir(exist_ok=True)
    page.screenshot(path=picture, caret="initial")
    assert 10_000 < picture.stat().st_size < MAX_BYTES
