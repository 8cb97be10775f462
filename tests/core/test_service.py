"""The hub as a service: what has to be up before it says that it is, how it ends, what changes while it runs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from hivemind_bus_client.message import Message
from hivemind_core import service
from hivemind_core.admin_config import AdminConfig
from hivemind_core.config import Config, load_config
from hivemind_core.service import Service, build
from hivemind_core.testing import MemoryHive
from hivemind_core.transports import BindError

WEBSOCKET = "hivemind-websocket-plugin"


class FakeTransport:
    """A transport that does as it is told, and looks at the hub while it starts and stops."""

    address = "ws://here:1"
    port = 1

    def __init__(self, hive: MemoryHive, fails: str = "") -> None:
        self.hive = hive
        self.fails = fails
        self.seen: list[dict[str, bool]] = []

    async def start(self) -> None:
        self.look()
        if self.fails:
            raise BindError(self.fails)

    async def stop(self) -> None:
        self.look()

    def look(self) -> None:
        self.seen.append(status(self.hive))


def status(hive: MemoryHive) -> dict[str, bool]:
    """What the hub answers on the agent's bus."""
    found = {}
    for question in ("is_alive", "is_ready", "all_loaded"):
        hive.agent.deliver(Message(f"mycroft.HiveMind.{question}"))
        found[question] = hive.agent.of_type(f"mycroft.HiveMind.{question}.response")[-1].data["status"]
    return found


ALIVE = {"is_alive": True, "is_ready": False, "all_loaded": False}
READY = dict.fromkeys(ALIVE, True)


async def test_it_is_ready_once_it_listens_and_not_while_it_ends() -> None:
    async with MemoryHive() as hive:
        transport = FakeTransport(hive)
        running = Service(hive.hub, [transport])
        await running.start()
        assert status(hive) == READY
        await running.stop()
        assert transport.seen == [ALIVE, ALIVE]


async def test_one_transport_of_two_is_enough(caplog: pytest.LogCaptureFixture) -> None:
    async with MemoryHive() as hive:
        broken, working = FakeTransport(hive, "no room"), FakeTransport(hive)
        running = Service(hive.hub, [broken, working])
        await running.start()
        assert (running.transports, status(hive)) == ([working], READY)
        assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == ["no room"]
        await running.stop()
        assert len(broken.seen) == 1, "what never listened is not stopped"


async def test_readiness_is_told_while_it_starts_serves_and_ends() -> None:
    async with MemoryHive() as hive:
        broken, working = FakeTransport(hive, "no room"), FakeTransport(hive)
        running = Service(hive.hub, [broken, working])

        def reasons() -> dict[str, str]:
            return {part.name: part.reason for part in running.parts()}

        not_yet = "the hub does not take connections: it is starting or stopping"
        assert reasons() == {"database": "", "agent": "", "transports": not_yet}
        await running.start()
        assert reasons()["transports"] == "no room"
        hive.agent.available = False
        assert "cannot be reached" in reasons()["agent"]
        await running.stop()
        assert reasons()["transports"] == not_yet


