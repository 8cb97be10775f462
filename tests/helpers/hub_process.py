"""A hub as a process of its own: ours or the released one, told apart only by which `hivemind-core` runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .processes import Child, Children, free_port

HOST = "127.0.0.1"
UTTERANCE = "recognizer_loop:utterance"


class HubProcess:
    """One installation of a hub: its home, port and agent's port. It may be started and ended many times."""

    def __init__(self, children: Children, program: Path, bus_port: int, *, name: str = "hub", port: int = 0) -> None:
        self.name = name
        self.port = port or free_port()
        self.bus_port = bus_port
        self.home = children.home(name)
        self.child: Child | None = None
        self._children = children
        self._program = program
        self.configure({})

    def configure(self, extra: Mapping[str, Any]) -> None:
        """Write server.json: WebSocket on our port, the agent bus given, nothing announced, and `extra`."""
        config = {
            "network_protocol": {"hivemind-websocket-plugin": {"host": HOST, "port": self.port}},
            "agent_protocol": {
                "module": "hivemind-ovos-agent-plugin",
                "hivemind-ovos-agent-plugin": {"host": HOST, "port": self.bus_port},
            },
            "presence": {"enabled": False},
            **extra,
        }
        path = self.home.config / "hivemind-core" / "server.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(config, indent=2), "utf-8")

    @property
    def database(self) -> Path:
        return self.home.data / "hivemind-core" / "clients.db"

    def command(self, *arguments: str) -> str:
        """Run one of its commands to the end; what it printed."""
        return self._children.run(f"{self.name}-{arguments[0]}", [self._program, *arguments], self.home)

    def add_client(self, access_key: str, password: str, *, name: str = "satellite", allow: str = UTTERANCE) -> None:
        """Make a client row that may send messages of one type."""
        options = ["--name", name, "--access-key", access_key, "--password", password, "--allow", allow]
        self.command("add-client", *options)

    def start(self) -> Child:
        """Start it and wait until it accepts connections."""
        self.child = self._children.spawn(self.name, [self._program, "listen"], self.home)
        self.child.wait_port(self.port)
        return self.child

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self.child is not None
        self.child.kill()

    def stop(self) -> int:
        """End it as a service manager does; its exit status."""
        assert self.child is not None
        return self.child.stop()
