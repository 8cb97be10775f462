"""People at the page: what they see of each other and of the assistant, and that text is text wherever it is shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from helpers.browser import Browsing
from helpers.bus_peer import HANDLED, Frame, reply, saying, silence, speak
from helpers.chatroom_process import Scene, opened_scene
from helpers.room_page import RoomPage

INJECTIONS = (
    "<img src=x onerror=\"window.harmed='img'\">",
    "<script>window.harmed='script'</script>",
    "<svg onload=\"window.harmed='svg'\"><a href=\"javascript:window.harmed='a'\">x</a></svg>",
    '" onfocus="window.harmed=\'attribute\'" autofocus x="',
    "'><iframe srcdoc=\"<script>parent.harmed='frame'</script>\"></iframe>",
    "javascript:window.harmed='link'//http://example.org",
    "{{7*7}}{% raw %}${window.harmed='braces'}<!--]]>&lt;b&gt;",
    "</textarea></title></style><style>*{display:none}</style><b id=grown>",
)
HARM = """() => window.harmed ||
    document.querySelector('#grown, #messages :is(b, script, iframe, img, style)')?.outerHTML"""
FOCUSED = """() => {
    const found = document.activeElement;
    return found === document.body ? "" : found.innerText || found.labels?.[0]?.innerText || "";
}"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with opened_scene(tmp_path_factory.mktemp("conversation"), "--rate", "100000") as opened:
        yield opened


def enter(browsing: Browsing, scene: Scene, name: str, room: str, lang: str = "en") -> RoomPage:
    """Open a window of a person; who has the same name has the same cookie."""
    context = browsing.context()
    cookies = scene.visitor(name, room, lang).cookies.items()
    context.add_cookies([{"name": key, "value": value, "url": scene.room.url} for key, value in cookies])
    window = RoomPage(context.new_page(), scene.room.url, name, room, lang)
    window.wait_live()
    return window


def test_two_people_see_each_other_and_whom_the_assistant_answers(browsing: Browsing, scene: Scene) -> None:
    alice, bob = (enter(browsing, scene, name, "parlour") for name in ("alice", "bob"))
    alice.ask("alice", "what time is it")
    bob.ask("bob", "and what day")
    for window in (alice, bob):
        expect(window.messages).to_have_count(4)
        assert window.texts() == [
            "what time is it",
            "@alice - you said: what time is it",
            "and what day",
            "@bob - you said: and what day",
        ]
        answer = window.reply("alice", "you said: what time is it")
        expect(answer.locator(".quote")).to_contain_text("alice")
        expect(answer.locator(".quote")).to_contain_text("what time is it")
        expect(answer.locator(".name")).to_have_text("HiveMind")
    expect(alice.message("what time is it").locator(".state")).to_contain_text("Answered")
    expect(bob.message("what time is it").locator(".name")).to_have_text("alice")


def test_who_one_is_stays_over_sends_and_loads(browsing: Browsing, scene: Scene) -> None:
    window = enter(browsing, scene, "carol", "study", "pt-br")
    for text in ("first", "second"):
        window.ask("carol", text)
    window.page.reload()
    window.wait_live()
    assert "/chatroom/carol/study/pt-br" in window.page.url.lower()
    expect(window.messages).to_have_count(4)
    window.ask("carol", "third")
    again = RoomPage(window.page, scene.room.url)
    assert "/chatroom/carol/study/pt-br" in again.page.url.lower()
    expect(again.message("third")).to_have_class("message role-user kind-text mine first")
    names = {x["username"] for x in scene.visitor("onlooker", "study").messages(room="study") if x["role"] == "user"}
    assert names == {"carol"}


def test_what_would_be_markup_is_text_in_messages_and_replies(browsing: Browsing, scene: Scene) -> None:
    alice, bob = enter(browsing, scene, "alice", "lab"), enter(browsing, scene, "bob", "lab")
    for harm in INJECTIONS:
        scene.bus.on(harm, saying(f"I say {harm}"))
        alice.say(harm)
        for window in (alice, bob):
            expect(window.message(harm)).to_be_visible()
            expect(window.reply("alice", f"I say {harm}")).to_be_visible()
            assert window.page.evaluate(HARM) is None
    bob.page.reload()
    bob.wait_live()
    expect(bob.messages).to_have_count(2 * len(INJECTIONS))
    assert bob.page.evaluate(HARM) is None


