"""Every route: what it answers, in which form, to whom; and the errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from helpers.chatroom_core import DOWN, REFUSED, hear, send_all, spoken
from helpers.web_visitor import Browser, Site
from hivemind_chatroom.app import ON_PAGE
from hivemind_chatroom.sentences import SENTENCES
from hivemind_chatroom.settings import Access

SCRIPTS = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'-alert(1)-'", "{{7*7}}", "</li><b>")


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.stop()


@pytest.fixture
def alice(site: Site) -> Browser:
    browser = site.browser()
    browser.enter()
    return browser


@pytest.fixture
def bob(site: Site) -> Browser:
    browser = site.browser("192.168.1.3")
    browser.enter("bob")
    return browser


def events(answer: Any, enough: int) -> list[tuple[str, Any, str]]:
    """The first events of a stream, and the end of it."""
    found: list[tuple[str, Any, str]] = []
    for chunk in answer.response:
        for one in chunk.decode().strip().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in one.split("\n") if not line.startswith(":"))
            if "event" in fields:
                found.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))
        if len(found) >= enough:
            break
    answer.close()
    return found


# --- the released contract ---------------------------------------------------------------------------------------


def test_the_front_door_leads_into_a_room_as_nobody_in_particular(site: Site) -> None:
    answer = site.browser().get("/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/chatroom/anon_user/flask/en")


def test_the_front_door_leads_back_to_where_one_was(alice: Browser) -> None:
    alice.enter("Alice Ä.", "the kitchen", "pt_br")
    location = alice.get("/").headers["Location"]
    assert location == "/chatroom/Alice%20%C3%84./the%20kitchen/pt-BR"
    assert alice.get(location).status_code == 200


def test_a_room_is_a_page(site: Site) -> None:
    answer = site.browser().enter("alice", "livingroom", "en")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    body = re.search(r"<body[^>]*>", answer.text)
    assert body is not None
    facts = dict(re.findall(r'data-([a-z-]+)="([^"]*)"', body[0]))
    assert facts["user-id"] == site.chat._conversation.people.named("alice").user_id  # type: ignore[union-attr]
    del facts["user-id"]
    assert facts == {
        "base": "/",
        "room": "livingroom",
        "user": "alice",
        "lang": "en",
        "bot": "HiveMind",
        "max-length": "2000",
        "embeds": "",
        "private": "choice",
        "history-limit": "500",
    }


def test_the_form_of_the_page_says_who_one_is(alice: Browser) -> None:
    page = alice.enter("alice", "livingroom", "de-DE").text
    for name, value in (("username", "alice"), ("site_id", "livingroom"), ("lang", "de-DE")):
        assert f'name="{name}" value="{value}"' in page


def test_a_slash_in_a_name_is_another_page(site: Site) -> None:
    assert site.browser().get("/chatroom/al/ice/flask/en").status_code == 404


def test_a_form_leads_back_into_the_room(alice: Browser) -> None:
    answer = alice.say_form("hi", "alice", "kitchen")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/chatroom/alice/kitchen/en")
    assert [(m["message"], m["username"], m["incoming"], m["room"]) for m in alice.messages()] == [
        ("hi", "alice", False, "kitchen")
    ]


def test_a_multipart_form_is_a_form(site: Site) -> None:
    fields = {"username": "alice", "site_id": "flask", "lang": "en", "message": "hi"}
    answer = site.browser().post("/send_message", data=fields, content_type="multipart/form-data")
    assert answer.status_code == 302
    assert [m["message"] for m in site.browser().messages()] == ["hi"]


@pytest.mark.parametrize("blank", ["", "  "])
def test_blank_fields_have_the_released_defaults(site: Site, blank: str) -> None:
    script = site.browser()
    answer = script.post("/send_message", data={"username": blank, "site_id": blank, "lang": blank, "message": "hi"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/chatroom/anon_user/flask/en")
    [message] = script.messages()
    assert (message["username"], message["room"], message["lang"]) == ("anon_user", "flask", "en")


@pytest.mark.parametrize("missing", ["username", "site_id", "lang", "message"])
@pytest.mark.parametrize("how", ["data", "json"])
def test_each_key_has_to_be_there(site: Site, missing: str, how: str) -> None:
    fields = {"username": "a", "site_id": "b", "lang": "en", "message": "hi"}
    del fields[missing]
    answer = site.browser().post("/send_message", **{how: fields})
    assert answer.status_code == 400
    assert missing in answer.text


def test_messages_are_one_list_oldest_first_with_the_released_keys(site: Site, alice: Browser) -> None:
    alice.say("one", room="kitchen")
    alice.say("two", room="garage")
    [first, _] = send_all(site.chat)
    hear(site.chat, spoken("so", first))
    answer = site.browser().get("/messages")
    assert answer.mimetype == "application/json"
    assert [(m["incoming"], m["username"], m["message"]) for m in answer.get_json()] == [
        (False, "alice", "one"),
        (False, "alice", "two"),
        (True, "HiveMind", "@alice - so"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/send_message", "POST"),
        ("POST", "/messages", "GET"),
        ("POST", "/chatroom/a/b/en", "GET"),
        ("GET", "/typing", "POST"),
        ("GET", "/logout", "POST"),
        ("DELETE", "/", "GET"),
    ],
)
def test_another_method_is_not_allowed(site: Site, method: str, path: str, allowed: str) -> None:
    answer = site.browser().open(path, method)
    assert answer.status_code == 405
    assert allowed in answer.headers["Allow"]


def test_a_post_without_a_link_is_accepted(site: Site, alice: Browser) -> None:
    site.chat.set_link(DOWN)
    assert alice.say_form().status_code == 302
    assert [(m["state"], m["note"]) for m in alice.messages()] == [("sending", str(SENTENCES["waiting_for_hub"]))]


def test_the_logo_is_a_png(site: Site) -> None:
    answer = site.browser().get("/static/logo.png")
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    answer.close()


# --- names, rooms, languages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/chatroom/HiveMind/flask/en",
        "/chatroom/h%C3%AFvemind/flask/en",
        "/chatroom/alice/%2e%2e%20/en",
        "/chatroom/alice/flask/klingon-language",
        "/chatroom/%20/flask/en",
        "/chatroom/a%00b/flask/en",
        f"/chatroom/{'a' * 41}/flask/en",
        "/chatroom/al%5Cice/flask/en",
        "/chatroom/al%E2%80%AEice/flask/en",
    ],
)
def test_what_is_no_name_room_or_language_is_refused_in_words(site: Site, path: str) -> None:
    answer = site.browser().get(path, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert "<h1>" in answer.text


@pytest.mark.parametrize(
    "change", [{"username": "HiveMind"}, {"site_id": ".."}, {"lang": "?"}, {"username": "a/b"}, {"username": "\ud800"}]
)
def test_what_cannot_be_is_not_posted_either(site: Site, change: dict[str, str]) -> None:
    fields = {"username": "a", "site_id": "b", "lang": "en", "message": "x"} | change
    answer = site.browser().post("/send_message", data=json.dumps(fields), content_type="application/json")
    assert answer.status_code == 400
    assert answer.get_json().keys() == {"error", "message", "cure"}
    assert site.browser().messages() == []


def test_a_name_that_is_taken_gets_a_number_and_works_with_it(site: Site, alice: Browser) -> None:
    name = "a" * 40
    alice.enter(name)
    other = site.browser("192.168.1.9")
    page = other.enter(name)
    shown = re.search(r'name="username" value="([^"]*)"', page.text)
    assert shown is not None
    assert shown[1] == "a" * 38 + " 2"
    answer = other.say_form("hi", shown[1])
    assert other.get(answer.headers["Location"]).status_code == 200
    assert [m["username"] for m in other.messages()] == [shown[1]]


def test_who_one_is_stays_the_same(site: Site, alice: Browser, bob: Browser) -> None:
    ids = [alice.say().get_json()["user_id"] for _ in range(2)]
    alice.enter("alice", "kitchen")
    ids.append(alice.say().get_json()["user_id"])
    assert len(set(ids)) == 1
    assert bob.say(name="alice").get_json()["username"] == "alice 2"
    assert alice.say(name="al").get_json()["username"] == "al"


def test_a_script_cannot_speak_under_the_name_of_a_browser(site: Site, alice: Browser) -> None:
    said = site.browser().say(name="alice").get_json()
    assert said["username"] == "alice 2"
    assert said["user_id"] != alice.say().get_json()["user_id"]


# --- posting as a script -----------------------------------------------------------------------------------------


def test_a_script_is_told_what_became_of_its_message(site: Site) -> None:
    answer = site.browser().say("hi", "robot", "workshop")
    assert answer.status_code == 202
    said = answer.get_json()
    assert (said["text"], said["state"], said["room"], said["reply_to"]) == ("hi", "sending", "workshop", None)
    assert "owner" not in said


@pytest.mark.parametrize("body", ["", "[]", '"x"', "3", "null", "{", '{"message": ["x"]}', '{"username": {}}', "\xff"])
def test_json_of_another_shape_is_refused(site: Site, body: str) -> None:
    answer = site.browser().post("/send_message", data=body.encode("latin-1"), content_type="application/json")
    assert (answer.status_code, answer.mimetype) == (400, "application/json")


def test_numbers_are_text_and_null_is_blank(site: Site) -> None:
    answer = site.browser().post("/send_message", json={"username": None, "site_id": 3, "lang": "", "message": 42})
    assert (answer.status_code, answer.get_json()["text"], answer.get_json()["room"]) == (202, "42", "3")


@pytest.mark.parametrize(
    ("text", "status", "code"), [("", 400, "empty"), ("   ", 400, "empty"), ("x" * 2001, 413, "too_long")]
)
def test_a_message_is_neither_blank_nor_too_long(site: Site, text: str, status: int, code: str) -> None:
    answer = site.browser().say(text)
    assert (answer.status_code, answer.get_json()["error"]) == (status, code)
    assert answer.get_json()["cure"]


@pytest.mark.parametrize("how", ["say", "say_form"])
def test_the_longest_message_fits_whatever_it_is_written_in(how: str) -> None:
    site = Site(message_length=20_000)
    assert getattr(site.browser(), how)("\U0001f600" * 20_000).status_code in (202, 302)


def test_a_request_that_is_too_large_is_not_read(site: Site) -> None:
    for how in ("say", "say_form"):
        assert getattr(site.browser(), how)("x" * 1_000_000).status_code == 413


def test_what_comes_too_fast_is_told_when_to_come_again() -> None:
    site = Site(messages_a_minute=3)
    script = site.browser()
    assert script.say().status_code == 202
    answer = script.say()
    assert (answer.status_code, answer.get_json()["error"]) == (429, "rate_limited")
    assert answer.headers["Retry-After"] == "20"
    form = script.say_form()
    assert (form.status_code, form.mimetype, form.headers["Retry-After"]) == (429, "text/html", "20")


def test_a_refused_link_is_told(site: Site, alice: Browser) -> None:
    site.chat.set_link(REFUSED)
    answer = alice.say()
    assert (answer.status_code, answer.get_json()) == (
        503,
        {"error": "refused", "message": REFUSED.text, "cure": REFUSED.cure},
    )


@pytest.mark.parametrize(("given", "code"), [({"users": 1}, "too_many_users"), ({"rooms": 1}, "too_many_rooms")])
def test_when_there_are_too_many(given: dict[str, int], code: str) -> None:
    site = Site(**given)
    site.browser().say(name="first", room="first")
    answer = site.browser().say(name="second", room="second")
    assert (answer.status_code, answer.get_json()["error"]) == (503, code)


# --- private -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["say", "say_form"])
def test_a_private_message_is_for_its_own_browser(site: Site, alice: Browser, bob: Browser, how: str) -> None:
    getattr(alice, how)("the secret", private="1")
    [number] = send_all(site.chat)
    hear(site.chat, spoken("the secret answer", number))
    assert [m["text"] for m in alice.messages()] == ["the secret", "the secret answer"]
    assert "the secret answer" in alice.enter().text
    for browser in (bob, site.browser()):
        for path in ("/messages", "/messages?room=flask", "/messages?since=1", "/status?room=flask"):
            assert "secret" not in browser.get(path).text
        assert "secret" not in str(events(browser.get("/events?room=flask"), 1))
        assert "secret" not in browser.enter("bob").text


def test_a_private_message_needs_a_cookie(site: Site) -> None:
    answer = site.browser().say(private=True)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "private_needs_cookies")


@pytest.mark.parametrize("value", ["", "0", False, None, "no"])
def test_not_private(alice: Browser, value: Any) -> None:
    assert alice.say(private=value).get_json()["private"] is False


def test_a_cookie_of_somebody_else_cannot_be_made_up(site: Site, alice: Browser) -> None:
    alice.say("secret", private=True)
    cookie = alice.cookie()
    thief = site.browser()
    for value in (
        cookie.value[:-1] + ("A" if cookie.value[-1] != "A" else "Q"),  # whose last bits count for nothing
        cookie.value.split(".")[0],
        "",
        "x.y.z",
    ):
        thief.client.set_cookie("hivemind_chatroom", value, domain="192.168.1.10")
        assert thief.messages() == []


# --- asking for messages -----------------------------------------------------------------------------------------


def test_messages_of_a_room_since_a_number_and_so_many(alice: Browser) -> None:
    numbers = [alice.say(text, room=room).get_json()["id"] for text, room in (("a", "x"), ("b", "y"), ("c", "x"))]
    assert [m["text"] for m in alice.messages("?room=x")] == ["a", "c"]
    assert [m["text"] for m in alice.messages(f"?since={numbers[0]}")] == ["b", "c"]
    assert [m["text"] for m in alice.messages("?limit=2")] == ["b", "c"]
    assert alice.messages("?limit=0") == []
    assert alice.messages("?room=z") == []
    assert [m["text"] for m in alice.messages(f"?room=x&since={numbers[0]}&limit=9")] == ["c"]


@pytest.mark.parametrize("query", ["since=x", "since=-1", "limit=1.5", "since=" + "9" * 17, "room=a/b", "room=%00"])
def test_a_question_that_makes_no_sense_is_refused(site: Site, query: str) -> None:
    answer = site.browser().get(f"/messages?{query}", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.mimetype) == (400, "application/json")


def test_what_has_not_changed_is_not_sent_again(site: Site, alice: Browser) -> None:
    alice.say()
    first = alice.get("/messages")
    same = {"If-None-Match": first.headers["ETag"]}
    again = alice.get("/messages", headers=same)
    assert (again.status_code, again.data) == (304, b"")
    assert "Content-Security-Policy" in again.headers
    send_all(site.chat)
    changed = alice.get("/messages", headers=same)
    assert (changed.status_code, changed.get_json()[0]["state"]) == (200, "sent")


def test_messages_are_for_nobody_elses_cache(alice: Browser) -> None:
    answer = alice.get("/messages")
    assert answer.headers["Cache-Control"] == "no-cache, private"
    assert answer.headers["Vary"] == "Cookie"


def test_other_letters_are_sent_as_they_are(alice: Browser) -> None:
    alice.say("żółw 🐢")
    assert "żółw 🐢" in alice.get("/messages").text


# --- the event stream --------------------------------------------------------------------------------------------


def test_a_stream_says_how_things_stand_and_what_happens(site: Site, alice: Browser, bob: Browser) -> None:
    first = alice.say("one").get_json()
    stream = bob.get("/events?room=flask&username=bob")
    second = alice.say("two").get_json()
    assert stream.mimetype == "text/event-stream"
    assert stream.headers["Cache-Control"] == "no-store"
    assert stream.headers["X-Accel-Buffering"] == "no"
    found = events(stream, 3)
    assert [(name, number) for name, _, number in found] == [
        ("hello", ""),
        ("message", str(first["seq"])),
        ("message", str(second["seq"])),
    ]
    assert found[2][1] == second
    assert len(site.chat._audience) == 0


def test_a_stream_tells_how_to_come_back(site: Site) -> None:
    stream = site.browser().get("/events")
    assert next(iter(stream.response)) == b"retry: 3000\n\n"
    stream.close()


@pytest.mark.parametrize("last", ["", "x", "-1", "9" * 30, "١"])
def test_a_strange_last_event_is_no_matter(alice: Browser, last: str) -> None:
    alice.say("one")
    found = events(alice.get("/events?room=flask", headers={"Last-Event-ID": last}), 2)
    assert found[-1][1]["text"] == "one"


def test_the_last_event_goes_before_the_address(alice: Browser) -> None:
    first, _ = (alice.say(text).get_json()["seq"] for text in ("one", "two"))
    found = events(alice.get("/events?room=flask&since=0", headers={"Last-Event-ID": str(first)}), 2)
    assert [data.get("text") for _, data, _ in found] == [None, "two"]
    found = events(alice.get(f"/events?room=flask&since={first}"), 2)
    assert [data.get("text") for _, data, _ in found] == [None, "two"]


def test_a_stream_is_of_the_room_and_person_last_seen(site: Site, alice: Browser) -> None:
    alice.enter("al", "kitchen")
    stream = alice.get("/events")
    [entry] = site.chat.status("", "kitchen")["people"]
    assert entry["username"] == "al"
    stream.close()
    assert site.chat.status("", "kitchen")["people"] == []


def test_a_look_at_the_head_of_a_stream_opens_none(site: Site) -> None:
    for _ in range(40):
        answer = site.browser().open("/events?room=flask", "HEAD")
        assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    assert len(site.chat._audience) == 0


def test_a_stream_that_is_never_read_is_let_go(site: Site) -> None:
    site.browser().get("/events").close()
    assert len(site.chat._audience) == 0


def test_without_a_free_stream_one_polls() -> None:
    site = Site(streams=1)
    open_one = site.browser().get("/events")
    answer = site.browser().get("/events", headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.get_json()["error"], answer.headers["Retry-After"]) == (503, "no_streams", "30")
    open_one.close()
    again = site.browser().get("/events")
    assert again.status_code == 200
    again.close()


def test_a_silent_stream_beats(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind_chatroom.app.LOOK_S", 0.005)
    quick = Site(heartbeat=0.01)
    stream = quick.browser().get("/events")
    chunks = iter(stream.response)
    assert [next(chunks) for _ in range(4)][2:] == [b": beat\n\n"] * 2
    stream.close()


def test_a_stream_ends_when_its_browser_is_gone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind_chatroom.app.LOOK_S", 0.005)
    looks = iter([False, False, True])
    gone = {"waitress.client_disconnected": lambda: next(looks)}
    stream = site.browser().get("/events", environ_overrides=gone)
    assert [chunk[:12] for chunk in stream.response] == [b"retry: 3000\n", b"event: hello"]
    stream.close()
    assert len(site.chat._audience) == 0


def test_at_the_end_a_stream_says_goodbye(site: Site) -> None:
    stream = site.browser().get("/events")
    site.chat.stop()
    assert [name for name, _, _ in events(stream, 99)] == ["hello", "bye"]


# --- status, typing, health --------------------------------------------------------------------------------------


def test_the_status_is_what_a_stream_begins_with(site: Site, alice: Browser, bob: Browser) -> None:
    stream = bob.get("/events?room=flask")
    alice.post("/typing", json={"username": "alice", "site_id": "flask", "typing": True})
    status = alice.get("/status?room=flask").get_json()
    assert status == {
        "room": "flask",
        "link": {"state": "connected", "text": "", "cure": ""},
        "people": [{"user_id": site.chat._conversation.people.named("bob").user_id, "username": "bob"}],  # type: ignore[union-attr]
        "typing": ["alice"],
        "you": [site.chat._conversation.people.named("alice").user_id],  # type: ignore[union-attr]
    }
    stream.close()


@pytest.mark.parametrize("how", ["json", "data"])
def test_typing_is_noted(site: Site, alice: Browser, how: str) -> None:
    for typing, names in (("1", ["alice"]), ("", [])):
        answer = alice.post("/typing", **{how: {"username": "alice", "site_id": "flask", "typing": typing}})
        assert (answer.status_code, answer.data) == (204, b"")
        assert site.chat.status("", "flask")["typing"] == names


def test_the_process_is_there_and_whether_the_hub_is(site: Site) -> None:
    probe = site.browser("203.0.113.9", "http://stranger.example")
    assert (probe.get("/healthz").status_code, probe.get("/healthz").get_json()) == (200, {"status": "alive"})
    ready = probe.get("/readyz")
    assert (ready.status_code, ready.get_json()) == (200, {"status": "ready", "link": "connected"})
    site.chat.set_link(DOWN)
    ready = probe.get("/readyz")
    assert (ready.status_code, ready.get_json()) == (503, {"status": "not ready", "link": "down"})
    assert probe.cookie() is None


# --- text is text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", SCRIPTS)
def test_what_people_and_the_assistant_say_is_text(site: Site, alice: Browser, text: str) -> None:
    number = alice.say(text).get_json()["id"]
    send_all(site.chat)
    hear(site.chat, spoken(text, number))
    page = alice.enter().text
    for raw in ("<script>alert", "<img src=x", "</li><b>", ">49<"):
        assert raw not in page
    assert alice.messages()[0]["text"] == text


@pytest.mark.parametrize("name", [text for text in SCRIPTS if "/" not in text])
def test_names_and_rooms_are_text(site: Site, alice: Browser, name: str) -> None:
    alice.say("hi", name, name)
    page = alice.enter(quote(name, safe=""), quote(name, safe=""))
    assert page.status_code == 200
    assert "<img src=x" not in page.text
    assert ">49<" not in page.text


@pytest.mark.parametrize("path", ["/<script>alert(1)</script>", "/chatroom/<b>x/y", "/messages?room=<b>/"])
def test_errors_repeat_nothing_unescaped(site: Site, path: str) -> None:
    answer = site.browser().get(path, headers={"Accept": "text/html"})
    assert answer.status_code in (400, 404)
    assert "<script>alert" not in answer.text
    if answer.mimetype == "text/html":
        assert "<b>" not in answer.text


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "mimetype"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("application/json", "application/json"),
        ("*/*", "text/html"),
        ("", "text/html"),
        ("image/png", "text/html"),
    ],
)
def test_an_error_is_said_as_the_asker_reads_it(site: Site, accept: str, mimetype: str) -> None:
    answer = site.browser().get("/nowhere", headers={"Accept": accept})
    assert (answer.status_code, answer.mimetype) == (404, mimetype)
    sentence = SENTENCES["no_such_page"]
    assert sentence.text in answer.text
    assert sentence.cure in answer.text


def test_a_fault_of_ours_is_told_without_its_inside(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("the inside of it")

    monkeypatch.setattr(site.chat, "status", broken)
    answer = site.browser().get("/status")
    assert (answer.status_code, answer.mimetype) == (500, "application/json")
    assert "inside" not in answer.text
    assert "the inside of it" in caplog.text
    assert "Content-Security-Policy" in answer.headers


# --- the page ----------------------------------------------------------------------------------------------------


def test_a_page_comes_with_the_latest_messages(alice: Browser) -> None:
    for number in range(ON_PAGE + 5):
        alice.site.clock.advance(60)
        alice.say(f"message number {number}.")
        send_all(alice.site.chat)
    page = alice.enter().text
    assert "message number 4." not in page
    assert page.index("message number 5.") < page.index(f"message number {ON_PAGE + 4}.")


def test_switches_reach_the_page() -> None:
    site = Site(embeds=True, always_private=True, title="Our <room>", message_length=99)
    page = site.browser().enter().text
    for fact in ('data-embeds="yes"', 'data-private="always"', "Our &lt;room&gt;", 'data-max-length="99"'):
        assert fact in page


def test_the_assistants_language_is_on_the_page(site: Site, alice: Browser) -> None:
    number = alice.say().get_json()["id"]
    send_all(site.chat)
    person = site.chat._conversation.people.named("alice")
    hear(site.chat, spoken("olá", number, person, session={"lang": "pt-PT"}))
    assert 'data-lang="pt-PT"' in alice.enter().text
    assert alice.say().get_json()["lang"] == "pt-PT"


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"a":' * 15_000], ids=["lists", "objects"])
def test_what_is_nested_too_deeply_is_refused(site: Site, body: bytes) -> None:
    answer = site.browser().post("/send_message", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.get_json()["error"]


def test_who_only_looks_at_the_door_tries_no_password() -> None:
    site = Site(access=Access(room_password="sesame"))
    browser = site.browser()
    for _ in range(50):
        assert browser.open("/login", "HEAD").status_code == 200
    assert browser.post("/login", data={"password": "sesame"}).status_code == 302
    site.stop()
