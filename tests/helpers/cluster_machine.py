"""Machines of a cluster whose hubs' commands run in this process: each with its own folders and server.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .hub_commands import Ran, hub_command
from .redis_server import RedisServer


class Machine:
    """One machine: while a command of it runs, the environment names its folders."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self._monkeypatch = monkeypatch

    @property
    def folder(self) -> Path:
        """Where its hub keeps server.json and its identity."""
        return self.path / "config" / "hivemind-core"

    @property
    def data(self) -> Path:
        """Where its hub keeps databases."""
        return self.path / "data" / "hivemind-core"

    def configure(self, **document: Any) -> None:
        """Write its server.json."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "server.json").write_text(json.dumps(document), "utf-8")

    def enter(self) -> None:
        """Be on this machine from now on."""
        for name in ("CONFIG", "DATA", "STATE", "CACHE"):
            self._monkeypatch.setenv(f"XDG_{name}_HOME", str(self.path / name.lower()))

    def run(self, *arguments: str, typed: str = "") -> Ran:
        """Run `hivemind-core` there."""
        self.enter()
        return hub_command(*arguments, typed=typed)

    def identity(self) -> dict[str, bytes]:
        """Every file in the folder of its identity, but server.json and backups, with what is in it."""
        return {file.name: file.read_bytes() for file in self.folder.glob("[!s]*") if file.is_file()}


def cluster_block(server: RedisServer, **more: Any) -> dict[str, Any]:
    """The block `cluster` of a hub that uses this server."""
    block: dict[str, Any] = {"url": server.url, "hub_name": "box"}
    if server.setup.tls:
        block["ca_certs"] = str(server.certificate)
    if server.setup.client_certificates:
        block |= {"certfile": str(server.certificate), "keyfile": str(server.key)}
    return block | more