async def test_its_admin_address_is_there_before_it_serves_and_goes_with_it(tmp_path: Path) -> None:
    config = Config(tmp_path / "server.json", admin=AdminConfig(0), runtime_password_strength_check=False)
    async with MemoryHive(config=config) as hive:
        running = Service(hive.hub, [FakeTransport(hive, "no room")])
        assert running.admin is not None
        with pytest.raises(BindError, match="no room"):
            await running.start()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", running.admin.port)
        served = Service(hive.hub, [FakeTransport(hive)])
        assert served.admin is not None
        await served.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", served.admin.port)
        writer.write(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert b"hivemind_ready 1" in await asyncio.wait_for(reader.read(), 60)
        writer.close()
        await served.stop()


async def test_without_any_it_does_not_start() -> None:
    async with MemoryHive() as hive:
        running = Service(hive.hub, [FakeTransport(hive, "no room"), FakeTransport(hive, "nor here")])
        with pytest.raises(BindError, match="no room"):
            await running.start()
        assert not hive.hub.ready


# the process


def configured(path: Path, port: int = 0, **document: Any) -> Path:
    websocket = {"host": "127.0.0.1", "port": port}
    base = {"agent_protocol": {"module": "builtin"}, "network_protocol": {WEBSOCKET: websocket}}
    path.write_text(json.dumps({**base, **document}), "utf-8")
    return path


def test_a_port_in_use_ends_it_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = load_config(configured(tmp_path / "server.json", port))
        assert service.run(config) == 1
    assert capsys.readouterr().err == (
        f"Error: Port {port} is in use: another hub may be running. Choose one with --port.\n"
    )


def both(port: int) -> dict[str, Any]:
    return {WEBSOCKET: {"host": "127.0.0.1", "port": port}, "hivemind-http-plugin": {"host": "127.0.0.1", "port": 0}}


async def test_it_serves_what_the_configuration_names(tmp_path: Path) -> None:
    for network, schemes in (
        (both(0), ["ws", "http"]),
        ({"hivemind-http-plugin": both(0)["hivemind-http-plugin"]}, ["http"]),
    ):
        running = build(load_config(configured(tmp_path / "server.json", network_protocol=network)))
        await running.start()
        assert [transport.address.partition(":")[0] for transport in running.transports] == schemes
        await running.stop()


def test_where_the_websocket_cannot_listen_satellites_are_told_of_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    monkeypatch.setattr(service.whereabouts, "announce", lambda config, port: told.append((config.front.scheme, port)))
    monkeypatch.setattr(asyncio.Event, "wait", lambda self: asyncio.sleep(0))
    monkeypatch.setattr(service.quick_start.chatroom_process, "is_installed", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = load_config(configured(tmp_path / "server.json", network_protocol=both(port)))
        assert service.run(config, quick_start=True) == 0
    [(scheme, at)] = told
    assert scheme == "http"
    assert f"--host http://127.0.0.1 --port {at}" in capsys.readouterr().out


def test_an_unusable_certificate_ends_it_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hub.crt").write_text("nothing")
    block = {"host": "127.0.0.1", "port": 0, "ssl": True, "cert_dir": str(tmp_path), "cert_name": "hub"}
    config = load_config(configured(tmp_path / "server.json", network_protocol={WEBSOCKET: block}))
    assert service.run(config) == 1
    assert "hub.key beside it is missing" in capsys.readouterr().err


def test_an_agent_that_nobody_knows_is_a_wrong_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(configured(tmp_path / "server.json", agent_protocol={"module": "nope"}))
    assert service.run(config) == 2
    assert capsys.readouterr().err.startswith("Error: There is no agent named 'nope'.")


def test_a_signal_ends_it_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = []
    started, ended = Service.start, Service.stop

    async def start(self: Service) -> None:
        await started(self)
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)

    async def stop(self: Service) -> None:
        stopped.append(self.hub.ready)
        await ended(self)

    monkeypatch.setattr(Service, "start", start)
    monkeypatch.setattr(Service, "stop", stop)
    assert service.run(load_config(configured(tmp_path / "server.json"))) == 0
    assert stopped == [True]


# while it runs


async def test_a_changed_file_is_applied_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "REFRESH_S", 0.02)
    path = configured(tmp_path / "server.json")
    running = build(load_config(path))
    await running.start()
    assert running.hub.config.min_protocol_version == 2
    fresh = configured(tmp_path / "fresh.json", min_protocol_version=3, min_password_bits=0)
    fresh.replace(path)
    while running.hub.config.min_protocol_version != 3:  # noqa: ASYNC110 - a file tells nobody
        await asyncio.sleep(0.01)
    assert running.hub.keys.config.min_password_bits == 0
    await running.stop()