def test_what_would_be_markup_is_text_in_names_and_rooms(browsing: Browsing, scene: Scene) -> None:
    bob, mallory = enter(browsing, scene, "bob", "party"), browsing.page()
    browsing.expect("status of 400")
    names: list[str] = []
    for harm in INJECTIONS:
        name = harm.replace("/", "").replace("\\", "")[:40].strip()
        here = RoomPage(mallory, scene.room.url, name, name)
        assert here.response is not None
        assert here.response.status in (200, 400)
        assert mallory.evaluate(HARM) is None
        if here.response.status == 400:
            continue
        here = RoomPage(mallory, scene.room.url, name, "party")
        here.wait_live()
        here.ask(name, "guess who")
        names.append(name)
        mallory.get_by_role("button", name="Settings").click()
        for page in (mallory, bob.page):
            assert page.evaluate(HARM) is None
    typist = "<img src=x onerror=window.harmed='type'>"
    here = RoomPage(browsing.page(), scene.room.url, typist, "party")  # mallory's typing is shown only so often
    here.wait_live()
    here.types("h", bob.page.get_by_text(f"{typist} is typing…"))
    assert bob.page.evaluate(HARM) is None
    expect(bob.messages).to_have_count(2 * len(names))
    assert len(names) >= len(INJECTIONS) // 2


def test_links_are_links_only_to_the_web(browsing: Browsing, scene: Scene) -> None:
    window = enter(browsing, scene, "alice", "links")
    window.say("see https://example.org/a?b=c. or javascript:alert(1) or http://u:p@example.org/")
    links = window.messages.first.locator("a[href]:not(.quote)")
    expect(links).to_have_count(1)
    expect(links).to_have_attribute("href", "https://example.org/a?b=c")
    expect(links).to_have_attribute("rel", "noopener noreferrer")
    expect(links).to_have_attribute("target", "_blank")


def test_what_is_half_typed_stays(browsing: Browsing, scene: Scene) -> None:
    alice, bob = enter(browsing, scene, "alice", "draft"), enter(browsing, scene, "bob", "draft")
    alice.box.press_sequentially("half a sen")
    bob.ask("bob", "do not mind me")
    expect(alice.reply("bob", "you said: do not mind me")).to_be_visible()
    expect(alice.box).to_have_value("half a sen")
    expect(alice.box).to_be_focused()
    alice.page.reload()
    expect(alice.box).to_have_value("half a sen")


def test_focus_stays_in_the_box_after_sending(browsing: Browsing, scene: Scene) -> None:
    alice = enter(browsing, scene, "alice", "focus")
    alice.ask("alice", "one")
    expect(alice.box).to_be_focused()
    expect(alice.box).to_have_value("")


def test_a_reader_who_scrolled_up_is_left_alone(browsing: Browsing, scene: Scene) -> None:
    alice, bob = enter(browsing, scene, "alice", "tower"), enter(browsing, scene, "bob", "tower")
    for number in range(12):
        alice.ask("alice", f"storey {number}")
    last = bob.reply("alice", "you said: storey 11")
    expect(last).to_be_in_viewport()
    bob.log.evaluate("log => log.scrollTo(0, 0)")
    expect(bob.message("storey 0")).to_be_in_viewport()
    alice.ask("alice", "the roof")
    newest = bob.page.get_by_role("button", name="new message")
    expect(newest).to_have_text("2 new messages")
    assert bob.log.evaluate("log => log.scrollTop") == 0
    newest.click()
    expect(bob.reply("alice", "you said: the roof")).to_be_in_viewport()
    expect(newest).to_be_hidden()


