"""Clients in Redis that the released hub and ours use in turn, and at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from helpers import bus_stub
from helpers.hub_process import UTTERANCE, HubProcess
from helpers.pair import DRIVERS, KEY, OTHER_KEY, OTHER_PASSWORD, OUR_PROGRAMS, OURS, PASSWORD, programs, talk
from helpers.processes import Child, Children, wait_until
from helpers.redis_server import RedisServer, RedisSetup

MODULE = "hivemind-redis-db-plugin"
RELEASED = "released-hub-redis"
SOON_S = 60


class Installation:
    """One hub's files and address, and a Redis; either make runs there."""

    def __init__(self, children: Children, setup: RedisSetup, **options: Any) -> None:
        self.children = children
        self.redis = RedisServer(children, setup)
        record = children.folder / "bus.jsonl"
        bus = children.spawn("bus", [sys.executable, bus_stub.__file__, "--record", str(record)])
        self.bus_port = bus.expect("ready")["port"]
        self.ours, self.released = self._hub(OURS, 0), self._hub(RELEASED, 0)
        self.released.port = self.ours.port
        for hub in (self.ours, self.released):
            hub.configure({"database": {"module": MODULE, MODULE: self.redis.options(**options)}})

    def _hub(self, make: str, port: int) -> HubProcess:
        return HubProcess(self.children, programs(make) / "hivemind-core", self.bus_port, name="hub", port=port)

    def released_delete(self, client_id: str) -> None:
        argv = [programs(RELEASED) / "hivemind-core", "delete-client", client_id]
        child = self.children.spawn("released-delete", argv, self.released.home)
        child.write("y\n")
        child.close_stdin()
        assert child.wait_exit() == 0

    def record(self, client_id: int) -> dict[str, Any]:
        keys = self.redis.call("KEYS", f"*:client:{client_id}")
        return dict(json.loads(self.redis.call("GET", keys[0])))

    def clients(self) -> dict[int, str]:
        rows = json.loads(self.ours.command("list-clients", "--json"))
        return {row["client_id"]: row["name"] for row in rows}

    def satellite(self) -> Child:
        options = ["--port", str(self.ours.port), "--key", KEY, "--password", PASSWORD]
        child = self.children.spawn(
            "satellite",
            [OUR_PROGRAMS / "python", DRIVERS / "satellite.py", *options],
            self.children.home("device"),
        )
        child.expect("connected")
        talk(child)
        return child


@pytest.mark.parametrize(
    ("setup", "options"),
    [
        (RedisSetup(password="s3cret"), {}),
        (RedisSetup(cluster=True), {"cluster_hash_tag": "hive", "index_prefix": "pre"}),
    ],
    ids=["one server", "a cluster"],
)
def test_each_reads_on_where_the_other_wrote(children: Children, setup: RedisSetup, options: dict[str, Any]) -> None:
    there = Installation(children, setup, **options)
    released, ours = there.released, there.ours
    released.add_client(KEY, PASSWORD, name="kitchén")
    released.add_client(OTHER_KEY, OTHER_PASSWORD, name="bedroom")
    released.add_client("third", PASSWORD, name="cellar")
    released.command("blacklist-skill", "skill-jokes", "1")
    there.released_delete("3")

    assert there.clients() == {1: "kitchén", 2: "bedroom"}
    before = there.record(1)
    ours.command("allow-msg", "mycroft.stop", "1")
    ours.command("rename-client", "1", "--name", "küche")
    ours.command("delete-client", "2", "--yes")
    ours.add_client("fourth", PASSWORD, name="attic")
    allowed = [*before["allowed_types"], "mycroft.stop"]
    assert there.record(1) == {**before, "allowed_types": allowed, "name": "küche"}
    assert before["metadata"] == {"skill_blacklist": ["skill-jokes"]}

    listed = released.command("list-clients")
    assert "küche" in listed
    assert "attic" in listed
    assert not any(gone in listed for gone in ("kitchén", "bedroom", "cellar", "revoked"))
    released.command("rename-client", "4", "--name", "loft")
    released.command("blacklist-msg", "mycroft.stop", "1")
    released.add_client(OTHER_KEY, OTHER_PASSWORD, name="bedroom again")
    assert there.clients() == {1: "küche", 4: "loft", 5: "bedroom again"}
    assert there.record(1)["allowed_types"] == before["allowed_types"]


def test_a_satellite_goes_on_when_one_hub_takes_the_place_of_the_other(children: Children) -> None:
    there = Installation(children, RedisSetup())
    there.released.add_client(KEY, PASSWORD, name="kitchen")
    for hub in (there.released, there.ours, there.released):
        hub.start()
        there.satellite().kill()
        hub.stop()
    pinned = there.record(1)["metadata"]
    assert pinned.keys() >= {"noise_pubkey", "noise_psk", "noise_psk_for"}


def test_what_the_released_commands_change_acts_on_connections_of_our_hub(children: Children) -> None:
    there = Installation(children, RedisSetup())
    there.ours.add_client(KEY, PASSWORD, name="kitchen")
    there.ours.start()
    kitchen = there.satellite()
    there.released.command("blacklist-msg", UTTERANCE, "1")
    wait_until(denied(kitchen), SOON_S, f"a denial\n{kitchen.tail()}")
    there.released_delete("1")
    kitchen.expect("refused")


def denied(child: Child) -> Callable[[], bool]:
    def tried() -> bool:
        child.send("utterance", text="am I heard")
        return any(event["event"] == "denied" for event in child.events())

    return tried
