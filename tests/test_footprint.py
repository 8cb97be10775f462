"""What a satellite weighs: modules loaded, packages installed, and whether small machines find them ready made.

Counted, not timed: a slow machine must not fail this.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
MOST_PACKAGES = 10
MOST_MODULES = {
    "import hivemind_bus_client": 45,
    "from hivemind_bus_client import HiveMessage, HiveMessageType": 110,
    "from hivemind_bus_client import HiveMessageBusClient": 200,
    "from hivemind_bus_client import AsyncHiveMessageBusClient": 200,
    "from hivemind_bus_client import HiveMindHTTPClient": 205,
}
"""What a fresh interpreter may load for a line; a little over what it loads today."""
HEAVY = """
    aiohttp cffi click cryptography hivemind_bus_client.encryption hivemind_bus_client.hive_map
    hivemind_bus_client.link hivemind_bus_client.noise hivemind_bus_client.protocol hivemind_core json_database numpy
    ovos_bus_client ovos_utils pyee pydoc requests rich sqlite3 unittest websocket websockets yaml
""".split()  # noqa: SIM905
SMALL_MACHINES = ["manylinux2014_aarch64", "manylinux_2_28_aarch64"]


def loaded(line: str) -> set[str]:
    """The modules that a line loads in a fresh interpreter."""
    code = f"import sys; before = set(sys.modules); {line}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


@pytest.mark.parametrize("line", MOST_MODULES)
def test_importing_stays_light(line: str) -> None:
    modules = loaded(line)
    assert "hivemind_bus_client" in modules
    assert len(modules) <= MOST_MODULES[line], sorted(modules)
    assert modules.isdisjoint(HEAVY)


def test_importing_leaves_logging_alone() -> None:
    code = "import hivemind_bus_client as h, logging; h.HiveMessageBusClient; print(logging.getLogger().handlers)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def quoted(name: str) -> list[str]:
    """The requirements in one list of pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (found,) = re.findall(rf"^{name} = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    return re.findall(r'"([^"]+)"', found)


def needed(requirements: list[Requirement], seen: set[str]) -> Iterator[str]:
    """The names of distributions that these bring with them, as they are installed here."""
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        if name in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        yield name
        yield from needed([Requirement(each) for each in metadata.requires(name) or []], seen)


def test_a_satellite_needs_few_packages() -> None:
    names = {"hivemind-mesh", *needed([Requirement(each) for each in quoted("dependencies")], set())}
    assert {"cryptography", "websockets", "click"} <= names
    assert len(names) <= MOST_PACKAGES, names


@pytest.mark.parametrize("machine", ["armv6l", "armv7l"])
def test_what_has_no_wheel_for_old_boards_is_not_asked_for_there(machine: str) -> None:
    (found,) = [each for each in map(Requirement, quoted("hub")) if each.name == "msgspec"]
    assert found.marker is not None
    assert not found.marker.evaluate({"platform_machine": machine})
    assert found.marker.evaluate({"platform_machine": "aarch64"})
    assert all(Requirement(each).name != "msgspec" for each in quoted("dependencies"))


def test_messages_are_read_without_msgspec() -> None:
    code = (
        "import sys; sys.modules['msgspec'] = None\n"
        "from hivemind_bus_client import HiveMessage, HiveMessageType\n"
        "text = HiveMessage(HiveMessageType.PING, {'flood_id': 'x'}).serialize()\n"
        "print(HiveMessage.from_wire(text).payload['flood_id'])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "x\n"


@pytest.mark.packaging
@pytest.mark.timeout(400)
@pytest.mark.parametrize("extra", ["dependencies", "hub"])
@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_there_are_wheels_for_all_of_it_on_64_bit_boards(extra: str, version: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--report", "-"]
    argv += ["--disable-pip-version-check", "--only-binary=:all:", "--target", str(tmp_path)]
    argv += [f"--platform={each}" for each in SMALL_MACHINES] + ["--python-version", version]
    asked = [str(each) for each in map(Requirement, quoted("dependencies") + (quoted(extra) if extra == "hub" else []))]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run([*argv, *asked], capture_output=True, text=True, check=False, timeout=300, env=environ)
    assert done.returncode == 0, done.stderr
    files = [item["download_info"]["url"] for item in json.loads(done.stdout)["install"]]
    assert files
    assert all(file.endswith(".whl") for file in files), files
    if extra == "dependencies":
        assert len(files) + 1 <= MOST_PACKAGES, files