def test_private_is_seen_by_oneself_only(browsing: Browsing, scene: Scene) -> None:
    alice, bob = enter(browsing, scene, "alice", "closet"), enter(browsing, scene, "bob", "closet")
    alice.page.get_by_role("checkbox", name="Private").check()
    alice.ask("alice", "between us")
    expect(alice.message("between us").get_by_text("private")).to_be_attached()
    bob.ask("bob", "in public")
    expect(alice.message("in public")).to_have_count(0)
    assert bob.texts() == ["in public", "@bob - you said: in public"]
    alice.page.get_by_role("checkbox", name="Private").uncheck()
    expect(alice.message("in public")).to_be_visible()
    bob.page.reload()
    expect(bob.messages).to_have_count(2)


def test_who_types_is_shown_and_that_the_assistant_thinks(browsing: Browsing, scene: Scene) -> None:
    alice, bob = enter(browsing, scene, "alice", "desk"), enter(browsing, scene, "bob", "desk")
    alice.types("hm", bob.page.get_by_text("alice is typing…"))
    alice.box.fill("")
    expect(bob.page.get_by_text("alice is typing…")).to_be_hidden()
    scene.bus.on("think about it", silence)
    alice.say("think about it")
    expect(bob.page.get_by_text("HiveMind is thinking…")).to_be_visible()
    expect(alice.message("think about it").locator(".state")).to_contain_text("Sent")


def test_who_is_here_is_shown(browsing: Browsing, scene: Scene) -> None:
    alice, bob = enter(browsing, scene, "alice", "hall"), enter(browsing, scene, "bob", "hall")
    here = alice.page.get_by_role("complementary", name="In this room").get_by_role("listitem")
    expect(here).to_have_count(2)
    assert {*here.locator(".name").all_inner_texts()} == {"alice", "bob"}
    bob.page.close()
    expect(here).to_have_count(1)


def test_a_taken_name_gets_a_number_and_the_assistants_name_nobody(browsing: Browsing, scene: Scene) -> None:
    dora, other = (RoomPage(browsing.page(), scene.room.url, "dora", "names") for _ in range(2))
    dora.ask("dora", "I was first")
    other.ask("dora 2", "I was second")
    browsing.expect("status of 4")
    refused = RoomPage(browsing.page(), scene.room.url, "HiveMind", "names")
    assert refused.response is not None
    assert refused.response.status == 400
    expect(refused.page.get_by_role("heading")).to_be_visible()
    expect(refused.page.get_by_role("link", name="Back to the chatroom")).to_be_visible()


def test_the_assistant_goes_on_in_another_language(browsing: Browsing, scene: Scene) -> None:
    def portuguese(message: Frame) -> list[Frame]:
        session = {**message["context"]["session"], "lang": "pt-PT"}
        return [speak(message, "Agora em português.", session=session), reply(message, HANDLED, {}, session=session)]

    scene.bus.on("speak portuguese", portuguese)
    alice = enter(browsing, scene, "alice", "babel")
    alice.say("speak portuguese")
    expect(alice.reply("alice", "Agora em português.")).to_be_visible()
    expect(alice.page).to_have_url(f"{scene.room.url}/chatroom/alice/babel/pt-PT")
    alice.ask("alice", "e agora")
    assert scene.bus.hears("e agora")["data"]["lang"].lower() == "pt-pt"


def test_media_is_a_card_and_loads_nothing(browsing: Browsing, scene: Scene) -> None:
    media = {
        "title": "Blue in Green",
        "artist": "Miles Davis",
        "uri": "https://example.org/blue.mp3",
        "image": "https://example.org/cover.png",
    }
    scene.bus.on("play jazz", lambda message: [reply(message, "ovos.common_play.play", {"media": media})])
    evil = {"title": INJECTIONS[0], "artist": INJECTIONS[1], "uri": "javascript:window.harmed='media'", "image": "x"}
    scene.bus.on("play evil", lambda message: [reply(message, "ovos.common_play.play", {"media": evil})])
    alice = enter(browsing, scene, "alice", "music")
    alice.say("play jazz")
    link = alice.page.get_by_role("link", name="Blue in Green")
    expect(link).to_have_attribute("href", media["uri"])
    expect(alice.messages.last).to_contain_text("Miles Davis")
    alice.say("play evil")
    expect(alice.messages.last).to_contain_text(INJECTIONS[0])
    assert alice.page.evaluate(HARM) is None
    expect(alice.log.locator("a[href^=javascript]")).to_have_count(0)


