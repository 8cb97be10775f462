"""The buses behind hubs, and who answers there."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from websockets.sync.client import connect

from helpers import bus_stub
from helpers.ovos import STABLE, Ovos
from helpers.processes import Child, Children, free_port

from . import ROOT
from .names import AT_OVOS_BUS, EMBEDDED


@dataclass
class Buses:
    """The assistants' buses: one stub behind all hubs that join one, and one of a real OVOS."""

    children: Children
    _ports: dict[str, int] = field(default_factory=dict)

    def port(self, name: str) -> int:
        """The port of the bus behind a subject, started when it is first wanted."""
        if name == EMBEDDED:
            return free_port()  # the hub itself serves it
        kind = "ovos" if name in AT_OVOS_BUS else "stub"
        if kind not in self._ports:
            self._ports[kind] = ovos_bus(self.children) if kind == "ovos" else start_bus(self.children)
        return self._ports[kind]


def start_bus(children: Children) -> int:
    """The one bus stub behind every hub; its port."""
    port: int = children.spawn("bus", [sys.executable, bus_stub.__file__]).expect("ready")["port"]
    return port


def ovos_bus(children: Children, *more: str) -> int:
    """The bus of a real OVOS, which an assistant has joined (`more`: its arguments); its port."""
    ovos = Ovos(children, STABLE)
    ovos.start_bus()
    join(children, ovos.port, *more)
    return ovos.port


def module(children: Children, name: str, *arguments: str) -> Child:
    """Start a module of this package as a process."""
    argv = [sys.executable, "-m", f"bench.{name}", *arguments]
    return children.spawn(name, argv, env={"PYTHONPATH": str(ROOT)})


def join(children: Children, port: int, *more: str) -> Child:
    """Let an assistant join a bus."""
    child = module(children, "responder", "--port", str(port), *more)
    child.expect("joined")
    return child


class Voice:
    """Somebody on a bus who only says something. To be closed."""

    def __init__(self, port: int) -> None:
        self._link = connect(f"ws://127.0.0.1:{port}/core", compression=None, max_size=None, proxy=None)

    def say(self, msg_type: str, data: Mapping[str, Any]) -> float:
        """Send a message; when, by the clock that all processes share."""
        frame = json.dumps({"type": msg_type, "data": data, "context": {"source": "bench"}})
        at = time.monotonic()
        self._link.send(frame)
        return at

    def close(self) -> None:
        self._link.close()
