"""The documents say what is there: links lead somewhere, cited clauses exist, nothing a person meets is missing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from helpers.pages import Reader, blocks
from helpers.processes import Children
from helpers.sound import need_engine
from helpers.street import PASSWORD, Street
from hivemind_bus_client.refusals import REFUSALS
from hivemind_bus_client.scripts import hmclient_cmds
from hivemind_core.config import DEFAULTS
from hivemind_core.scripts import hmcore_cmds

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/*.md")])
CODE = sorted(path for folder in ("src", "tests", "bench", "examples") for path in (ROOT / folder).rglob("*.py"))
EXECUTED = (
    "api.md",
    "cli.md",
    "examples.md",
    "identity-and-trust.md",
    "message-types.md",
    "serialization.md",
)
CITATION = re.compile(r"docs/protocol\.md (\d+(?:\.\d+)?(?:(?:, | and )\d+(?:\.\d+)?)*)")


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def anchors(text: str) -> set[str]:
    """The names under which a page's headings are linked to."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there.read_text("utf-8")), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_in_pages_compiles(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        compile(block, str(page), "exec")


def test_cited_clauses_exist() -> None:
    clauses = set(re.findall(r"^#+ (\d+(?:\.\d+)?)[. ]", read("docs/protocol.md"), re.MULTILINE))
    cited = [(path.name, found) for path in CODE for found in CITATION.findall(path.read_text("utf-8"))]
    assert cited
    assert [(name, found) for name, found in cited if not set(re.split(", | and ", found)) <= clauses] == []


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_every_refusal_is_explained_in_its_own_words(code: str) -> None:
    row = REFUSALS[code]
    assert f"| `{code}` | {row.sentence} | {row.cure} |" in read("docs/troubleshooting.md")


@pytest.mark.parametrize("command", sorted({*hmclient_cmds.commands, *hmcore_cmds.commands}))
def test_every_command_is_described(command: str) -> None:
    page = read("docs/cli.md" if command in hmclient_cmds.commands else "docs/hub.md")
    assert f"`{command}`" in page


def test_the_defaults_in_the_table_are_the_defaults() -> None:
    page = read("docs/hub.md")
    for key in ("min_password_bits", "last_seen_update_interval"):
        assert f"| `{key}` | {DEFAULTS[key]} |" in page
    for key in ("runtime_password_strength_check", "binarize"):
        assert f"| `{key}` | {str(DEFAULTS[key]).lower()} |" in page


# --- what stands in the guides runs -----------------------------------------------------------------------------


@pytest.mark.e2e
@pytest.mark.parametrize("page", EXECUTED)
def test_every_code_block_does_what_the_page_says(page: str, children: Children) -> None:
    """By somebody with a device, `kitchen`, and a second one, `hall`, at a hub that stands under another."""
    need_engine()
    street = Street(children, picky=False)
    street.open()
    kitchen = street["kitchen"]
    own = ["--key", "hall", "--password", PASSWORD, "--siteid", "hall", *kitchen.where]
    kitchen.command("--app", "hall", "set-identity", *own)
    if page == "cli.md":  # it begins with a device that is not set up
        shutil.rmtree(kitchen.home.config / "hivemind")
    names = {"hub.local": "127.0.0.1", "5678": str(street.house.hub.port), "KEY": "kitchen", "PASSWORD": PASSWORD}
    reader = Reader(kitchen.home, street.house.hub.home, names)
    found = blocks(ROOT / "docs" / page)
    assert found
    for block in found:
        reader.run(block)
