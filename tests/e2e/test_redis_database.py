"""Hubs whose clients are in Redis: it goes away and comes back, and two hubs share it."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from websockets.asyncio.client import connect

from helpers import bus_stub
from helpers.hub_process import HOST, UTTERANCE, HubProcess
from helpers.live_hub import closed
from helpers.pair import DRIVERS, KEY, OTHER_KEY, OTHER_PASSWORD, OUR_PROGRAMS, PASSWORD, talk
from helpers.processes import Child, Children, wait_until
from helpers.redis_server import RedisServer, RedisSetup

MODULE = "hivemind-redis-db-plugin"
SOON_S = 60
"""Not the promise (1 s) but when a test gives up."""


class Scene:
    """A Redis, an assistant's bus, and hubs that use both."""

    def __init__(self, children: Children) -> None:
        self.children = children
        self.redis = RedisServer(children, RedisSetup(password="s3cret of Redis", appendonly=True))
        record = children.folder / "bus.jsonl"
        self.bus = children.spawn("bus", [sys.executable, bus_stub.__file__, "--record", str(record)])
        self.bus_port = self.bus.expect("ready")["port"]

    def hub(self, name: str = "hub") -> HubProcess:
        hub = HubProcess(self.children, OUR_PROGRAMS / "hivemind-core", self.bus_port, name=name)
        agent = {"host": HOST, "port": self.bus_port}
        hub.configure(
            {
                "database": {"module": MODULE, MODULE: self.redis.options()},
                "agent_protocol": {"module": "hivemind-ovos-agent-plugin", "hivemind-ovos-agent-plugin": agent},
            }
        )
        return hub

    def satellite(self, hub: HubProcess, key: str = KEY, password: str = PASSWORD, device: str = "kitchen") -> Child:
        options = ["--port", str(hub.port), "--key", key, "--password", password]
        argv = [OUR_PROGRAMS / "python", DRIVERS / "satellite.py", *options]
        return self.children.spawn(device, argv, self.children.home(device))

    def connected(self, *arguments: Any, **named: Any) -> Child:
        """A satellite that has been answered."""
        child = self.satellite(*arguments, **named)
        child.expect("connected")
        talk(child)
        return child


@pytest.fixture
def scene(children: Children) -> Scene:
    return Scene(children)


async def knock(hub: HubProcess, key: str) -> tuple[int, str]:
    """Come with an access key; code and reason with which the hub ends the connection."""
    token = quote(b64encode(f"stranger:{key}".encode()).decode(), safe="")
    async with connect(f"ws://{HOST}:{hub.port}/?authorization={token}") as socket:
        return await closed(socket)


def denials(child: Child, msg_type: str) -> int:
    """Send a message of a type once; how often the hub has denied that type so far."""
    child.send("message", type=msg_type, data={"utterances": ["am I heard"]})
    return sum(event["event"] == "denied" and event["denied_type"] == msg_type for event in child.events())


@pytest.mark.parametrize("fault", ["killed", "deaf"])
async def test_while_redis_is_lost_known_clients_go_on_and_unknown_ones_may_come_again(
    scene: Scene, fault: str
) -> None:
    """W8: there, everyone was told to stay away for good."""
    hub = scene.hub()
    hub.add_client(KEY, PASSWORD, name="kitchen")
    hub.start()
    kitchen = scene.connected(hub)
    assert await knock(hub, "stranger") == (1008, "invalid api key")

    away, back = {"killed": (scene.redis.kill, scene.redis.start), "deaf": (scene.redis.pause, scene.redis.resume)}[
        fault
    ]
    away()
    assert await knock(hub, OTHER_KEY) == (1011, "client database unavailable")
    talk(kitchen, "still here")
    kitchen.send("close")
    kitchen.expect("done")
    scene.connected(hub)

    back()
    hub.add_client(OTHER_KEY, OTHER_PASSWORD, name="bedroom")
    scene.connected(hub, OTHER_KEY, OTHER_PASSWORD, "bedroom")
    assert await knock(hub, "another stranger") == (1008, "invalid api key")
    assert hub.child is not None
    log = hub.child.output()
    assert log.count("the client database cannot be read: Could not read the client database in Redis at") == 1
    assert "the client database can be read again" in log
    assert "s3cret" not in log


def test_what_is_changed_at_one_hub_acts_on_the_connections_of_both(scene: Scene) -> None:
    hubs = [scene.hub("first"), scene.hub("second")]
    hubs[0].add_client(KEY, PASSWORD, name="kitchen")
    hubs[1].add_client(OTHER_KEY, OTHER_PASSWORD, name="bedroom")
    for hub in hubs:
        hub.start()
    kitchen = scene.connected(hubs[0])
    bedroom = scene.connected(hubs[1], OTHER_KEY, OTHER_PASSWORD, "bedroom")

    for changed_at, client_id, child in ((hubs[1], "1", kitchen), (hubs[0], "2", bedroom)):
        changed_at.command("blacklist-msg", UTTERANCE, client_id)
        wait_until(_denied(child, UTTERANCE), SOON_S, f"a denial\n{child.tail()}")
        changed_at.command("allow-msg", UTTERANCE, client_id)
        wait_until(_answered(child), SOON_S, f"an answer\n{child.tail()}")

    for changed_at, client_id, child in ((hubs[1], "1", kitchen), (hubs[0], "2", bedroom)):
        changed_at.command("delete-client", client_id, "--yes")
        child.expect("refused")
    for hub in hubs:
        assert hub.command("list-clients", "--json").strip() == "[]"
        assert hub.stop() == 0


def _denied(child: Child, msg_type: str) -> Callable[[], bool]:
    before = denials(child, msg_type)
    return lambda: denials(child, msg_type) > before


def _answered(child: Child) -> Callable[[], bool]:
    def answers() -> int:
        return sum(event["event"] == "speak" for event in child.events())

    before = answers()

    def tried() -> bool:
        child.send("utterance", text="and now")
        return answers() > before

    return tried


def test_a_hub_does_not_start_without_its_redis_and_says_why(scene: Scene) -> None:
    hub = scene.hub()
    scene.redis.kill()
    child = scene.children.spawn("hub", [OUR_PROGRAMS / "hivemind-core", "listen"], hub.home)
    assert child.wait_exit() == 1
    assert f"in Redis at 127.0.0.1:{scene.redis.port}: " in child.output()
    assert "See whether Redis runs there" in child.output()
    assert "Traceback" not in child.output()
