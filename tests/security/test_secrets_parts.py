"""The secrets of what is around a hub: its chatroom, its cluster, its sessions over HTTP, its certificate.

One hub of a cluster, a chatroom and a satellite, all at DEBUG, and a policy over which the hub fails: what is logged of
that says what every variable on the way held. Then everything that they printed, wrote and listed is looked through, as
are the arguments of all processes.
"""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import quote

import pytest

from helpers import failing_policy
from helpers.chatroom_process import ChatroomProcess
from helpers.hub_cluster import HubCluster, Seat
from helpers.leaks import leaks
from helpers.processes import Child, Children, free_port, wait_until
from helpers.redis_server import RedisServer, RedisSetup
from helpers.visitor import FORM, Visitor
from hivemind_core.cluster.join_code import read

HOST = "127.0.0.1"
CHATROOM_KEY, CHATROOM_PASSWORD = "5d1b7c9e02f84a63b7d0", "willow-compass-tundra-17-ember"
DEVICE_KEY, DEVICE_PASSWORD = "e8a3540f6c2b4d19a7f5", "granite-marble-sonnet-29-otter"
ROOM_PASSWORD = "falcon-teapot-glacier-71-velvet"
REDIS_PASSWORD = "saffron-anchor-meadow-43-pixel"
WEBSOCKET, HTTP = "hivemind-websocket-plugin", "hivemind-http-plugin"
LISTINGS = (
    ("print-config",),
    ("doctor",),
    ("doctor", "--json"),
    ("list-clients", "--json"),
    ("export-clients",),
    ("audit", "--json"),
    ("cluster", "status"),
    ("cluster", "status", "--json"),
)
TOLD = ("hub-add-client", "hub-cluster")
CLIENTS = ("list-clients --json", "export-clients")
NAMES = ("access key of the chatroom", "access key of the device")
"""What the owner of the hub lists clients by."""


