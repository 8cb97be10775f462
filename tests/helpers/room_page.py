"""The chatroom's page as a person uses it: what it shows, by the words and roles it shows it under."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote

from playwright.sync_api import Locator, Page, expect

from .browser import PATIENCE_MS

TYPING_MS = 6_000
"""For so long it is shown that somebody types."""

expect.set_options(timeout=PATIENCE_MS)


class RoomPage:
    """One window in a room."""

    def __init__(self, page: Page, url: str, name: str = "", room: str = "flask", lang: str = "en") -> None:
        """Open the page: as somebody in a room, or where the front door leads."""
        self.page = page
        path = "/".join(quote(part, safe="") for part in (name, room, lang))
        self.response = page.goto(f"{url}/chatroom/{path}" if name else url)

    @property
    def box(self) -> Locator:
        """Where one writes."""
        return self.page.get_by_role("textbox", name="Message")

    @property
    def banner(self) -> Locator:
        """What is the matter with the link; empty while all is well."""
        return self.page.locator("#banner")

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("log")

    @property
    def messages(self) -> Locator:
        """Every message that can be seen."""
        return self.log.locator("li.message:visible")

    def message(self, text: str) -> Locator:
        """The messages whose own words these are."""
        return self.messages.filter(has=self.page.locator(".text").get_by_text(text, exact=True))

    def reply(self, name: str, text: str) -> Locator:
        """The assistant's replies to somebody with these words."""
        return self.message(f"@{name} - {text}")

    def say(self, text: str) -> None:
        self.box.fill(text)
        self.box.press("Enter")

    def ask(self, name: str, text: str) -> None:
        """Say something and wait for the answer."""
        self.say(text)
        expect(self.reply(name, f"you said: {text}")).to_be_visible()

    def types(self, text: str, seen: Locator) -> None:
        """Begin to write, again until somebody has seen it: it is shown for seconds, which a slow machine may miss."""
        for _ in range(PATIENCE_MS // TYPING_MS):
            self.box.press_sequentially(text)
            with suppress(AssertionError):
                expect(seen).to_be_visible(timeout=TYPING_MS)
                return
            self.box.fill("")
        raise AssertionError(f"nobody has seen that {text!r} is written")

    def wait_live(self) -> None:
        """Until it hears of news at once."""
        expect(self.page.locator("#link-dot")).to_have_attribute("data-state", "connected")

    def texts(self) -> list[str]:
        """The words of every message in the page."""
        return self.messages.locator(".text").all_inner_texts()
