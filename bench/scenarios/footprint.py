"""What the packages weigh: importing the client, a connected client, packages brought along."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers.released import PINS, released

from ..names import OURS, PASSWORD, RELEASED
from ..process import memory, most_resident
from ..report import Figure
from ..satellites import access_key
from ..stage import Figures, Scenario, Stage
from ..subjects import Subject

IMPORTS = 5
SETTLE_S = 2.0
CLIENT = "released-client"
CLIENT_PROGRAM = Path(__file__).parents[1] / "idle_client.py"
IMPORT = "import hivemind_bus_client"
IMPORT_CLIENT = "from hivemind_bus_client import HiveMessageBusClient"
MODULES = "import sys; before = set(sys.modules); {}; print(len(set(sys.modules) - before))"


def measure(stage: Stage, name: str, points: tuple[int, ...]) -> Iterator[tuple[int, Figures]]:
    python = Path(sys.executable) if name == OURS else released(CLIENT) / "python"
    subject = stage.subject(name)
    assert isinstance(subject, Subject)
    (number,) = stage.fresh_numbers(1)
    subject.provide(1, {access_key(number): PASSWORD})
    nothing = import_cpu_ms(python, "pass")
    found = {
        "import_ms": import_cpu_ms(python, IMPORT) - nothing,
        "import_client_ms": import_cpu_ms(python, IMPORT_CLIENT) - nothing,
        "modules": float(run(python, MODULES.format(IMPORT))),
        "packages": float(our_packages() if name == OURS else their_packages()),
    }
    subject.start()
    found |= client(stage, subject, python, access_key(number))
    subject.stop()
    yield 1, found


def run(python: Path, code: str) -> str:
    return subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout


def import_cpu_ms(python: Path, line: str) -> float:
    """The least processor time of a fresh interpreter with a line, in milliseconds."""
    found = []
    for _ in range(IMPORTS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(python, line)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found) * 1000


def our_packages() -> int:
    """How many packages an installed satellite is, itself included."""
    seen: set[str] = set()

    def need(requirements: list[str]) -> None:
        for requirement in map(Requirement, requirements):
            name = canonicalize_name(requirement.name)
            if name not in seen and (not requirement.marker or requirement.marker.evaluate({"extra": ""})):
                seen.add(name)
                need(metadata.requires(name) or [])

    need(["hivemind-mesh"])
    return len(seen)


def their_packages() -> int:
    """The same of the released satellite, by the list that its environment was made from."""
    lines = (PINS / f"{CLIENT}.txt").read_text("utf-8").splitlines()
    return sum("==" in line for line in lines if not line.startswith("#"))


def client(stage: Stage, subject: Subject, python: Path, key: str) -> Figures:
    """A connected client that does nothing."""
    argv = [python, CLIENT_PROGRAM, str(subject.port), key, PASSWORD]
    child = stage.children.spawn("idle-client", argv)
    child.wait_line("connected")
    time.sleep(SETTLE_S)
    found = memory(child.pid)
    figures = {
        "client_mb": found.rss / 1024,
        "client_anonymous_mb": found.anonymous / 1024,
        "client_peak_mb": most_resident(child.pid) / 1024,
    }
    child.stop()
    return figures


SCENARIO = Scenario(
    "footprint",
    "the client's import, packages and memory",
    "",
    (
        Figure("import_ms", "`import hivemind_bus_client`, processor ms", most=80),
        Figure("import_client_ms", "importing the client class too, processor ms"),
        Figure("modules", "modules that the import loads"),
        Figure("packages", "packages installed", most=10),
        Figure("client_mb", "connected idle client, resident MB", most=40),
        Figure("client_anonymous_mb", "connected idle client, anonymous MB", most=24),
        Figure("client_peak_mb", "connected idle client, peak MB"),
    ),
    dict.fromkeys((OURS, RELEASED), (1,)),
    measure,
    rounds=2,
)
