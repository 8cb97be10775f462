"""The documents say what is there: links lead somewhere, cited clauses exist, nothing a person meets is missing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from helpers.containers import DOCUMENTED
from helpers.pages import Reader, blocks
from helpers.processes import Children
from helpers.sound import need_engine
from helpers.street import PASSWORD, Street
from hivemind_bus_client.refusals import REFUSALS
from hivemind_bus_client.scripts import hmclient_cmds
from hivemind_core.clients import Client
from hivemind_core.config import DEFAULTS
from hivemind_core.environment import VARIABLES
from hivemind_core.roles import DEFAULT_ROLE, ROLES, Role
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
    "nested-hives.md",
    "permissions.md",
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


def _rights(role: Role) -> str:
    """What a client of a role may send through the hive, as `list-clients` calls it."""
    row = Client(1, "", **role.columns)
    held = {
        "admin": row.is_admin,
        "escalate": row.can_escalate,
        "propagate": row.can_propagate,
        "broadcast": row.can_broadcast and row.is_admin,
    }
    return ", ".join(f"`{right}`" for right, has in held.items() if has)


def _row(*cells: str) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _table(page: str, head: str) -> list[str]:
    """The rows of the table with this head."""
    _, _, rest = read(page).partition(f"{head}\n|")
    return rest.partition("\n\n")[0].splitlines()[1:]


def test_the_roles_are_the_roles() -> None:
    granting = [name for name, role in ROLES.items() if role.types]
    types = dict.fromkeys(kind for role in ROLES.values() for kind in role.types)
    assert _table("docs/permissions.md", "| Role | What it is for | Rights |") == [
        _row(f"`{name}`", role.meaning, _rights(role)) for name, role in ROLES.items()
    ]
    head = _row("Message type", *(f"`{name}`" for name in granting))
    assert _table("docs/permissions.md", head) == [
        _row(f"`{kind}`", *("yes" if kind in ROLES[name].types else "" for name in granting)) for kind in types
    ]
    assert f"`{DEFAULT_ROLE}` is what `add-client` gives" in read("docs/permissions.md")


@pytest.mark.parametrize("command", [command for command, _ in DOCUMENTED.values()], ids=DOCUMENTED)
def test_the_documented_deployment_is_there_to_the_letter(command: str) -> None:
    assert f"\n    {command}\n" in read("docs/deployment.md")


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_the_documented_management_is_there_to_the_letter(engine: str) -> None:
    page = read("docs/deployment.md")
    assert f"\n    {engine} exec --interactive --tty hivemind_cli hivemind-core --help\n" in page
    assert f"\n    {engine} container list --all --filter 'name=ovos' --filter 'name=hivemind'\n" in page


def test_every_container_and_every_setting_is_described() -> None:
    page = read("docs/deployment.md")
    for file in ("docker-compose.yml", "docker-compose.skills.yml", "docker-compose.hivemind.yml"):
        for service in re.findall(r"^  ((?:ovos|hivemind)_\w+):$", read(f"deploy/{file}"), re.MULTILINE):
            assert f"`{service}`" in page or service in ("ovos_local_state", "ovos_cache"), service
    for file in (".env.example", ".env-raspberrypi"):
        for setting in re.findall(r"^#?([A-Z_]+)=", read(f"deploy/{file}"), re.MULTILINE):
            assert f"`{setting}`" in page, setting


def test_every_variable_of_the_hub_is_described() -> None:
    page = read("docs/hub.md")
    for variable in VARIABLES:
        assert f"`{variable.name}`" in page, variable.name


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
    reader = Reader(kitchen.home, street.house.hub, names)
    found = blocks(ROOT / "docs" / page)
    assert found
    for block in found:
        reader.run(block)
