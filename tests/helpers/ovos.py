"""A real Open Voice OS: its message bus, its core with five skills of its own and one of ours, and an attendant.

The packages are pinned by `tests/ovos/lock-core-<generation>.txt` and installed once (see `released`), as are the
intents that core trains on its first start, half a minute long.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import ovos_attendant
from .pair import cannot_run
from .processes import Child, Children, free_port
from .released import EnvironmentFailed, environment

STABLE, NEWEST = "stable", "alpha"
FOLDER = Path(__file__).parents[1] / "ovos"
SKILLS = FOLDER / "skills"
"""Our own skill, as an installed distribution is laid out."""
START_S = 300
"""Training takes half a minute on an idle machine."""
TRAINED = "intent_cache"
LANG, OTHER_LANG = "en-us", "de-de"


def ovos_programs(generation: str) -> Path:
    """Where the programs of a generation are; installs them, or ends the test where that cannot be."""
    pins = FOLDER / f"lock-core-{generation}.txt"
    try:
        return environment(f"ovos-{generation}", ["--no-deps", "-r", str(pins)], pins.read_bytes())
    except EnvironmentFailed as error:
        cannot_run(f"no OVOS (on Debian: apt install swig libfann-dev g++ python3-dev): {error}")


class Ovos:
    """One installation of OVOS, with or without a message bus of its own."""

    def __init__(self, children: Children, generation: str, *, port: int = 0) -> None:
        self.generation = generation
        self.port = port or free_port()
        self.home = children.home(f"ovos-{generation}")
        self.record = self.home.path / "bus.jsonl"
        self.bus: Child | None = None
        self.core: Child | None = None
        self.attendant: Child | None = None
        self._reading = threading.Lock()
        self._messages: list[dict[str, Any]] = []
        self._read_to = 0
        self._children = children
        self._programs = ovos_programs(generation)
        self._trained = self._programs.parent / TRAINED
        self._configure()

    def _configure(self) -> None:
        config = json.loads((FOLDER / "mycroft.conf").read_text("utf-8"))
        config["websocket"]["port"] = self.port
        config["secondary_langs"] = [OTHER_LANG]
        path = self.home.config / "mycroft" / "mycroft.conf"
        path.parent.mkdir()
        path.write_text(json.dumps(config, indent=2), "utf-8")
        if self._trained.exists():
            shutil.copytree(self._trained, self._training)

    @property
    def _training(self) -> Path:
        return self.home.data / "mycroft" / TRAINED

    def start(self, *, own_bus: bool = True) -> None:
        """Start everything and wait until the skills are loaded; without `own_bus` there is a bus at the port."""
        if own_bus:
            self.start_bus()
        options = ["--port", str(self.port), "--record", str(self.record)]
        self.attendant = self._children.spawn("attendant", [sys.executable, ovos_attendant.__file__, *options])
        self.attendant.expect("joined")
        self.start_core()
        self._keep_training()

    def start_bus(self) -> None:
        """Start the message bus, again on the port it had."""
        self.bus = self._children.spawn("ovos-messagebus", [self._programs / "ovos-messagebus"], self.home)
        self.bus.wait_port(self.port)

    def start_core(self) -> None:
        """Start the core and wait until its skills are loaded."""
        assert self.attendant is not None
        argv: list[str | Path] = [self._programs / "ovos-core", "--disable-installer", "--disable-file-watcher"]
        self.core = self._children.spawn("ovos-core", argv, self.home, {"PYTHONPATH": str(SKILLS)})
        self.attendant.expect("ready", START_S)

    def _keep_training(self) -> None:
        """What was learnt now need not be learnt in the next run."""
        if self._trained.exists() or not self._training.exists():
            return
        fresh = self._trained.with_name(f"{TRAINED}-{os.getpid()}")
        shutil.copytree(self._training, fresh)
        with suppress(OSError):  # another run was faster
            fresh.rename(self._trained)
        shutil.rmtree(fresh, ignore_errors=True)

    def stop_bus(self) -> None:
        """End the bus as a power cut does."""
        assert self.bus is not None
        self.bus.kill()

    def stop_core(self) -> None:
        """End the core as Ctrl-C does, and where it takes no notice, as a power cut."""
        assert self.core is not None
        self.core.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self.core.process.wait(5)
        self.core.kill()

    def messages(self, topic: str = "") -> list[dict[str, Any]]:
        """What was said on the bus so far: everything, or of one type."""
        with self._reading, self.record.open("rb") as file:
            file.seek(self._read_to)
            new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read_to += len(whole)
            self._messages += map(json.loads, whole.splitlines())
            return [message for message in self._messages if topic in ("", message["type"])]
