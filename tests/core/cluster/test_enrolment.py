"""`cluster create` and `cluster join`, against a real Redis: what they do, what they refuse, what they never show."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.cluster_machine import Machine, cluster_block
from helpers.hub_commands import Ran
from helpers.processes import Children
from helpers.redis_server import RedisServer, RedisSetup
from hivemind_core.cluster import join_code
from hivemind_core.hub_identity import load_identity

CODE = re.compile(r"(?:[0-9A-Z]{5}-){5}[0-9A-Z]{5}")
KEY = "hivemind:{hivemind}:identity"
PASSWORD = "r3dis-word"


@pytest.fixture
def server(children: Children) -> RedisServer:
    return RedisServer(children, RedisSetup(password=PASSWORD))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: RedisServer) -> Callable[[str], Machine]:
    """Makes machines with the server's `cluster` block."""

    def make(name: str) -> Machine:
        made = Machine(tmp_path / name, monkeypatch)
        made.configure(cluster=cluster_block(server))
        return made

    return make


Make = Callable[[str], Machine]


def code_of(ran: Ran) -> str:
    """The code that a command printed; it must be there once."""
    assert ran.code == 0, ran
    (code,) = CODE.findall(ran.out + ran.err)
    return str(code)


def identity_of(machine: Machine) -> object:
    machine.enter()
    return load_identity()


def refused(ran: Ran, code: int = 1) -> str:
    """Why a command refused: one line."""
    assert (ran.code, ran.out) == (code, ""), ran
    assert PASSWORD not in ran.err
    return ran.error


def noted(machine: Machine) -> list[tuple[str, bool]]:
    """What the audit log says of the cluster there, and whether another identity counted before; never a secret."""
    ran = machine.run("audit", "--json")
    assert PASSWORD not in ran.out
    assert not CODE.search(ran.out)
    lines = [line for line in json.loads(ran.out) if "details" in line]
    for line in lines:
        assert line["details"]["cluster"] == "hivemind"
        assert len(line["details"]["identity"]) == 32
    return [(line["action"], "instead of" in line["details"]) for line in lines]


def give_client(machine: Machine) -> None:
    """Put a client into the file that a hub alone has."""
    block = (machine.folder / "server.json").read_text()
    machine.configure()
    machine.run("add-client", "--name", "kitchen")
    (machine.folder / "server.json").write_text(block)


# --- what they do


def test_a_second_hub_gets_the_identity_of_the_first(machine: Make, server: RedisServer) -> None:
    one, two = machine("one"), machine("two")
    code = code_of(one.run("cluster", "create"))
    joined = two.run("cluster", "join", "--code", code)
    assert (joined.code, joined.err) == (0, "")
    assert identity_of(two) == identity_of(one)
    assert (noted(one), noted(two)) == ([("cluster create", False)], [("cluster join", False)])
    assert {path.stat().st_mode & 0o777 for path in two.folder.iterdir() if path.name != "server.json"} == {0o600}


