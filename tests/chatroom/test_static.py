"""What the page is made of: facts that hold without a browser. `tests/browser` drives it in one."""

from __future__ import annotations

import json
import re
import struct
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, render_template

import hivemind_chatroom

PACKAGE = Path(hivemind_chatroom.__file__).parent
STATIC = PACKAGE / "static"
TEMPLATES = sorted((PACKAGE / "templates").glob("*.html"))
SCRIPTS = sorted(STATIC.glob("*.js"))
STYLES = sorted(STATIC.glob("*.css"))
EVIL = "<img src=x onerror=alert(1)>\"'&"
URL_ATTRIBUTES = ("src", "href", "action", "formaction", "poster", "srcset", "data")
YOUTUBE = "https://www.youtube-nocookie.com"
"""The one other host there is, and only when embeds are switched on."""


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text inside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str]]] = []
        self.inline: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style") and data.strip():
            self.inline.append(data)

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.all if name == tag]


def message(**changes: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "seq": 8,
        "time": 1_700_000_000.5,
        "room": "den",
        "incoming": False,
        "username": "alice",
        "user_id": "a1",
        "role": "user",
        "kind": "text",
        "message": "hello",
        "text": "hello",
        "lang": "en",
        "state": "denied",
        "note": "Not allowed.",
        "reply_to": None,
        "to": "",
        "private": False,
        "media": None,
        **changes,
    }


def page(**changes: Any) -> dict[str, Any]:
    return {
        "base": "/chat/",
        "room": "den",
        "user": "alice",
        "user_id": "a1",
        "lang": "en",
        "bot": "HiveMind",
        "max_length": 2000,
        "embeds": "",
        "private": "choice",
        "history_limit": 500,
        "title": "HiveMind chatroom",
        "languages": [("en", "English"), ("de-DE", "Deutsch")],
        "messages": [message()],
        "signed_in": True,
        **changes,
    }


def rendered(template: str, **context: Any) -> Elements:
    app = Flask("hivemind_chatroom", root_path=str(PACKAGE))
    with app.test_request_context():
        return Elements(render_template(template, **context))


def all_pages(**changes: Any) -> list[Elements]:
    evil = changes.get("text", "words")
    return [
        rendered("room.html", page=page(**{key: value for key, value in changes.items() if key != "text"})),
        rendered("login.html", title=evil, base="/chat/", next=evil, problem=evil),
        rendered("error.html", title=evil, base="/chat/", status=404, message=evil, cure=evil),
    ]


def test_there_is_something_to_test() -> None:
    assert len(TEMPLATES) >= 3
    assert len(SCRIPTS) >= 5
    assert STYLES


def test_pages_have_no_inline_script_or_style() -> None:
    for elements in all_pages():
        assert elements.inline == []
        for tag, attributes in elements.all:
            assert tag != "style"
            assert "style" not in attributes, tag
            assert not [name for name in attributes if name.startswith("on")], tag
            assert not [value for value in attributes.values() if value.lower().startswith("javascript:")]
            assert tag != "script" or "src" in attributes


def test_pages_load_only_files_that_are_there() -> None:
    for elements in all_pages():
        found = [
            value
            for tag, attributes in elements.all
            for name, value in attributes.items()
            if name in URL_ATTRIBUTES and "static/" in value
        ]
        assert found
        for url in found:
            assert url.startswith("/chat/static/"), url
            assert (STATIC / url.removeprefix("/chat/static/")).is_file(), url


def test_addresses_of_pages_stay_below_the_prefix() -> None:
    for elements in all_pages():
        for _, attributes in elements.all:
            for name in URL_ATTRIBUTES:
                url = attributes.get(name, "")
                assert not url or url.startswith(("/chat/", "#")), url


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_import_only_files_that_are_there(script: Path) -> None:
    for imported in re.findall(r"""(?:from|import)\s+["']([^"']+)["']""", script.read_text("utf-8")):
        assert imported.startswith("./"), imported
        assert (STATIC / imported).is_file(), imported


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_make_no_code_or_markup_from_text(script: Path) -> None:
    source = script.read_text("utf-8")
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|DOMParser|srcdoc|setHTML"
    assert not re.search(f"{forbidden}|createContextualFragment", source)
    assert not re.search(r"set(?:Timeout|Interval)\(\s*[\"'`]", source)
    assert not re.search(r"setAttribute\(\s*[\"'](?:on|style)", source)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_need_no_secure_context(script: Path) -> None:
    source = script.read_text("utf-8")
    assert not re.search(r"crypto\.subtle|randomUUID|serviceWorker|navigator\.clipboard|Notification", source)


