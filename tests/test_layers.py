"""Which part may import which: ARCHITECTURE.md, "Layers"."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"

BUS_CLIENT_PURE = """
    address answers bus_context bus_message codec denials doctor.findings encryption exceptions exchange intercom
    legacy legacy_crypto link message noise open_questions outgoing parts playback reconnect refusal_rows refusals
    return_hints rsa_keys serialization sides text_encodings topics topology trust version
"""
CORE_PURE = """
    actions admin_config asking audit authors bus_events bus_frames client_metadata clients config_values echoes
    environment fairness floods grace greeting hops known_keys limits limits_config mailbox mailbox_config meter metrics
    moments origins peers policy proxies queries rates readiness roles routing sessions shares upstream_config
    upstream_texts cluster.join_code cluster.members cluster.records cluster.shared_identity cluster_config
    cluster.channel cluster.entries cluster.frames cluster.incoming cluster.outgoing cluster.redis_time cluster.sealing
    cluster.traffic binary.callbacks binary.fitting binary.lines storage.records storage.redis_keys
    storage.redis_settings
    transports.http_sessions
"""
CHATROOM_PURE = """
    access conversation incoming languages look_alikes messages names people rates rooms sentences settings turns
"""
PURE_MODULES = {
    *(f"hivemind_bus_client.{name}" for name in BUS_CLIENT_PURE.split()),
    *(f"hivemind_core.{name}" for name in CORE_PURE.split()),
    *(f"hivemind_chatroom.{name}" for name in CHATROOM_PURE.split()),
}
INTERCHANGEABLE = {f"hivemind_core.{folder}" for folder in ("storage", "transports", "agents", "binary")}
MAY_IMPORT = {  # package -> packages of this project it may import besides itself
    "hivemind_bus_client": set(),
    "hivemind_core": {"hivemind_bus_client"},
    "hivemind_chatroom": {"hivemind_bus_client"},
}
NEVER_IN_PURE = """
    aiohttp asyncio concurrent logging multiprocessing os pathlib queue select shutil signal socket sqlite3 ssl
    subprocess tempfile threading time websockets
""".split()  # noqa: SIM905
OUTSIDERS_IN_PURE = {"cryptography"}
STDLIB = sys.stdlib_module_names | {"__future__"}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


SOURCES = dict(modules())


def absolute(node: ast.ImportFrom, module: str) -> str:
    if not node.level:
        return node.module or ""
    package = module if SOURCES[module].name == "__init__.py" else module.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


def type_checking_blocks(tree: ast.Module) -> set[ast.stmt]:
    guards = (n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    return {statement for guard in guards for statement in guard.body}


def imports(module: str) -> set[str]:
    """Every module that `module` loads, at the top or inside a function; imports for type checkers do not count."""
    tree = ast.parse(SOURCES[module].read_text())
    skipped = type_checking_blocks(tree)
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, module)
            names = {f"{base}.{alias.name}" for alias in node.names}
            submodules = names & SOURCES.keys()
            found.update(submodules if len(submodules) == len(names) else {base} | submodules)
    return found


def ours(name: str) -> bool:
    return name.partition(".")[0] in MAY_IMPORT


@pytest.mark.parametrize("module", sorted(PURE_MODULES & SOURCES.keys()))
def test_pure_modules_import_only_pure_modules(module: str) -> None:
    allowed = OUTSIDERS_IN_PURE | ({"msgspec"} if module == "hivemind_bus_client.codec" else set())
    for name in imports(module):
        top = name.partition(".")[0]
        if ours(name):
            assert name in PURE_MODULES, f"{module} is pure, {name} is not"
        else:
            assert top not in NEVER_IN_PURE, f"{module} is pure and imports {name}"
            assert top in STDLIB | allowed, f"{module} is pure and imports {name}"


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_packages_import_in_one_direction(module: str) -> None:
    package = module.partition(".")[0]
    for name in filter(ours, imports(module)):
        assert name.partition(".")[0] in MAY_IMPORT[package] | {package}, f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_interchangeable_parts_do_not_know_each_other(module: str) -> None:
    folder = next((f for f in INTERCHANGEABLE if module == f or module.startswith(f + ".")), None)
    if folder is None:
        return
    strangers = (INTERCHANGEABLE - {folder}) | {"hivemind_core.service"}
    for name in imports(module):
        assert not any(name == s or name.startswith(s + ".") for s in strangers), f"{module} imports {name}"


def test_every_pure_module_named_here_exists() -> None:
    assert SOURCES.keys() >= PURE_MODULES
