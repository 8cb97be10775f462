"""A browser for each module, windows for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from helpers.browser import Browsing, chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """No wider than a module: the tests with event loops that come after cannot run beside it."""
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def browsing(browser: Browser) -> Iterator[Browsing]:
    """The windows of one test; whatever was wrong in one of them fails it."""
    windows = Browsing(browser)
    yield windows
    windows.close()
    windows.check()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-screenshots", action="store_true", help="write the pictures of the documentation (tests/browser only)"
    )
