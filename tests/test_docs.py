"""What the documents promise is there: links, clauses that the code cites, the table of refusals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hivemind_bus_client.refusals import REFUSALS, Refusal

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
SOURCES = [*(ROOT / "src").rglob("*.py")]

_LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:)([^)#]*)(?:#([^)]*))?\)")
_CITED = re.compile(r"docs/protocol\.md (\d+(?:\.\d+)?(?:(?:, | and )\d+(?:\.\d+)?)*)")
_CLAUSE = re.compile(r"^#{2,3} (\d+(?:\.\d+)?)[. ]", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in _LINK.findall(page.read_text()):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {path}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {path}#{anchor}"


def test_every_clause_that_is_cited_exists() -> None:
    clauses = set(_CLAUSE.findall((ROOT / "docs" / "protocol.md").read_text()))
    for source in SOURCES:
        for cited in _CITED.findall(source.read_text()):
            wanted = set(re.split(", | and ", cited))
            assert wanted <= clauses, f"{source.name} cites docs/protocol.md {cited}"


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=lambda refusal: refusal.code)
def test_every_refusal_is_explained(refusal: Refusal) -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    row = next((line for line in page.splitlines() if line.startswith(f"| `{refusal.code}` |")), "")
    assert refusal.sentence in row
    assert refusal.cure in row
