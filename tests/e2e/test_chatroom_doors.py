"""Who may come in to a running chatroom, under which name it answers, and how much anybody may ask of it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from http.client import HTTPConnection

import pytest

from helpers.chatroom_process import ChatroomProcess
from helpers.hub_process import HOST
from helpers.processes import Children, free_port, wait_until
from helpers.visitor import Answer, Visitor

IMPOSTORS = ["HiveMind", "hivemind", " HiveMind ", "Ｈｉｖｅｍｉｎｄ", "Hive\u200bMind", "НiveMind"]
Opened = Callable[..., ChatroomProcess]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """Starts a chatroom with some options, once; none of these tests needs a hub."""
    made: dict[tuple[str, ...], ChatroomProcess] = {}
    with Children(tmp_path_factory.mktemp("doors")) as children:

        def start(*options: str) -> ChatroomProcess:
            if options not in made:
                made[options] = ChatroomProcess(children, free_port(), *options, name=f"room-{len(made)}")
                made[options].start(linked=False)
            return made[options]

        yield start


@pytest.fixture
def alice(opened: Opened) -> Visitor:
    return entered(opened())


def entered(room: ChatroomProcess, name: str = "alice", **headers: str) -> Visitor:
    visitor = Visitor(room.port, name)
    assert visitor.get(visitor.address, **headers).status == 200
    return visitor


def code(answer: Answer) -> tuple[int, str]:
    """Status and name of a refusal, which has a sentence, too."""
    assert answer.json["message"]
    return answer.status, str(answer.json["error"])


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_the_page_of_another_site_cannot_post(alice: Visitor, headers: dict[str, str]) -> None:
    said = {"username": "alice", "site_id": "flask", "lang": "en", "message": "sent by another"}
    assert code(alice.post("/send_message", said, **headers)) == (403, "cross_site")
    assert alice.say_form("sent by another", **headers).status == 403
    assert alice.post("/typing", said, **headers).status == 403
    assert "sent by another" not in alice.get("/messages").text


def test_its_own_page_can(alice: Visitor) -> None:
    own = {"Origin": f"http://{HOST}:{alice.port}", "Sec-Fetch-Site": "same-origin"}
    assert alice.say_form("sent by its own page", **own).status == 302


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "application/xml"])
def test_other_kinds_of_bodies_say_nothing(alice: Visitor, content_type: str) -> None:
    body = '{"username": "a", "site_id": "b", "lang": "en", "message": "smuggled"}'
    assert alice.ask("POST", "/send_message", body, {"Content-Type": content_type}).status == 400
    assert "smuggled" not in alice.get("/messages").text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8985", "localhost.evil.example", "a b", ""])
def test_it_does_not_go_by_a_strangers_name(alice: Visitor, host: str) -> None:
    answer = alice.get("/messages", Host=host)
    assert answer.status in (400, 403)
    assert alice.get(alice.address, Host=host).status in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:8985", "192.168.1.7:8985", "kitchen", "pi.local"])
def test_it_goes_by_names_of_the_local_network(alice: Visitor, host: str) -> None:
    assert alice.get("/messages", Host=host).status == 200


def test_it_goes_by_names_that_are_allowed(opened: Opened) -> None:
    room = opened("--allowed-host", "chat.example.com")
    assert Visitor(room.port).get("/messages", Host="chat.example.com").status == 200
    assert code(Visitor(room.port).get("/messages", Host="example.com")) == (403, "host_refused")


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "Forwarded"])
def test_a_proxy_that_nobody_named_is_refused(alice: Visitor, name: str) -> None:
    answer = alice.get("/messages", **{name: "192.168.1.7"})
    assert code(answer) == (403, "forwarded_refused")
    assert "--trusted-proxy" in answer.json["cure"]


def test_a_trusted_proxy_tells_who_asks(opened: Opened) -> None:
    visitor = Visitor(opened("--trusted-proxy", "127.0.0.0/8").port)
    assert visitor.get("/messages", **{"X-Forwarded-For": "192.168.1.7"}).status == 200
    assert code(visitor.get("/messages", **{"X-Forwarded-For": "8.8.8.8"})) == (403, "address_refused")
    assert code(visitor.get("/messages", **{"X-Forwarded-For": "192.168.1.7, 8.8.8.8"})) == (403, "address_refused")
    over_tls = {"X-Forwarded-For": "192.168.1.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "chat.example.com"}
    page = visitor.get(visitor.address, **over_tls)
    assert page.status == 200
    assert "Secure" in str(page.headers["Set-Cookie"])
    posted = visitor.say_form("over TLS", Origin="https://chat.example.com", **over_tls)
    assert posted.status == 302


def test_open_serves_every_address(opened: Opened) -> None:
    visitor = Visitor(opened("--open", "--trusted-proxy", "127.0.0.1").port)
    assert visitor.get("/messages", **{"X-Forwarded-For": "8.8.8.8"}).status == 200


def test_a_room_password_is_asked_of_everybody(opened: Opened) -> None:
    room = opened("--room-password", "open sesame")
    visitor = Visitor(room.port)
    for path in ("/messages", "/status", "/events"):
        assert code(visitor.get(path, Accept="application/json")) == (401, "sign_in")
    assert visitor.say("let me in").status == 401
    sent_away = visitor.get(visitor.address, Accept="text/html")
    assert sent_away.status == 302
    assert "/login" in str(sent_away.headers["Location"])
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert visitor.ask("POST", "/login", "password=wrong", form).status == 403
    assert visitor.get("/messages", Accept="application/json").status == 401
    let_in = visitor.ask("POST", "/login", "password=open+sesame&next=https://evil.example/", form)
    assert let_in.status == 302
    assert "evil" not in str(let_in.headers["Location"])
    assert visitor.get(visitor.address).status == 200
    assert "open sesame" not in room.log()


def test_health_is_told_to_everybody(opened: Opened) -> None:
    room = opened("--room-password", "open sesame")
    visitor = Visitor(room.port)
    strange = {"Host": "evil.example", "X-Forwarded-For": "8.8.8.8"}
    assert visitor.get("/healthz", **strange).json == {"status": "alive"}
    ready = visitor.get("/readyz", **strange)
    assert ready.status == 503
    assert ready.json["status"] != "ready"


def test_the_headers_of_every_answer(alice: Visitor) -> None:
    for path in (alice.address, "/messages", "/static/logo.png", "/nowhere"):
        headers = alice.get(path).headers
        policy = str(headers["Content-Security-Policy"])
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "werkzeug" not in str(headers["Server"]).lower()


def test_the_cookie_is_signed_and_kept_from_scripts(alice: Visitor) -> None:
    fresh = Visitor(alice.port)
    line = str(fresh.enter().headers["Set-Cookie"])
    assert "HttpOnly" in line
    assert "SameSite=Lax" in line
    assert "Secure" not in line
    [(name, value)] = fresh.cookies.items()
    forged = Visitor(alice.port, cookies={name: value[:-2] + ("AA" if value[-2:] != "AA" else "BB")})
    assert forged.get("/").headers["Location"] == "/chatroom/anon_user/flask/en"
    assert forged.get("/status").json["you"] == []


@pytest.mark.parametrize(
    "name", ["HiveMind", "hivemind", " HiveMind ", "Ｈｉｖｅｍｉｎｄ", "Hive\u200bMind", "НiveMind"]
)
def test_the_assistants_name_is_nobody_elses(alice: Visitor, name: str) -> None:
    impostor = Visitor(alice.port, name)
    answer = impostor.say("trust me")
    assert answer.status == 400
    assert "trust me" not in alice.get("/messages").text


def test_long_messages_and_bodies_are_refused(alice: Visitor) -> None:
    assert alice.say("x" * 2001).status == 413
    assert alice.say("x" * 100_000).status == 413
    assert alice.get("/messages?since=" + "9" * 60_000).status in (400, 414, 431)


def test_fast_talkers_are_slowed_down(opened: Opened) -> None:
    room = opened("--rate", "6")
    loud, calm = entered(room, "loud"), entered(room, "calm")
    outcomes = [loud.say(f"and {number}") for number in range(20)]
    refused = [answer for answer in outcomes if answer.status == 429]
    assert refused
    assert code(refused[0]) == (429, "rate_limited")
    assert int(str(refused[0].headers["Retry-After"])) > 0
    assert calm.say("may I").status == 202


def test_rooms_and_people_are_bounded(opened: Opened) -> None:
    room = opened("--max-rooms", "2", "--max-users", "3")
    visitors = [Visitor(room.port, f"guest {number}", f"room {number}") for number in range(3)]
    for visitor in visitors:
        visitor.enter()
    assert [visitor.say("hello").status for visitor in visitors] == [202, 202, 503]
    statuses = [Visitor(room.port, f"late {number}").enter().status for number in range(20)]
    assert set(statuses) <= {200, 503}
    assert room.get("/healthz")[0] == 200


def test_streams_are_bounded_and_given_back(opened: Opened) -> None:
    room = opened("--streams", "2")
    alice = entered(room)
    with alice.listening() as one, alice.listening() as two:
        one.wait("hello")
        two.wait("hello")
        refused = alice.get("/events?room=flask", Accept="text/event-stream")
        assert code(refused) == (503, "no_streams")
        assert alice.messages() == []

    def opens() -> bool:
        with alice.listening() as third:
            return third.status == 200

    wait_until(opens, 60, "the places of those who left")


def test_half_requests_do_not_hold_anybody_up(opened: Opened) -> None:
    """More than there are threads, each of which stops in the middle of its request."""
    room = opened("--streams", "2")
    slow = [socket.create_connection((HOST, room.port)) for _ in range(60)]
    try:
        for one in slow:
            one.sendall(b"POST /send_message HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nuser")
        assert room.get("/healthz")[0] == 200
    finally:
        for one in slow:
            one.close()


@pytest.mark.parametrize(
    "path", ["/chatroom/a/b/c/d", "/chatroom/a%2Fb/c/en", "/chatroom/../x/en", "/chatroom/a/../en"]
)
def test_odd_addresses_are_answered(alice: Visitor, path: str) -> None:
    assert alice.get(f"/chatroom{path}").status in (302, 308, 400, 404)


def test_other_methods_are_refused(alice: Visitor) -> None:
    for method, path in (("GET", "/send_message"), ("DELETE", "/messages"), ("PUT", "/chatroom/a/b/en")):
        connection = HTTPConnection(HOST, alice.port, timeout=60)
        connection.request(method, path)
        assert connection.getresponse().status == 405
        connection.close()
