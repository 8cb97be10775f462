"""What every request passes, through the whole application: address, name, origin, proxy, password; and every answer's
headers.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from helpers.chatroom_core import DOWN
from helpers.web_visitor import HOME, Browser, Site
from hivemind_chatroom.settings import Access

PASSWORD = "correct horse"
STRANGER = "203.0.113.9"
PROXY = "10.0.0.5"
BEHIND = Access(trusted_proxies=(ip_network("10.0.0.5/32"),))
GUARDED = Access(room_password=PASSWORD)
PATHS = ["/", "/chatroom/alice/flask/en", "/messages", "/events", "/status", "/nowhere", "/static/logo.png"]
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "font-src 'self'",
    "manifest-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
}


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.stop()


def status(browser: Browser, path: str, **given: Any) -> int:
    answer = browser.get(path, **given)
    answer.close()
    return int(answer.status_code)


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["error"]


JSON = {"Accept": "application/json"}

# --- where from --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_a_stranger_is_served_nothing(site: Site, path: str) -> None:
    stranger = site.browser(STRANGER)
    assert code(stranger.get(path, headers=JSON)) == (403, "address_refused")
    assert "--room-password" in stranger.get(path).text
    assert stranger.cookie() is None


@pytest.mark.parametrize("path", ["/send_message", "/typing", "/login", "/logout"])
def test_nor_can_a_stranger_send_anything(site: Site, path: str) -> None:
    assert code(site.browser(STRANGER).post(path, headers=JSON, json={})) == (403, "address_refused")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.7.7", "172.16.0.1", "::1", "fd00::1", "fe80::1"])
def test_the_network_is_served(site: Site, address: str) -> None:
    assert status(site.browser(address), "/messages") == 200


def test_everybody_is_served_where_it_is_open() -> None:
    assert status(Site(access=Access(open=True)).browser(STRANGER), "/messages") == 200


# --- by which name -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/messages", "/events", "/chatroom/alice/flask/en", "/static/logo.png"])
def test_a_name_that_is_not_ours_is_refused(site: Site, path: str) -> None:
    answer = site.browser("127.0.0.1", "http://attacker.example:8985").get(path, headers=JSON)
    assert code(answer) == (403, "host_refused")
    assert "--allowed-host" in answer.get_json()["cure"]


@pytest.mark.parametrize("base", ["http://localhost:8985", "http://chatbox.local", "http://[::1]:8985", "http://pi"])
def test_names_of_the_network_are_ours(site: Site, base: str) -> None:
    assert status(site.browser("127.0.0.1", base), "/messages") == 200


def test_a_name_may_be_allowed() -> None:
    site = Site(access=Access(allowed_hosts=("room.example",)))
    assert status(site.browser(base="https://room.example"), "/messages") == 200
    assert status(site.browser(base="https://room.example.org"), "/messages") == 403


@pytest.mark.parametrize("host", ["", "a b", "@", "[", "a:b:c", "a/b", "localhost:x", "\xe4.example"])
def test_a_host_that_is_none_is_survived(site: Site, host: str) -> None:
    for path in ("/messages", "/healthz"):
        answer = site.browser().get(path, headers=JSON, environ_overrides={"HTTP_HOST": host})
        assert answer.status_code in (200, 400, 403)


# --- from which page ---------------------------------------------------------------------------------------------

POSTS = ["/send_message", "/typing", "/logout", "/login"]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://attacker.example"},
        {"Origin": "null"},
        {"Origin": "http://192.168.1.10"},
        {"Origin": "https://192.168.1.10:8985"},
        {"Origin": "http://192.168.1.10:8985.attacker.example"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://attacker.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_the_page_of_another_site_sends_nothing(site: Site, path: str, headers: dict[str, str]) -> None:
    answer = site.browser().post(path, headers={**JSON, **headers}, data={"message": "x"})
    assert code(answer) == (403, "cross_site")
    assert site.chat.messages("", None, 0, 9) == []


@pytest.mark.parametrize(
    "headers", [{"Origin": HOME}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {}]
)
def test_the_own_page_and_scripts_send(site: Site, headers: dict[str, str]) -> None:
    fields = {"username": "a", "site_id": "b", "lang": "en", "message": "x"}
    assert site.browser().post("/send_message", data=fields, headers=headers).status_code == 302


def test_looking_changes_nothing_and_needs_no_origin(site: Site) -> None:
    assert site.browser().get("/messages", headers={"Origin": "http://attacker.example"}).status_code == 200
    assert "Access-Control-Allow-Origin" not in site.browser().get("/messages").headers


# --- through a proxy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Prefix", "Forwarded", "X-Real-IP"],
)
@pytest.mark.parametrize("path", ["/messages", "/static/logo.png"])
def test_a_proxy_that_nobody_named_is_refused(site: Site, header: str, path: str) -> None:
    answer = site.browser("127.0.0.1").get(path, headers={**JSON, header: "127.0.0.1"})
    assert code(answer) == (403, "forwarded_refused")
    assert "--trusted-proxy" in answer.get_json()["cure"]


def test_a_proxy_that_is_trusted_says_who_asks() -> None:
    site = Site(access=BEHIND)
    proxy = site.browser(PROXY)
    for forwarded, expected in (
        (STRANGER, 403),
        ("192.168.1.5", 200),
        ("192.168.1.5, " + STRANGER, 403),
        ("junk", 403),
    ):
        assert status(proxy, "/messages", headers={"X-Forwarded-For": forwarded}) == expected
    assert status(proxy, "/messages") == 200
    assert status(site.browser("10.0.0.6"), "/messages", headers={"X-Forwarded-For": "192.168.1.5"}) == 403


def test_behind_a_proxy_name_and_scheme_are_the_outer_ones() -> None:
    site = Site(access=BEHIND)
    proxy = site.browser(PROXY, "http://127.0.0.1:8985")
    outer = {"X-Forwarded-For": "192.168.1.5", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "room.example"}
    fields = {"username": "a", "site_id": "b", "lang": "en", "message": "x"}
    for origin, expected in (
        ("https://room.example", 302),
        ("http://room.example", 403),
        ("https://other.example", 403),
    ):
        answer = proxy.post("/send_message", data=fields, headers={**outer, "Origin": origin})
        assert answer.status_code == expected
    page = proxy.get("/chatroom/a/b/en", headers=outer)
    assert "Secure" in page.headers["Set-Cookie"]


# --- the cookie --------------------------------------------------------------------------------------------------


def cookie_line(answer: Any) -> str:
    return answer.headers.get("Set-Cookie", "")


def test_the_page_sets_a_cookie_that_scripts_and_other_sites_do_not_get(site: Site) -> None:
    line = cookie_line(site.browser().enter())
    parts = {part.strip().split("=")[0]: part.strip() for part in line.split(";")}
    assert parts["HttpOnly"]
    assert parts["SameSite"] == "SameSite=Lax"
    assert parts["Path"] == "Path=/"
    assert "Expires" in parts
    assert "Secure" not in parts
    assert "Domain" not in parts


def test_over_tls_the_cookie_stays_there(site: Site) -> None:
    assert "Secure" in cookie_line(site.browser(base="https://192.168.1.10").enter())


def test_nothing_but_the_page_sets_a_cookie(site: Site) -> None:
    visitors = [site.browser(), site.browser()]
    visitors[0].enter()
    for visitor in visitors:
        for path in ("/", "/messages", "/status", "/events", "/healthz", "/static/logo.png", "/nowhere"):
            answer = visitor.get(path)
            answer.close()
            assert cookie_line(answer) == "", path
        assert cookie_line(visitor.say()) == ""
        assert cookie_line(visitor.say_form()) == ""


def test_whose_browser_it_is_stays_the_same(site: Site) -> None:
    browser = site.browser()
    ids = []
    for name, room in (("alice", "flask"), ("alice", "kitchen"), ("bob", "flask"), ("alice", "flask")):
        browser.enter(name, room)
        ids.append(browser.say(name="alice").get_json()["user_id"])
    assert len(set(ids)) == 1


def test_two_chatrooms_do_not_believe_each_others_cookies() -> None:
    one, other = Site(), Site()
    other.app.secret_key = b"another"
    alice = one.browser()
    alice.enter()
    stranger = other.browser()
    stranger.client.set_cookie("hivemind_chatroom", alice.cookie().value, domain="192.168.1.10")
    assert stranger.get("/").headers["Location"] == "/chatroom/anon_user/flask/en"
    stranger.enter()
    assert stranger.say().get_json()["user_id"] != alice.say().get_json()["user_id"]


# --- the password ------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded() -> Iterator[Site]:
    made = Site(access=GUARDED)
    yield made
    made.stop()


def sign_in(browser: Browser, password: str = PASSWORD, **given: Any) -> Any:
    return browser.post("/login", data={"password": password, **given})


@pytest.mark.parametrize("path", ["/", "/chatroom/alice/flask/en"])
def test_pages_lead_to_the_password(guarded: Site, path: str) -> None:
    visitor = guarded.browser(STRANGER, "https://room.example")
    answer = visitor.get(path)
    assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, "/login")
    form = visitor.get(answer.headers["Location"])
    assert (form.status_code, f'name="next" value="{path}"' in form.text) == (200, True)
    signed = sign_in(visitor, next=path)
    assert (signed.status_code, signed.headers["Location"]) == (302, path)
    assert visitor.get(path).status_code in (200, 302)
    assert "/login" not in visitor.get(path).headers.get("Location", "")


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/json", "text/event-stream", ""])
@pytest.mark.parametrize("path", ["/messages", "/events", "/status"])
def test_scripts_are_told_that_there_is_a_password(guarded: Site, path: str, accept: str) -> None:
    assert code(guarded.browser().get(path, headers={"Accept": accept})) == (401, "sign_in")


def test_nothing_is_sent_without_the_password(guarded: Site) -> None:
    visitor = guarded.browser()
    assert code(visitor.say()) == (401, "sign_in")
    assert visitor.say_form().status_code == 401
    assert code(visitor.post("/typing", json={"typing": True})) == (401, "sign_in")
    assert visitor.get("/nowhere").status_code == 401
    assert guarded.chat.messages("", None, 0, 9) == []


def test_what_the_sign_in_page_needs_is_there_for_all(guarded: Site) -> None:
    visitor = guarded.browser(STRANGER)
    for path in ("/static/logo.png", "/static/base.css", "/healthz", "/readyz", "/login"):
        assert status(visitor, path) == 200


def test_who_has_signed_in_stays_so_until_they_sign_out(guarded: Site) -> None:
    visitor = guarded.browser()
    sign_in(visitor)
    visitor.enter()
    assert visitor.say().status_code == 202
    assert visitor.get("/login").status_code == 302
    assert status(visitor, "/events") == 200
    answer = visitor.post("/logout")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login")
    assert visitor.get("/messages").status_code == 401


def test_who_signs_in_again_is_the_same_person(guarded: Site) -> None:
    visitor = guarded.browser()
    ids = []
    for _ in range(2):
        sign_in(visitor)
        visitor.enter()
        ids.append(visitor.say().get_json()["user_id"])
        visitor.post("/logout")
    assert ids[0] == ids[1]


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD + " ", PASSWORD.upper(), "\u00fc", "x" * 10_000])
def test_another_password_is_refused_in_words(guarded: Site, password: str) -> None:
    visitor = guarded.browser()
    answer = sign_in(visitor, password)
    assert (answer.status_code, answer.mimetype) == (403, "text/html")
    assert "This is not the password of the room." in answer.text
    assert visitor.get("/messages").status_code == 401


def test_the_password_cannot_be_tried_for_long(guarded: Site) -> None:
    attacker = guarded.browser(STRANGER)
    for _ in range(20):
        assert sign_in(attacker, "guess").status_code == 403
    assert sign_in(guarded.browser(STRANGER)).status_code == 429
    assert sign_in(guarded.browser()).status_code == 302
    guarded.clock.advance(60)
    assert sign_in(attacker).status_code == 302


def test_who_signed_in_with_an_older_password_has_to_again(guarded: Site) -> None:
    visitor = guarded.browser()
    sign_in(visitor)
    changed = Site(access=Access(room_password="another"))
    later = changed.browser()
    later.client.set_cookie("hivemind_chatroom", visitor.cookie().value, domain="192.168.1.10")
    assert later.get("/messages").status_code == 401


@pytest.mark.parametrize(
    "wanted",
    [
        "//attacker.example",
        "/\\attacker.example",
        "https://attacker.example",
        "javascript:alert(1)",
        "",
        "/\t/attacker.example",
        "attacker.example",
        "/\n/attacker.example",
        "\\\\attacker.example",
    ],
)
def test_signing_in_leads_nowhere_else(guarded: Site, wanted: str) -> None:
    assert sign_in(guarded.browser(), next=wanted).headers["Location"] == "/"


def test_signing_in_leads_to_odd_names_too(guarded: Site) -> None:
    visitor = guarded.browser()
    path = "/chatroom/J%C3%BCrgen%20%25/the%20kitchen/en"
    location = visitor.get(path).headers["Location"]
    form = visitor.get(location).text
    wanted = form.split('name="next" value="')[1].split('"')[0]
    visitor.get(sign_in(visitor, next=wanted).headers["Location"])
    assert visitor.get("/").headers["Location"] == path


def test_what_is_wanted_next_is_text(guarded: Site) -> None:
    assert "<script>alert" not in guarded.browser().get('/login?next="><script>alert(1)</script>').text


def test_without_a_password_there_is_nothing_to_sign_in_to(site: Site) -> None:
    assert site.browser().get("/login").headers["Location"] == "/"
    assert sign_in(site.browser(), "").headers["Location"] == "/"
    assert "Sign out" not in site.browser().enter().text


# --- under a path ------------------------------------------------------------------------------------------------


def test_everything_is_under_the_prefix() -> None:
    site = Site(prefix="/chat", access=GUARDED)
    visitor = site.browser()
    assert visitor.get("/chat").headers["Location"] == "/chat/login?next=/"
    signed = sign_in_under(visitor, "/chat", next="/chatroom/alice/flask/en")
    assert signed.headers["Location"] == "/chat/chatroom/alice/flask/en"
    page = visitor.get(signed.headers["Location"])
    assert "Path=/chat" in cookie_line(page)
    assert 'data-base="/chat/"' in page.text
    assert 'action="/chat/send_message"' in page.text
    assert 'href="/static' not in page.text
    assert visitor.get("/chat/").headers["Location"] == "/chat/chatroom/alice/flask/en"
    assert status(visitor, "/chat/static/logo.png") == 200
    fields = {"username": "alice", "site_id": "flask", "lang": "en", "message": "hi"}
    sent = visitor.post("/chat/send_message", data=fields)
    assert sent.headers["Location"] == "/chat/chatroom/alice/flask/en"
    assert [m["text"] for m in visitor.get("/chat/messages").get_json()] == ["hi"]


def sign_in_under(browser: Browser, prefix: str, **given: Any) -> Any:
    return browser.post(f"{prefix}/login", data={"password": PASSWORD, **given})


def test_a_proxy_may_take_the_prefix_away() -> None:
    visitor = Site(prefix="/chat/").browser()
    assert visitor.get("/").headers["Location"] == "/chat/chatroom/anon_user/flask/en"
    assert visitor.get("/chatroom/anon_user/flask/en").status_code == 200


@pytest.mark.parametrize("path", ["/chat//attacker.example", "/chat//attacker.example/..", "//attacker.example"])
def test_no_path_leads_to_another_site(path: str) -> None:
    answer = Site(prefix="/chat").browser().get(path)
    assert not answer.headers.get("Location", "/").startswith(("//", "http://attacker"))


# --- headers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PATHS, "/healthz", "/readyz", "/login", "/messages?since=x", "/chatroom/a//en"])
@pytest.mark.parametrize("address", ["192.168.1.2", STRANGER])
def test_every_answer_has_the_headers_that_browsers_obey(site: Site, path: str, address: str) -> None:
    answer = site.browser(address).get(path)
    answer.close()
    assert set(answer.headers["Content-Security-Policy"].split("; ")) == POLICY
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert answer.headers["Cache-Control"]


def test_every_answer_to_a_post_has_them_too(site: Site) -> None:
    visitor = site.browser()
    site.chat.set_link(DOWN)
    for answer in (visitor.say(), visitor.say_form(), visitor.say(""), visitor.post("/typing", json={})):
        assert set(answer.headers["Content-Security-Policy"].split("; ")) == POLICY
        assert answer.headers["Cache-Control"] == "no-store"


def test_embeds_are_let_in_only_where_they_are_switched_on() -> None:
    policy = Site(embeds=True).browser().enter().headers["Content-Security-Policy"].split("; ")
    assert set(policy) - POLICY == {
        "img-src 'self' data: https:",
        "media-src https:",
        "frame-src https://www.youtube-nocookie.com",
    }
    assert "script-src 'self'" in policy


def test_pages_are_kept_by_nobody_and_own_files_asked_for_again(site: Site) -> None:
    assert site.browser().enter().headers["Cache-Control"] == "no-store"
    static = site.browser().get("/static/logo.png")
    assert static.headers["Cache-Control"] == "no-cache"
    assert static.headers["ETag"]
    static.close()


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/nothing"]
)
def test_own_files_are_all_there_is(site: Site, path: str) -> None:
    assert status(site.browser(), path) in (308, 404)


def test_a_page_has_nothing_inline_and_nothing_of_others(site: Site) -> None:
    for page in (site.browser().enter().text, site.browser().get("/nowhere").text):
        for inline in ("<style", " style=", "onclick", "onload", "javascript:", "//cdn", "https://"):
            assert inline not in page
        assert page.count("<script") == page.count("<script src=") + page.count('<script type="module" src=')
