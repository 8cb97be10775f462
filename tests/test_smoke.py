"""Does it start at all? No network, no hub, seconds."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from hivemind_bus_client.version import __version__

COMMANDS = {"hivemind-client": "hivemind_bus_client.scripts", "hivemind-core": "hivemind_core.scripts"}


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def python(code: str) -> str:
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", sorted(COMMANDS.values()))
@pytest.mark.parametrize("option", ["--version", "--help"])
def test_commands_answer(module: str, option: str) -> None:
    done = run(sys.executable, "-m", module, option)
    assert done.returncode == 0, done.stderr
    assert (__version__ if option == "--version" else "Commands:") in done.stdout


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_commands_are_installed(command: str) -> None:
    done = run(str(Path(sysconfig.get_path("scripts")) / command), "--version")
    assert done.stdout.strip() == f"{command}, version {__version__}"


def test_importing_the_client_costs_nothing() -> None:
    """A satellite on a small board pays for what it uses only; and an application's logging stays its own."""
    code = (
        "import logging, sys\n"
        "from hivemind_bus_client import HiveMessageBusClient, HiveMessage, HiveMessageType\n"
        "heavy = {'aiohttp', 'rich', 'ovos_bus_client', 'ovos_utils', 'websockets', 'click'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
        "print(logging.getLogger().handlers, logging.getLogger('hivemind_bus_client').handlers)"
    )
    assert python(code).splitlines() == ["[]", "[] []"]


def test_the_client_runs_without_msgspec() -> None:
    """It has no wheel for some boards; the standard library takes its place."""
    code = (
        "import sys\n"
        "sys.modules['msgspec'] = None\n"
        "from hivemind_bus_client import HiveMessageBusClient, AsyncHiveMessageBusClient\n"
        "from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message\n"
        "sent = HiveMessage(HiveMessageType.BUS, Message('speak', {'utterance': 'olá'}))\n"
        "print(HiveMessage.deserialize(sent.serialize()).payload.data['utterance'])"
    )
    assert python(code) == "olá"


def test_importing_writes_nothing(own_home: Path) -> None:
    python("import hivemind_bus_client.client, hivemind_bus_client.async_client, hivemind_core.service")
    assert [path for path in own_home.rglob("*") if path.is_file()] == []
