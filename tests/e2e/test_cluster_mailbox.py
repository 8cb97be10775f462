"""The mailbox of a cluster: left at one hub, fetched at another, over hub processes and a real redis-server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.hub_cluster import HubCluster, MemberHub, Seat
from helpers.processes import Children, free_port, wait_until
from helpers.redis_server import RedisServer, RedisSetup
from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.mailbox import MailboxError, fetch, leave
from hivemind_bus_client.message import Message

PASSWORD = "orbital-walnut-cipher-93-lantern"
NAMES = ("alice", "bob")
SETTINGS = {"rendezvous": {"enabled": True, "max_pending_per_mailbox": 3}}
SOON_S = 60.0


class Node:
    """A satellite's owner: an identity, and visits to any hub."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.identity = NodeIdentity(identity_file=folder / name / "_identity.json")
        self.identity.create_keys()
        self.identity.save()
        self.heard: list[str] = []

    @contextmanager
    def visit(self, hub: MemberHub) -> Iterator[HiveMessageBusClient]:
        seat = hub.seat
        client = HiveMessageBusClient(self.name, PASSWORD, host=seat.host, port=seat.port, identity=self.identity)
        client.on_mycroft("speak", lambda message: self.heard.append(message.data["utterance"]))
        client.connect(timeout=SOON_S)
        try:
            yield client
        finally:
            client.close()

    def say(self, client: HiveMessageBusClient, to: Node, text: str) -> str:
        return leave(client, to.name, str(to.identity.public_key), Message("speak", {"utterance": text}))


@pytest.fixture
def cluster(children: Children) -> HubCluster:
    redis = RedisServer(children, RedisSetup(appendonly=True))
    seats = [Seat(f"hub-{number}", "127.0.0.1", free_port(), settings=SETTINGS) for number in (1, 2)]
    made = HubCluster(children, redis, seats)
    for name in NAMES:
        made.first.command("add-client", "--name", name, "--access-key", name, "--password", PASSWORD)
    made.start()
    return made


def test_left_at_one_hub_and_fetched_at_another(cluster: HubCluster, tmp_path: Path) -> None:
    alice, bob = (Node(name, tmp_path / "nodes") for name in NAMES)
    bob.identity.add_trusted_key("alice", str(alice.identity.public_key))
    one, two = cluster.hubs
    with alice.visit(one) as client:
        alice.say(client, bob, "first")
    with alice.visit(two) as client:
        alice.say(client, bob, "second")
    one.kill()
    one.start()
    with alice.visit(one) as client:
        alice.say(client, bob, "third")
        with pytest.raises(MailboxError) as refused:
            alice.say(client, bob, "one too many")
    assert refused.value.reason == "mailbox_full"
    with bob.visit(two) as client:
        assert [client.protocol.handle_intercom(letter) for letter in fetch(client)] == [True] * 3
        wait_until(lambda: len(bob.heard) == 3, SOON_S, "three messages")
    assert bob.heard == ["first", "second", "third"]
    with bob.visit(one) as client:
        assert list(fetch(client)) == []
    assert not any((hub.home.data / "hivemind-core" / "mailbox.db").exists() for hub in cluster.hubs)


def test_what_waits_outlives_redis(cluster: HubCluster, tmp_path: Path) -> None:
    alice, bob = (Node(name, tmp_path / "nodes") for name in NAMES)
    bob.identity.add_trusted_key("alice", str(alice.identity.public_key))
    one, two = cluster.hubs

    def left(client: HiveMessageBusClient, text: str) -> str:
        """The reason why it was not, if it was not."""
        try:
            alice.say(client, bob, text)
        except MailboxError as error:
            return str(error.reason)
        return ""

    with alice.visit(one) as at_one, bob.visit(two) as at_two:
        assert left(at_one, "before") == ""
        cluster.redis.kill()
        assert left(at_one, "meanwhile") == "mailbox_error"
        with pytest.raises(MailboxError) as failed:
            list(fetch(at_two))
        assert failed.value.reason == "mailbox_error"
        cluster.redis.start()
        wait_until(lambda: left(at_one, "after") == "", SOON_S, "a mailbox that takes messages")
        wait_until(lambda: fetched(at_two), SOON_S, "what was left")
        wait_until(lambda: len(bob.heard) >= 2, SOON_S, "two messages")
    # a deposit whose confirmation came too late was made again
    assert (bob.heard[0], set(bob.heard[1:])) == ("before", {"after"})


def fetched(client: HiveMessageBusClient) -> bool:
    """Fetch what there is; whether it could be."""
    try:
        for letter in fetch(client):
            assert client.protocol.handle_intercom(letter)
    except MailboxError:
        return False
    return True