@pytest.mark.parametrize("way", ["option", "environment", "typed"])
def test_the_code_comes_by_three_ways(machine: Make, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    code = code_of(machine("one").run("cluster", "create"))
    two = machine("two")
    if way == "environment":
        monkeypatch.setenv("HIVEMIND_CLUSTER_JOIN_CODE", code.lower())
    given = ("--code", code) if way == "option" else ()
    ran = two.run("cluster", "join", *given, typed=f"{code}\n" if way == "typed" else "")
    assert ran.code == 0
    assert not CODE.search(ran.out + ran.err)


def test_joining_again_changes_nothing_and_needs_no_code(machine: Make) -> None:
    one, two = machine("one"), machine("two")
    two.run("cluster", "join", "--code", code_of(one.run("cluster", "create")))
    before = two.identity()
    for each in (one, two):
        ran = each.run("cluster", "join")
        assert (ran.code, ran.err) == (0, "")
        assert "already" in ran.out
    assert two.identity() == before
    assert (len(noted(one)), len(noted(two))) == (1, 1)


def test_a_new_code_makes_the_former_one_void(machine: Make) -> None:
    one, two = machine("one"), machine("two")
    former = code_of(one.run("cluster", "create"))
    newer = code_of(one.run("cluster", "create", "--new-code"))
    assert noted(one) == [("cluster create", False), ("cluster create --new-code", False)]
    assert "not its join code" in refused(two.run("cluster", "join", "--code", former))
    assert noted(two) == []
    assert two.identity() == {}
    assert two.run("cluster", "join", "--code", newer).code == 0
    last = code_of(two.run("cluster", "create", "--new-code"))
    assert machine("three").run("cluster", "join", "--code", last).code == 0


def test_an_unused_identity_gives_way_and_is_kept(machine: Make) -> None:
    one, two = machine("one"), machine("two")
    identity_of(two)
    before = two.identity()
    ran = two.run("cluster", "join", "--code", code_of(one.run("cluster", "create")))
    assert ran.code == 0
    (backup,) = two.folder.glob("identity-backup-*")
    assert str(backup) in ran.err
    assert {file.name: file.read_bytes() for file in backup.iterdir()} == before


def test_redis_sees_neither_keys_nor_the_code(machine: Make, server: RedisServer) -> None:
    one = machine("one")
    code = code_of(one.run("cluster", "create"))
    with server.client(decode_responses=False) as client:
        assert [key.decode() for key in client.scan_iter()] == [KEY]
        stored = client.get(KEY)
    assert isinstance(stored, bytes)
    identity = load_identity()
    for secret in (identity.noise_key, identity.noise_key.hex().encode(), b"PRIVATE KEY", join_code.read(code)):
        assert secret not in stored


def test_the_code_is_in_no_file(machine: Make, tmp_path: Path) -> None:
    code = code_of(machine("one").run("cluster", "create"))
    machine("two").run("cluster", "join", "--code", code)
    groups = [group.encode() for group in code.split("-")]
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or not any(group in file.read_bytes() for group in groups), file


def test_clients_that_stay_behind_are_named(machine: Make) -> None:
    one = machine("one")
    give_client(one)
    ran = one.run("cluster", "create")
    assert "migrate-db --from hivemind-sqlite-db-plugin --to hivemind-redis-db-plugin" in ran.err
    assert ran.err.startswith("NOTE: 1 client(s) are in ")


# --- what they refuse


def test_a_cluster_that_has_an_identity_is_not_created_again(machine: Make, server: RedisServer) -> None:
    one, two = machine("one"), machine("two")
    one.run("cluster", "create")
    stored = server.call("GET", KEY)
    assert "already" in refused(one.run("cluster", "create"))
    assert "another hub's identity" in refused(two.run("cluster", "create"))
    assert "cluster join" in refused(two.run("cluster", "create", "--new-code"))
    assert server.call("GET", KEY) == stored


def test_the_place_of_another_identity_is_taken_only_on_demand(machine: Make) -> None:
    one, two = machine("one"), machine("two")
    one.run("cluster", "create")
    ran = two.run("cluster", "create", "--replace")
    assert "must join anew" in ran.err
    assert noted(two) == [("cluster create --replace", True)]
    assert one.run("cluster", "join", "--code", code_of(ran)).code == 0
    assert identity_of(one) == identity_of(two)


def test_replacing_and_a_new_code_do_not_go_together(machine: Make) -> None:
    assert machine("one").run("cluster", "create", "--replace", "--new-code").code == 2


def test_a_hub_with_clients_keeps_its_identity_unless_told(machine: Make) -> None:
    one, two = machine("one"), machine("two")
    code = code_of(one.run("cluster", "create"))
    give_client(two)
    before = two.identity()
    said = refused(two.run("cluster", "join", "--code", code))
    assert "1 client(s) know" in said
    assert "forget-server" in said
    assert two.identity() == before
    assert two.run("cluster", "join", "--replace", "--code", code).code == 0
    assert identity_of(two) == identity_of(one)
    assert noted(two) == [("cluster join --replace", True)]


def test_an_identity_that_cannot_be_read_is_replaced_only_on_demand(machine: Make) -> None:
    one, two = machine("one"), machine("two")
    code = code_of(one.run("cluster", "create"))
    (two.folder / "_identity.json").write_text("{ half")
    assert "cannot be read" in refused(two.run("cluster", "join", "--code", code), 2)
    assert two.run("cluster", "join", "--replace", "--code", code).code == 0
    assert identity_of(two) == identity_of(one)


@pytest.mark.parametrize("arguments", [("join", "--code", "x"), ("create", "--new-code"), ("status",)])
def test_before_a_cluster_is_created_there_is_nothing_to_join(machine: Make, arguments: tuple[str, ...]) -> None:
    assert "cluster create" in refused(machine("one").run("cluster", *arguments))


def test_a_wrong_code_changes_nothing(machine: Make) -> None:
    one, two = machine("one"), machine("two")
    code = code_of(one.run("cluster", "create"))
    other = join_code.write(bytes(range(join_code.RANDOM_BYTES)))
    typo = code[:-1] + ("0" if code[-1] != "0" else "1")
    for wrong, said in ((other, "not its join code"), (typo, "typing error"), ("", "no join code")):
        text = refused(two.run("cluster", "join", typed=f"{wrong}\n"))
        assert said in text
        assert not CODE.search(text)
    assert two.identity() == {}


def test_what_was_changed_in_redis_is_told(machine: Make, server: RedisServer) -> None:
    one, two = machine("one"), machine("two")
    code = code_of(one.run("cluster", "create"))
    stored = server.call("GET", KEY)
    server.call("SET", KEY, stored.replace('"sealed":"', '"sealed":"AAAA'))
    assert "was changed in Redis" in refused(two.run("cluster", "join", "--code", code))
    server.call("SET", KEY, "nothing of ours")
    assert "is damaged" in refused(two.run("cluster", "join", "--code", code), 2)


def test_without_a_cluster_block_it_says_what_to_write(machine: Make) -> None:
    one = machine("one")
    one.configure()
    for command in ("create", "join", "status"):
        said = refused(one.run("cluster", command), 2)
        assert "has no `cluster` block" in said
        assert '{"cluster": {"url": "redis://:PASSWORD@redis.lan:6379/0"}}' in said


def test_redis_that_cannot_be_asked_is_told(machine: Make, server: RedisServer) -> None:
    one = machine("one")
    one.configure(cluster=cluster_block(server, password="another"))
    assert "refuses the username or password" in refused(one.run("cluster", "create"))
    server.stop()
    one.configure(cluster=cluster_block(server))
    assert "refuses connections" in refused(one.run("cluster", "create"))


def test_two_who_create_at_once_do_not_overwrite_each_other(
    machine: Make, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    with server.client() as other:

        def meanwhile(*_: object) -> bytes:
            other.set(KEY, "theirs")
            return bytes(12)

        monkeypatch.setattr("hivemind_core.cluster.shared_identity._bound", meanwhile)
        assert "meanwhile" in refused(one.run("cluster", "create"))
        assert other.get(KEY) == "theirs"


def test_the_effective_configuration_shows_no_password(machine: Make) -> None:
    ran = machine("one").run("print-config")
    assert ran.code == 0
    assert PASSWORD not in ran.out
    assert '"index_prefix": "hivemind:{hivemind}:clients"' in ran.out
