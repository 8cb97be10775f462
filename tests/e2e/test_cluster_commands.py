"""A cluster set up as docs/clusters.md says, by the command itself in two accounts, over TLS, as a user of its own."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from helpers.processes import Child, Children, Home
from helpers.redis_server import RedisServer, RedisSetup

PROGRAM = Path(sys.executable).parent / "hivemind-core"
PAGE = Path(__file__).parents[2] / "docs" / "clusters.md"
CODE = re.compile(r"(?:[0-9A-Z]{5}-){5}[0-9A-Z]{5}")
PASSWORD = "r3dis-word"


class Account:
    """Somebody's account, with a server.json in it."""

    def __init__(self, children: Children, name: str) -> None:
        self.home = children.home(name)
        self._children = children

    @property
    def folder(self) -> Path:
        return self.home.config / "hivemind-core"

    def configure(self, document: Mapping[str, Any]) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "server.json").write_text(json.dumps(document), "utf-8")

    def run(self, *arguments: str, typed: str = "") -> str:
        """Run a command that must succeed; what it printed."""
        child: Child = self._children.spawn(arguments[0], [PROGRAM, *arguments], self.home)
        child.write(typed)
        child.close_stdin()
        assert child.wait_exit() == 0, child.tail()
        return child.stdout.read_text("utf-8")


def everything_kept(*homes: Home) -> str:
    """All that accounts hold in files, but what was printed on a terminal."""
    found = [path for home in homes for path in home.path.rglob("*") if path.is_file() and path.parent.name != "logs"]
    return "\n".join(path.read_bytes().decode("latin-1") for path in found)


@pytest.fixture
def server(children: Children) -> RedisServer:
    """A Redis with TLS and with the documented user."""
    found = RedisServer(children, RedisSetup(password="the-administrator's", tls=True, appendonly=True))
    (rule,) = re.findall(r"^    redis-cli (ACL SETUSER .*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    found.call(*shlex.split(rule.replace("PASSWORD", PASSWORD)))
    return found


def test_the_documented_steps_make_a_cluster(children: Children, server: RedisServer) -> None:
    one, two = Account(children, "one"), Account(children, "two")
    url = f"rediss://localhost:{server.port}/0"
    reached = {"url": url, "username": "hivemind", "password": PASSWORD, "ca_certs": str(server.certificate)}
    one.run("add-client", "--name", "kitchen")
    two.configure({"cluster": {**reached, "hub_name": "attic"}})
    one.configure({"cluster": {**reached, "hub_name": "cellar"}})

    (code,) = CODE.findall(one.run("cluster", "create"))
    one.run("migrate-db", "--from", "sqlite", "--to", "redis")
    joined = two.run("cluster", "join", typed=f"{code}\n")
    assert "has the identity of the cluster" in joined
    assert "already" in two.run("cluster", "join")

    for account in (one, two):
        (client,) = json.loads(account.run("list-clients", "--json"))
        assert client["name"] == "kitchen"
        assert json.loads(account.run("cluster", "status", "--json"))["members"] == []
    identities = [json.loads((each.folder / "_identity.json").read_text("utf-8")) for each in (one, two)]
    assert identities[0]["public_key"] == identities[1]["public_key"]
    assert {path.stat().st_mode & 0o777 for path in two.folder.iterdir() if path.name != "server.json"} == {0o600}

    kept = everything_kept(one.home, two.home, server.home)
    assert code not in kept
    assert kept.count(PASSWORD) == 2  # in each server.json
    printed = children.report()
    assert printed.count(code) == 1
    assert PASSWORD not in printed
