"""A real browser: Debian's Chromium without a screen, a context of its own for each person, and nothing overlooked.

What a page must never do fails the test that made it do so: an error in its script or console, a violation of its
content security policy, a request to any other host than ours.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from .processes import Home

OURS = ("localhost", "127.0.0.1")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # that of a container is small
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)
DEBIAN = {"chromium": "chromium", "nginx": "nginx-light"}
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
PATIENCE_MS, LAUNCH_MS = 60_000, 90_000
DESKTOP = {"width": 1100, "height": 800}
PHONE = {"width": 320, "height": 640}
VIOLATIONS = """
document.addEventListener("securitypolicyviolation",
    (event) => console.error("policy violated: " + event.violatedDirective + " " + event.blockedURI + event.sample));
"""


def program(name: str) -> Path:
    """Where a program is that these tests cannot do without."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        pytest.fail(f"This test needs {name}; on Debian: apt install {DEBIAN[name]}", pytrace=False)
    return Path(path)


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """One browser. While it is open no event loop can run in this thread."""
    environ = {name: value for name, value in Home(folder).environ().items() if not name.startswith("PYTHON")}
    path = program("chromium")
    with sync_playwright() as playwright:
        options = {"args": list(ARGUMENTS), "env": environ, "timeout": LAUNCH_MS}
        browser = playwright.chromium.launch(executable_path=path, **options)
        try:
            yield browser
        finally:
            browser.close()


class Browsing:
    """All windows of one test, and what was wrong in any of them."""

    def __init__(self, browser: Browser) -> None:
        self.problems: list[str] = []
        self.browser = browser
        self._contexts: list[BrowserContext] = []
        self._expected: list[str] = []

    def context(self, **options: Any) -> BrowserContext:
        """A person with cookies of their own."""
        made = self.browser.new_context(**{"viewport": DESKTOP, "locale": "en-US", **options})
        made.set_default_timeout(PATIENCE_MS)
        made.add_init_script(VIOLATIONS)
        made.on("request", self._asked)
        made.on("console", self._told)
        made.on("weberror", lambda error: self.problems.append(f"script: {error.error}"))
        self._contexts.append(made)
        return made

    def page(self, **options: Any) -> Page:
        """A window of another person."""
        return self.context(**options).new_page()

    def expect(self, pattern: str) -> None:
        """Errors in the console that belong to the test, such as a refused connection while the server is away."""
        self._expected.append(pattern)

    def close(self) -> None:
        """Close all windows."""
        contexts, self._contexts = self._contexts, []
        for context in contexts:
            context.close()

    def check(self) -> None:
        """Fail if anything was wrong."""
        found = [x for x in self.problems if not any(re.search(pattern, x) for pattern in self._expected)]
        assert not found, "\n".join(found)

    def _asked(self, request: Request) -> None:
        host = urlsplit(request.url)
        if host.scheme in ("http", "https", "ws", "wss") and host.hostname not in OURS:
            self.problems.append(f"request to another host: {request.url}")

    def _told(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text} ({message.location.get('url', '')})")


def accessibility(page: Page) -> list[str]:
    """What axe-core finds wrong with the page as it is now, best practices included."""
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['html']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def overflow(page: Page) -> list[str]:
    """Elements that stick out of the window sideways."""
    found: list[str] = page.evaluate(
        """() => {
            const width = document.documentElement.clientWidth;
            const wide = (box) => box.width > 0 && (box.right > width + 0.5 || box.left < -0.5);
            const clipped = (node) => {
                for (let up = node.parentElement; up && up !== document.body; up = up.parentElement)
                    if (getComputedStyle(up).overflowX !== "visible") return true;
                return false;
            };
            const shown = (node) => node.checkVisibility({ opacityProperty: true, visibilityProperty: true });
            return [...document.body.querySelectorAll("*")]
                .filter((node) => shown(node) && wide(node.getBoundingClientRect()) && !clipped(node))
                .map((node) => node.outerHTML.slice(0, 120));
        }"""
    )
    if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
        found.append("the page scrolls sideways")
    return found