class Premises:
    """All of it, once it has talked."""

    def __init__(self, children: Children) -> None:
        self.children = children
        self.redis = RedisServer(children, RedisSetup(password=REDIS_PASSWORD))
        self.http_port = free_port()
        self.cluster = HubCluster(children, self.redis, [self._seat(free_port())])
        self.hub = self.cluster.first
        for name, key, password in (
            ("chatroom", CHATROOM_KEY, CHATROOM_PASSWORD),
            ("device", DEVICE_KEY, DEVICE_PASSWORD),
        ):
            self.hub.command("add-client", "--name", name, "--access-key", key, "--password", password)
        self.hub.start()
        self.room = ChatroomProcess(children, self.hub.seat.port)
        self.visitor = self._talk_in_the_room()
        self.cookie = self._session_over_http()
        self.cmdlines = {
            child.name: Path(f"/proc/{child.pid}/cmdline").read_bytes().decode()
            for child in children.all
            if child.running
        }
        self.listings = [self._listing(*command) for command in LISTINGS]
        self.room.stop()
        self.hub.stop()

    def _seat(self, port: int) -> Seat:
        policies = failing_policy.install(self.children.folder / "policies")
        settings = {
            "log_level": "DEBUG",
            "network_protocol": {
                WEBSOCKET: {"host": HOST, "port": port},
                HTTP: {"host": HOST, "port": self.http_port, "ssl": True},
            },
            "policy": {"chain": [{"module": "hivemind-ovos-agent-policy"}, {"module": failing_policy.NAME}]},
        }
        return Seat("hub", HOST, port, run_in=["env", f"PYTHONPATH={policies}"], settings=settings)

    def _talk_in_the_room(self) -> Visitor:
        own = {
            "KEY": CHATROOM_KEY,
            "PASSWORD": CHATROOM_PASSWORD,
            "HUB_HOST": f"ws://{HOST}",
            "HUB_PORT": str(self.hub.seat.port),
            "ROOM_PASSWORD": ROOM_PASSWORD,
            "LOG_LEVEL": "DEBUG",
        }
        self.room.spawn(env={f"HIVEMIND_CHATROOM_{name}": value for name, value in own.items()})
        visitor = Visitor(self.room.port, "alice")
        for password, status in ((f"not-{ROOM_PASSWORD}", 403), (ROOM_PASSWORD, 302)):
            assert visitor.ask("POST", "/login", f"password={password}", {"Content-Type": FORM}).status == status
        assert visitor.enter().status == 200
        visitor.say("what time is it")
        visitor.wait_answer("what time is it")
        visitor.say("fail")
        wait_until(lambda: "cannot tell of" in self.hub.running.output(), 60, "the traceback")
        return visitor

    def _session_over_http(self) -> str:
        token = quote(b64encode(f"device:{DEVICE_KEY}".encode()).decode(), safe="")
        cookie = ""
        for method, path in (("POST", "/connect"), ("GET", "/get_messages"), ("GET", "/no-such-path")):
            url = f"https://{HOST}:{self.http_port}{path}?authorization={token}"
            headers = {"Cookie": f"hivemind_http_session={cookie}"} if cookie else {}
            request = urllib.request.Request(url, method=method, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=60, context=ssl._create_unverified_context()) as answer:
                    given = SimpleCookie("; ".join(answer.headers.get_all("Set-Cookie", [])))
            except urllib.error.HTTPError:
                continue
            cookie = given["hivemind_http_session"].value if "hivemind_http_session" in given else cookie
        assert cookie
        return cookie

    def _listing(self, *command: str) -> Child:
        child = self.hub.spawn(*command)
        child.close_stdin()
        child.wait_exit()
        return child

    # what is looked for, and where

    def secrets(self) -> dict[str, str]:
        """Everything that is secret, by what it is."""
        found = {
            NAMES[0]: CHATROOM_KEY,
            "password of the chatroom": CHATROOM_PASSWORD,
            NAMES[1]: DEVICE_KEY,
            "password of the device": DEVICE_PASSWORD,
            "password of the room": ROOM_PASSWORD,
            "password of Redis": REDIS_PASSWORD,
            "join code": self.cluster.code,
            "secret of the join code": read(self.cluster.code).hex(),
            "cookie of a session over HTTP": self.cookie,
            "key that signs cookies": next(self.room.home.state.rglob("secret")).read_text("ascii").strip(),
            **{f"cookie {name} of a visitor": value for name, value in self.visitor.cookies.items()},
        }
        for path in [*self.children.folder.rglob("*.key"), *self.children.folder.rglob("*.pem")]:
            lines = [line.strip() for line in path.read_text("utf-8", "replace").splitlines() if "-----" not in line]
            found |= {f"{path.name}, line {number}": line for number, line in enumerate(lines) if len(line) >= 40}
        return found

    def texts(self) -> dict[str, str]:
        """Everything that others may read. Who makes a client or a cluster is told once what it is let in with."""
        made = {id(child) for child in self.listings}
        printed = {
            f"output of {number} {child.name}": child.output()
            for number, child in enumerate(self.children.all)
            if child.name not in TOLD and id(child) not in made
        }
        listed = {" ".join(words): child.output() for words, child in zip(LISTINGS, self.listings, strict=True)}
        said = {f"arguments of {name}": line for name, line in self.cmdlines.items()}
        return {**printed, **listed, **said, "log of the chatroom": self.room.log()}

    def leaks(self) -> list[str]:
        """What is found that is not to be there."""
        found = leaks(self.secrets(), self.texts())
        return [each for each in found if not (each.startswith(NAMES) and each.endswith(CLIENTS))]


@pytest.fixture(scope="module")
def premises(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Premises]:
    with Children(tmp_path_factory.mktemp("secrets")) as children:
        try:
            yield Premises(children)
        except AssertionError:
            print(children.report())
            raise


def test_no_secret_is_in_anything_that_others_read(premises: Premises) -> None:
    assert premises.leaks() == []


def test_what_was_looked_through_is_not_empty(premises: Premises) -> None:
    texts, secrets = premises.texts(), premises.secrets()
    assert len(secrets) >= 12
    assert any(what.startswith("hivemind.key") for what in secrets)
    assert any(what.endswith("of a visitor") for what in secrets)
    log = premises.hub.running.output()
    assert "Traceback (most recent call last)" in log
    assert "    client = " in log
    assert " DEBUG " in log
    assert " DEBUG " in texts["log of the chatroom"]
    assert "chatroom" in texts["export-clients"]
    assert '"members"' in texts["cluster status --json"]
    for what, secret in secrets.items():
        assert leaks(secrets, {"a log": f"it was {secret}!"}), what