@pytest.mark.parametrize("path", [*TEMPLATES, *SCRIPTS, *STYLES, STATIC / "manifest.json"], ids=lambda path: path.name)
def test_no_other_host_is_named(path: Path) -> None:
    source = path.read_text("utf-8").replace(YOUTUBE, "").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(?:https?:|[\"'(])//[a-z0-9]", source)
    assert "@import" not in source


@pytest.mark.parametrize("style", STYLES, ids=lambda path: path.name)
def test_no_text_is_smaller_than_14_px(style: Path) -> None:
    for size, unit in re.findall(r"font(?:-size)?:[^;]*?([\d.]+)(rem|px)", style.read_text("utf-8")):
        assert float(size) * (16 if unit == "rem" else 1) >= 14


def test_both_ways_to_the_dark_theme_have_the_same_colours() -> None:
    source = (STATIC / "base.css").read_text("utf-8")
    blocks = re.findall(
        r":root(?:\[data-theme=\"dark\"\]|:not\(\[data-theme=\"light\"\]\)) \{(.*?)\}", source, re.DOTALL
    )
    by_device, by_choice = (re.findall(r"--[\w-]+: [^;]+", block) for block in blocks)
    assert by_device == by_choice
    assert len(by_device) > 10


def test_what_people_write_is_text() -> None:
    evil = message(username=EVIL, message=EVIL, text=EVIL, note=EVIL, lang=EVIL)
    changes = {"user": EVIL, "room": EVIL, "lang": EVIL, "title": EVIL, "bot": EVIL, "messages": [evil], "text": EVIL}
    for elements in all_pages(**changes):
        assert not [attributes for attributes in elements.named("img") if attributes.get("src") == "x"]
        assert not [tag for tag, attributes in elements.all if "onerror" in attributes]
        assert elements.inline == []


def test_messages_of_the_page_carry_all_that_scripts_need() -> None:
    sent = [message(message=EVIL), message(id=9, seq=9, role="assistant", media={"title": EVIL}, user_id="")]
    elements = rendered("room.html", page=page(messages=sent))
    found = [
        json.loads(attributes["data-message"]) for attributes in elements.named("li") if "data-message" in attributes
    ]
    assert found == sent


def test_the_form_works_without_scripts() -> None:
    elements = rendered("room.html", page=page(user="älice & bob"))
    forms = [form for form in elements.named("form") if form.get("action") == "/chat/send_message"]
    assert [form["method"] for form in forms] == ["post"]
    hidden = {each["name"]: each["value"] for each in elements.named("input") if each.get("type") == "hidden"}
    assert hidden == {"username": "älice & bob", "site_id": "den", "lang": "en"}
    assert [box["name"] for box in elements.named("textarea")] == ["message"]


def test_the_body_says_what_the_scripts_read() -> None:
    (body,) = rendered("room.html", page=page()).named("body")
    read = set(re.findall(r"facts\.(\w+)", (STATIC / "page.js").read_text("utf-8")))
    given = {re.sub(r"-(\w)", lambda found: found[1].upper(), name.removeprefix("data-")) for name in body}
    assert read
    assert read <= given


def test_scripts_find_what_they_look_for() -> None:
    ids = {attributes["id"] for _, attributes in rendered("room.html", page=page()).all if "id" in attributes}
    wanted = {found for script in SCRIPTS for found in re.findall(r"byId\(\"([\w-]+)\"\)", script.read_text("utf-8"))}
    assert wanted
    assert wanted <= ids


def test_every_field_has_a_label() -> None:
    for elements in all_pages():
        labelled = {label["for"] for label in elements.named("label") if "for" in label}
        fields = [field for tag in ("input", "textarea", "select") for field in elements.named(tag)]
        unlabelled = [
            f for f in fields if f.get("type") not in ("hidden", "radio", "checkbox") and f.get("id") not in labelled
        ]
        assert unlabelled == []
        assert len(elements.named("h1")) == 1


@pytest.mark.parametrize(("private", "switches"), [("choice", 1), ("always", 0)])
def test_privacy_is_a_choice_or_not(private: str, switches: int) -> None:
    elements = rendered("room.html", page=page(private=private))
    assert len([each for each in elements.named("input") if each.get("name") == "private"]) == switches


@pytest.mark.parametrize(
    ("lang", "options"), [("en", ["en", "de-DE", "other"]), ("oc", ["oc", "en", "de-DE", "other"])]
)
def test_the_language_in_use_can_be_chosen(lang: str, options: list[str]) -> None:
    found = rendered("room.html", page=page(lang=lang)).named("option")
    assert [option["value"] for option in found] == options
    assert [option["value"] for option in found if "selected" in option] == [lang]


def test_the_logo_is_a_small_picture() -> None:
    logo = (STATIC / "logo.png").read_bytes()
    assert logo.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", logo[16:24]) == (192, 192)
    assert len(logo) < 20_000


def test_the_manifest_names_files_that_are_there() -> None:
    manifest = json.loads((STATIC / "manifest.json").read_text("utf-8"))
    assert (manifest["start_url"], manifest["scope"]) == ("../", "../")
    assert manifest["icons"]
    assert all((STATIC / icon["src"]).is_file() for icon in manifest["icons"])
