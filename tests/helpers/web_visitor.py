"""Browsers and scripts of a chatroom's Flask application, without a server."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from hivemind_chatroom.app import create_app
from hivemind_chatroom.chat import Chat

from .chatroom_core import Clock, chatroom

HOME = "http://192.168.1.10:8985"
"""What a browser in the same network calls the chatroom."""


class Site:
    """A chatroom with its application."""

    def __init__(self, **given: Any) -> None:
        self.clock = Clock()
        self.chat: Chat = chatroom(self.clock, **given)
        self.app: Flask = create_app(self.chat)

    def browser(self, address: str = "192.168.1.2", base: str = HOME) -> Browser:
        return Browser(self, address, base)

    def stop(self) -> None:
        self.chat.stop()


class Browser:
    """One browser, or a script: it keeps its cookies."""

    def __init__(self, site: Site, address: str, base: str) -> None:
        self.site = site
        self.base = base
        self.address = address
        self.client: FlaskClient = site.app.test_client()

    def open(self, path: str, method: str = "GET", **given: Any) -> Any:
        overrides = {"REMOTE_ADDR": self.address, **given.pop("environ_overrides", {})}
        return self.client.open(path, base_url=self.base, method=method, environ_overrides=overrides, **given)

    def get(self, path: str, **given: Any) -> Any:
        return self.open(path, **given)

    def post(self, path: str, **given: Any) -> Any:
        return self.open(path, "POST", **given)

    def enter(self, name: str = "alice", room: str = "flask", lang: str = "en") -> Any:
        return self.get(f"/chatroom/{name}/{room}/{lang}")

    def say(self, text: str = "hello", name: str = "alice", room: str = "flask", **given: Any) -> Any:
        fields = {"username": name, "site_id": room, "lang": "en", "message": text, **given}
        return self.post("/send_message", json=fields)

    def say_form(self, text: str = "hello", name: str = "alice", room: str = "flask", **given: Any) -> Any:
        fields = {"username": name, "site_id": room, "lang": "en", "message": text, **given}
        return self.post("/send_message", data=fields)

    def messages(self, query: str = "") -> list[dict[str, Any]]:
        answer = self.get(f"/messages{query}")
        assert answer.status_code == 200
        found: list[dict[str, Any]] = answer.get_json()
        return found

    def cookie(self, path: str = "/") -> Any:
        return self.client.get_cookie("hivemind_chatroom", self.base.split("/")[2].split(":")[0], path)
