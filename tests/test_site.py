"""The pages as a site: it is built without a complaint, holds every page, no link in it is dead, and it loads nothing
from anywhere else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SETTINGS = ROOT / "mkdocs.yml"
PAGES = sorted(path.name for path in ROOT.glob("docs/*.md"))
LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "form": "action"}
ELSEWHERE = re.compile(r"(@import|url\()\s*['\"]?(https?:)?//")
SILENT = {"code", "script", "style", "h2", "nav"}
"""What may look like that."""
UNREAD = re.compile(r"^\s*(\||[*-] |\d\d?\. |```)|\]\(", re.MULTILINE)
"""A table, a list, a fence or a link that stands in a text as it was written."""
TIMEOUT_S = 100

pytestmark = pytest.mark.e2e


@dataclass
class Page(HTMLParser):
    """What is in a page of the site."""

    path: Path
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    text: list[str] = field(default_factory=list)
    """What is neither silent nor within what is."""

    def __post_init__(self) -> None:
        super().__init__()
        self._silent = 0
        self.feed(self.path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value is not None}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if LOADING.get(tag) in found:
            self.loads.append(found[LOADING[tag]])
        self._silent += tag in SILENT

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in SILENT

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    """The pages of the built site, by their paths."""
    folder = tmp_path_factory.mktemp("site")
    argv = [sys.executable, "-m", "mkdocs", "build", "--config-file", SETTINGS, "--site-dir", folder]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, env={**os.environ}, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = {path.relative_to(folder).as_posix(): Page(path) for path in folder.rglob("*.html")}
    del pages["404.html"]  # whose links begin at the root of wherever the site will be
    return pages


def _named(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for item in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _named(item)


def test_every_page_is_in_the_navigation_once() -> None:
    named = [name for name in _named(yaml.safe_load(SETTINGS.read_text("utf-8"))["nav"]) if "/" not in name]
    assert sorted(named) == PAGES


def test_complaints_end_the_build() -> None:
    settings = yaml.safe_load(SETTINGS.read_text("utf-8"))
    assert settings["strict"] is True
    assert set(settings["validation"].values()) == {"warn"}


def test_every_page_is_there(site: dict[str, Page]) -> None:
    assert {page.replace(".md", ".html") for page in PAGES} <= set(site)


def test_no_link_is_dead(site: dict[str, Page]) -> None:
    followed = 0
    for name, page in site.items():
        for link in {*page.links, *page.loads}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            assert target.is_file(), (name, link)
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in Page(target).anchors, (name, link)
            followed += 1
    assert followed > len(PAGES)


def test_nothing_is_loaded_from_anywhere_else(site: dict[str, Page]) -> None:
    loaded = [(name, found) for name, page in site.items() for found in page.loads if urlsplit(found).netloc]
    assert loaded == []
    styles = next(iter(site.values())).path.parent.rglob("*.css")
    assert [
        path for path in styles if re.search(r"(@import|url\()\s*['\"]?(https?:)?//", path.read_text("utf-8"))
    ] == []


@pytest.mark.parametrize("page", PAGES)
def test_tables_and_lists_are_read_as_such(site: dict[str, Page], page: str) -> None:
    """What the host of the clone shows as a table and mkdocs does not would stand there as written."""
    text = "\n".join(site[page.replace(".md", ".html")].text)
    assert [match[0] for match in UNREAD.finditer(text)] == []
