"""What fails the other tests here is seen when it happens."""

from __future__ import annotations

import pytest

from helpers.browser import PATIENCE_MS, PHONE, Browsing, accessibility, overflow

BAD_PAGE = """<!doctype html><title>Bad</title><h1>Bad</h1>
<p style="color: #ddd; background: #fff">too pale to read</p><div style="width: 500px">too wide</div>
<script>fetch("http://example.org/").catch(() => 0); throw new Error("a fault");</script>"""


def test_a_bad_page_is_seen_to_be_bad(browsing: Browsing) -> None:
    page = browsing.page(viewport=PHONE)
    page.goto("about:blank")
    page.set_content(BAD_PAGE)
    wanted = ("http://example.org/", "a fault")
    for _ in range(PATIENCE_MS // 50):
        if all(any(part in problem for problem in browsing.problems) for part in wanted):
            break
        page.wait_for_timeout(50)
    assert any("color-contrast" in found for found in accessibility(page))
    assert any("too wide" in found for found in overflow(page))
    seen = " ".join(browsing.problems)
    assert all(part in seen for part in wanted)
    with pytest.raises(AssertionError):
        browsing.check()
    browsing.problems.clear()
