"""A hub as a process of its own: ours or the released one, told apart only by which `hivemind-core` runs."""

from __future__ import annotations

import json
import socket
import sys
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .processes import PATIENCE_S, Child, Children, free_port, port_open, wait_until

HOST = "127.0.0.1"
UTTERANCE = "recognizer_loop:utterance"
BUS_AGENT = "hivemind-ovos-agent-plugin"
KNOCK = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "aGl2ZSBtaW5kIGtub2NrLg==",
}


class HubProcess:
    """One installation of a hub: its home, port and agent's port. It may be started and ended many times."""

    def __init__(self, children: Children, program: Path, bus_port: int, *, name: str = "hub", port: int = 0) -> None:
        self.name = name
        self.port = port or free_port()
        self.bus_port = bus_port
        self.home = children.home(name)
        self.child: Child | None = None
        self.environ: dict[str, str] = {}
        """Further variables of its environment."""
        self._children = children
        self._program = program
        self.configure({})

    def configure(self, extra: Mapping[str, Any]) -> None:
        """Write server.json: WebSocket on our port, the agent bus given, nothing announced, and `extra`."""
        config = {
            "network_protocol": {"hivemind-websocket-plugin": {"host": HOST, "port": self.port}},
            "agent_protocol": {
                "module": BUS_AGENT,
                BUS_AGENT: {"host": HOST, "port": self.bus_port},
            },
            "presence": {"enabled": False},
            **extra,
        }
        self._joins_a_bus = config["agent_protocol"]["module"] == BUS_AGENT
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

    def take_in(self) -> None:
        """Return when our hub, which runs, goes by what any command has written up to now, for who comes in next.

        It looks at its database about twice a second, and at once for an access key that it does not know: one is shown
        to it here. That counts as a failure of this address, of which ten are free; after those it takes seconds.
        """
        wait_until(lambda: b"invalid api key" in self._refusal(), PATIENCE_S, f"{self.name} to refuse an unknown key")

    def _refusal(self) -> bytes:
        """What is answered to who comes with an access key that nobody has."""
        token = quote(b64encode(b"knock:nobody-has-this-key").decode(), safe="")
        headers = "".join(f"{name}: {value}\r\n" for name, value in {"Host": HOST, **KNOCK}.items())
        answer = b""
        with suppress(OSError), socket.create_connection((HOST, self.port), PATIENCE_S) as link:
            link.sendall(f"GET /?authorization={token} HTTP/1.1\r\n{headers}\r\n".encode())
            while b"invalid api key" not in answer and (more := link.recv(4096)):
                answer += more
        return answer

    def start(self) -> Child:
        """Start it and wait until it accepts connections, and ours until it has joined the bus there is."""
        return self._started(self.environ)

    def _started(self, env: Mapping[str, str]) -> Child:
        self.child = self._children.spawn(self.name, [self._program, "listen"], self.home, env)
        self.child.wait_port(self.port)
        is_ours = self._program.parent == Path(sys.executable).parent
        if is_ours and self._joins_a_bus and port_open(self.bus_port):
            self.child.wait_output("Connected to the message bus")
        return self.child

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self.child is not None
        self.child.kill()

    def stop(self) -> int:
        """End it as a service manager does; its exit status."""
        assert self.child is not None
        return self.child.stop()
