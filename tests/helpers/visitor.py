"""A person at the chatroom without a browser: requests with a cookie, and the event stream."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse
from http.cookies import SimpleCookie
from socket import SHUT_RDWR
from typing import Any
from urllib.parse import quote, urlencode

from .hub_process import HOST
from .processes import wait_until

WAIT_S = 60.0
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class EventStream:
    """The events of one stream so far, read in a thread until it ends."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self.events: list[tuple[str, Any, str]] = []
        """Name, data and id of each."""
        self.comments: list[str] = []
        self.retry = ""
        self._response = response
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def of(self, name: str) -> list[Any]:
        """The data of the events of one name."""
        return [data for event, data, _ in list(self.events) if event == name]

    def wait(self, name: str, **wanted: Any) -> Any:
        """The first event of this name that has these values."""

        def found() -> list[Any]:
            return [data for data in self.of(name) if not wanted or wanted.items() <= data.items()]

        return wait_until(found, WAIT_S, f"event {name} {wanted} among {self.events[-20:]}")[0]

    def _read(self) -> None:
        fields: dict[str, str] = {}
        try:
            for raw in iter(self._response.readline, b""):
                line = raw.decode().rstrip("\n")
                if not line:
                    self._note(fields)
                    fields = {}
                elif line.startswith(":"):
                    self.comments.append(line)
                else:
                    name, _, value = line.partition(":")
                    fields[name] = fields[name] + "\n" + value.strip() if name in fields else value.strip()
        except (OSError, HTTPException, ValueError, AttributeError):
            pass  # cut, or closed by us

    def _note(self, fields: Mapping[str, str]) -> None:
        self.retry = fields.get("retry", self.retry)
        if "data" in fields:
            event = fields.get("event", "message")
            self.events.append((event, json.loads(fields["data"] or "null"), fields.get("id", "")))


@dataclass
class Visitor:
    """One browser. Nothing is followed, nothing is hidden."""

    port: int
    name: str = "alice"
    room: str = "flask"
    lang: str = "en"
    prefix: str = ""
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"/chatroom/{quote(self.name, safe='')}/{quote(self.room, safe='')}/{quote(self.lang, safe='')}"

    def enter(self) -> Answer:
        """Open the page, which makes it a browser with a cookie."""
        return self.get(self.address)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def say(self, text: str, *, private: bool = False) -> Answer:
        """Send a message as the page's script does."""
        return self.post("/send_message", {**self._who(), "message": text, "private": private})

    def say_form(self, text: str, **headers: str) -> Answer:
        """Send a message as a form does."""
        return self.ask("POST", "/send_message", urlencode({**self._who(), "message": text}), form(headers))

    def post(self, path: str, value: Any, **headers: str) -> Answer:
        return self.ask("POST", path, json.dumps(value), {"Content-Type": "application/json", **headers})

    def messages(self, **query: Any) -> list[dict[str, Any]]:
        """What the array holds."""
        answer = self.get("/messages" + (f"?{urlencode(query)}" if query else ""))
        assert answer.status == 200, answer
        return list(answer.json)

    def wait_answer(self, text: str, count: int = 1, timeout_s: float = WAIT_S) -> list[dict[str, Any]]:
        """The replies to what this visitor said with these words."""

        def replies() -> list[dict[str, Any]] | None:
            lines = self.messages(room=self.room, limit=500)
            asked = [x["id"] for x in lines if x["text"] == text and x["role"] == "user"]
            found = [x for x in lines if x["reply_to"] in asked and x["role"] == "assistant"]
            return found if len(found) >= count else None

        return list(wait_until(replies, timeout_s, f"{count} answers to {text!r}"))

    def wait_state(self, text: str, state: str, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """What this visitor said, when it has come to a state."""

        def found() -> dict[str, Any] | None:
            mine = [x for x in self.messages(room=self.room, limit=500) if x["role"] == "user" and x["text"] == text]
            return mine[-1] if mine and mine[-1]["state"] == state else None

        return dict(wait_until(found, timeout_s, f"{text!r} {state}"))

    @contextmanager
    def listening(self, **query: Any) -> Iterator[EventStream]:
        """The event stream of the room."""
        connection = HTTPConnection(HOST, self.port, timeout=60)
        connection.connect()
        sock = connection.sock
        path = f"{self.prefix}/events?{urlencode({'room': self.room, **query})}"
        connection.request("GET", path, headers=self._headers({"Accept": "text/event-stream"}))
        response = connection.getresponse()
        try:
            yield EventStream(response)
        finally:
            with suppress(OSError):
                sock.shutdown(SHUT_RDWR)
            response.close()
            connection.close()

    def ask(self, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        connection = HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request(method, self.prefix + path, body.encode() or None, self._headers(headers or {}))
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        self._keep(answer)
        return answer

    def _who(self) -> dict[str, Any]:
        return {"username": self.name, "site_id": self.room, "lang": self.lang}

    def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {**({"Cookie": cookie} if cookie else {}), **headers}

    def _keep(self, answer: Answer) -> None:
        for line in answer.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value


def form(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers of a form."""
    return {"Content-Type": FORM, **headers}
