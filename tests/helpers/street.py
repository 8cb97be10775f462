"""Two hubs as a family has them, the house's under the street's, each with an agent whose bus is recorded; and the
satellites of the house. Everything is reached by public names and commands only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.identity import NodeIdentity

from .default_port import DEFAULT_PORT
from .hub_process import HOST, HubProcess
from .processes import Child, Children, Home, free_port, json_lines, wait_until

BIN = Path(sys.executable).parent
LEVEL_BUS = Path(__file__).with_name("level_bus.py")
ANY_BUS = Path(__file__).with_name("bus_stub.py")
PASSWORD = "orbital-walnut-cipher-93-lantern"
WAIT_S = 60.0
UTTERANCE = "recognizer_loop:utterance"
SATELLITES = {"kitchen": "kitchen", "hall": "hall", "cellar": "cellar", "guest": "garden", "admin": "study"}
"""Access key -> site, at the house."""


class Place:
    """A hub, its site, and what its agent hears."""

    def __init__(self, children: Children, name: str, port: int, agent: list[str | Path], **settings: Any) -> None:
        self.record = children.home(f"bus-{name}").path / "record"
        bus = children.spawn(f"bus-{name}", [sys.executable, *agent, "--record", self.record])
        self.hub = HubProcess(children, BIN / "hivemind-core", bus.expect("ready")["port"], name=name, port=port)
        identity = NodeIdentity(self.hub.home.config / "hivemind-core" / "_identity.json")
        identity.name, identity.site_id = "hivemind-core", name
        identity.create_keys()
        identity.save()
        self.node_id = str(identity.public_key)
        self.hub.configure(settings)

    def admit(self, name: str, *options: str) -> None:
        """Make the row of a client whose access key is its name."""
        own = ["--name", name, "--access-key", name, "--password", PASSWORD]
        self.hub.command("add-client", *own, *options)

    def frames(self) -> list[dict[str, Any]]:
        """Everything that was said on the agent's bus."""
        return json_lines(self.record)

    def heard(self, words: str, topic: str = UTTERANCE) -> list[dict[str, Any]]:
        """What came onto the agent's bus with these words in it."""
        return [frame for frame in self.frames() if frame["type"] == topic and words in json.dumps(frame["data"])]

    def hears(self, words: str, topic: str = UTTERANCE) -> dict[str, Any]:
        """Wait for it; there must be one."""
        wait_until(lambda: self.heard(words, topic), WAIT_S, f"{words!r} at the {self.hub.name}")
        (frame,) = self.heard(words, topic)
        return frame

    def log(self) -> str:
        assert self.hub.child is not None
        return self.hub.child.output()


class Resident:
    """A satellite of the house: an account with an identity, its commands, and programs that run in it."""

    def __init__(self, children: Children, name: str, site: str, house: Place) -> None:
        self.name, self.site = name, site
        self.home: Home = children.home(f"of-{name}")
        self._children = children
        self._house = house

    @property
    def where(self) -> list[str]:
        """The options that name the hub."""
        return ["--host", f"ws://{HOST}", "--port", str(self._house.hub.port)]

    @property
    def identity(self) -> NodeIdentity:
        return NodeIdentity(self.home.config / "hivemind" / "_identity.json")

    def set_identity(self, *where: str) -> str:
        """Store who it is."""
        own = ["--key", self.name, "--password", PASSWORD, "--siteid", self.site]
        return self.command("set-identity", *own, *where)

    def command(self, *arguments: str) -> str:
        """Run `hivemind-client`, which must succeed; what it printed on standard output."""
        return self._children.run(arguments[0], [BIN / "hivemind-client", *arguments], self.home)

    def fails(self, *arguments: str) -> Child:
        """Run `hivemind-client`, which must fail."""
        child = self._children.spawn(arguments[0], [BIN / "hivemind-client", *arguments], self.home)
        child.close_stdin()
        assert child.wait_exit() == 1
        return child

    def program(self, code: str, *arguments: str) -> str:
        """Run a program; what it printed."""
        return self._children.run("program", [sys.executable, "-c", code, *arguments], self.home)

    @contextmanager
    def joined(self, **options: Any) -> Iterator[HiveMessageBusClient]:
        """A client in this process, with this identity, while it is connected."""
        client = HiveMessageBusClient(identity=self.identity, **options)
        client.connect(timeout=60)
        try:
            yield client
        finally:
            client.close()


class Street:
    """All of it."""

    def __init__(self, children: Children, *, picky: bool = True, port: int = 0) -> None:
        """Make the hubs. Picky agents answer only what names their place or everybody."""
        self.children = children
        agents: dict[str, list[str | Path]] = {
            name: [LEVEL_BUS, "--level", name] if picky else [ANY_BUS] for name in ("street", "house")
        }
        self.street = Place(children, "street", free_port(), agents["street"], allowed_ciphers=["AES-GCM"])
        above = {"enabled": True, "host": HOST, "port": self.street.hub.port, "key": "house", "password": PASSWORD}
        speech = {"binary_protocol": {"module": "speech"}}
        self.house = Place(children, "house", port or free_port(), agents["house"], upstream=above, **speech)
        self.residents = {name: Resident(children, name, site, self.house) for name, site in SATELLITES.items()}

    def open(self) -> None:
        """Start the hubs, the upper one first, and give each satellite its identity."""
        self.street.admit("house")
        self.street.hub.start()
        for name in SATELLITES:
            self.house.admit(name, "--role", "admin" if name == "admin" else "voice")
        self.house.hub.command("allow-broadcast", "5")
        self.house.hub.start()
        for name, resident in self.residents.items():
            resident.set_identity(*([] if name == "kitchen" and self.has_default_port else resident.where))
        wait_until(lambda: "joined the hub above" in self.house.log(), WAIT_S, "the house under the street")

    @property
    def has_default_port(self) -> bool:
        """A host-less set-identity means the house's hub."""
        return self.house.hub.port == DEFAULT_PORT

    def __getitem__(self, name: str) -> Resident:
        return self.residents[name]