def test_what_nobody_asked_for_is_announced(browsing: Browsing, scene: Scene) -> None:
    alice = enter(browsing, scene, "alice", "stove")
    alice.ask("alice", "here I am")
    scene.announce("speak", {"utterance": "The pizza is ready."})
    line = alice.message("The pizza is ready.")
    expect(line).to_be_visible()
    expect(line).to_contain_text("Announcement")


def test_settings_lead_to_another_name_room_and_language(browsing: Browsing, scene: Scene) -> None:
    alice = enter(browsing, scene, "alice", "move")
    alice.page.get_by_role("button", name="Settings").click()
    dialog = alice.page.get_by_role("dialog", name="Settings")
    dialog.get_by_label("Your name").fill("Ångström & 50%?")
    dialog.get_by_label("Room").fill("living room #2")
    dialog.get_by_label("Language you write in").select_option("de-DE")
    dialog.get_by_role("button", name="Enter the room").click()
    expect(alice.page.get_by_role("heading", level=1)).to_have_text("living room #2")
    alice.wait_live()
    alice.ask("Ångström & 50%?", "hallo")
    assert scene.bus.hears("hallo")["context"]["session"]["site_id"] == "living room #2"


def test_the_keyboard_is_enough(browsing: Browsing, scene: Scene) -> None:
    page = browsing.page()
    window = RoomPage(page, scene.room.url, "alice", "keys")
    window.wait_live()
    tab_to(page, "Skip to the message box")
    page.keyboard.press("Enter")
    expect(window.box).to_be_focused()
    page.keyboard.type("by hand")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("in two lines")
    page.keyboard.press("Enter")
    expect(window.messages.first.locator(".text")).to_have_text("by hand\nin two lines", use_inner_text=True)
    tab_to(page, "Settings")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    tab_to(page, "Private")
    page.keyboard.press("Space")
    expect(page.get_by_role("checkbox", name="Private")).to_be_checked()


def tab_to(page: Page, name: str) -> None:
    """Press the tab key until what has the focus says this."""
    for _ in range(40):
        page.keyboard.press("Tab")
        focused: str = page.evaluate(FOCUSED)
        if name in focused:
            return
    raise AssertionError(f"the tab key does not lead to {name!r}")


def test_it_works_without_javascript(browsing: Browsing, scene: Scene) -> None:
    page = browsing.page(java_script_enabled=False)
    window = RoomPage(page, scene.room.url, "plain", "terminal")
    window.box.fill("hello without a script")
    page.get_by_role("button", name="Send").click()
    expect(page).to_have_url(f"{scene.room.url}/chatroom/plain/terminal/en")
    scene.visitor("onlooker", "terminal").wait_answer("hello without a script")
    page.get_by_role("link", name="load the page again").click()
    expect(window.reply("plain", "you said: hello without a script")).to_be_visible()
    expect(window.message("hello without a script")).to_be_visible()
    mallory = scene.visitor("mallory", "plain lab")
    for harm in INJECTIONS:
        assert mallory.say(harm).status == 202
    RoomPage(page, scene.room.url, "plain", "plain lab")
    for harm in INJECTIONS:
        expect(window.message(harm)).to_be_visible()
    expect(page.locator("#messages :is(b, script, iframe, img, svg, style)")).to_have_count(0)


def test_it_is_said_when_a_message_is_too_long(browsing: Browsing, scene: Scene) -> None:
    alice = enter(browsing, scene, "alice", "novel")
    alice.say("x" * 2001)
    expect(alice.page.get_by_role("alert")).to_contain_text("longer than 2000 characters")
    expect(alice.box).to_have_value("x" * 2001)
