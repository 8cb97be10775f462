"""What an operator changes with the commands, in another process, acts on the connections that are open."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from typing import Any

import pytest

from helpers.link_hub import eventually
from helpers.live_hub import LiveHub
from helpers.pair import KEY, OURS, PASSWORD, Pair, talk
from helpers.processes import Child, Children, json_lines, wait_until
from hivemind_bus_client.noise import derive_psk
from hivemind_bus_client.refusals import REFUSALS

SOON_S = 60
"""Not the promise (1 s) but when a test gives up."""


@pytest.fixture
def pair(children: Children) -> Pair:
    return Pair(children, OURS, OURS)


@pytest.fixture
def kitchen(pair: Pair) -> Child:
    return connected(pair)


def connected(pair: Pair) -> Child:
    """A satellite that has been answered."""
    child = pair.satellite()
    child.expect("connected")
    talk(child)
    return child


def rows(pair: Pair) -> list[tuple[Any, ...]]:
    """What stands in the database, whoever holds it open."""
    with sqlite3.connect(pair.hub.database) as db:
        return db.execute("SELECT client_id, api_key, name, password, allowed_types, last_seen FROM clients").fetchall()


def until_denied(child: Child, msg_type: str) -> dict[str, Any]:
    """Send messages of a type until the hub denies them; the denial."""

    def denials() -> list[dict[str, Any]]:
        return [event for event in child.events() if event["event"] == "denied" and event["denied_type"] == msg_type]

    def tried() -> list[dict[str, Any]]:
        child.send("message", type=msg_type, data={"utterances": ["am I heard"]})
        return denials()

    before = len(denials())
    wait_until(lambda: len(tried()) > before, SOON_S, f"a denial of {msg_type}\n{child.tail()}")
    return denials()[-1]


def until_on_the_bus(pair: Pair, child: Child, msg_type: str) -> None:
    """Send messages of a type until one reaches the assistant's bus."""

    def heard() -> int:
        return sum(frame["type"] == msg_type for frame in json_lines(pair.bus_record))

    def tried() -> int:
        child.send("message", type=msg_type, data={})
        return heard()

    before = heard()
    wait_until(lambda: tried() > before, SOON_S, f"{msg_type} on the bus\n{child.tail()}")


def sessions_heard(pair: Pair) -> list[str]:
    """The session ids of the utterances on the assistant's bus, in order."""
    frames = json_lines(pair.bus_record)
    return [x["context"]["session"]["session_id"] for x in frames if x["type"] == "recognizer_loop:utterance"]


def test_granting_and_denying(pair: Pair, kitchen: Child) -> None:
    denied = until_denied(kitchen, "mycroft.stop")
    assert (denied["code"], denied["data"]) == ("acl_disallowed_type", {"msg_type": "mycroft.stop"})
    pair.hub.command("allow-msg", "mycroft.stop", "1")
    until_on_the_bus(pair, kitchen, "mycroft.stop")
    pair.hub.command("blacklist-msg", "recognizer_loop:utterance", "1")
    denied = until_denied(kitchen, "recognizer_loop:utterance")
    assert "`hivemind-core allow-msg recognizer_loop:utterance 1`" in denied["reason"]
    assert "mycroft.stop" not in json.dumps(denied)  # W18: the rest of the list is nobody's business
    pair.hub.command("allow-msg", "recognizer_loop:utterance", "1")
    wait_until(lambda: answered(kitchen), SOON_S, f"an answer\n{kitchen.tail()}")
    assert (pair.links(), pair.closes()) == (1, [])


def answered(child: Child) -> bool:
    """Say something once; whether anything said so far was answered since the last call."""
    before = sum(event["event"] == "speak" for event in child.events())
    child.send("utterance", text="and now")
    try:
        wait_until(lambda: sum(event["event"] == "speak" for event in child.events()) > before, 1, "")
    except AssertionError:
        return False
    return True


def test_a_blacklisted_skill(pair: Pair, kitchen: Child) -> None:
    pair.hub.command("blacklist-skill", "skill-jokes", "1")

    def blacklisted() -> bool:
        answered(kitchen)
        said = [frame for frame in json_lines(pair.bus_record) if "utterances" in frame["data"]]
        return said[-1]["context"]["session"].get("blacklisted_skills") == ["skill-jokes"]

    wait_until(blacklisted, SOON_S, "the skill on the list of the session")
    assert pair.links() == 1


def test_w3_deleting_closes_the_connection_and_nothing_is_left(pair: Pair, kitchen: Child) -> None:
    pair.hub.command("blacklist-propagate", "1")
    pair.hub.command("delete-client", "1", "--yes")
    refused = kitchen.expect("refused")
    assert REFUSALS["invalid_key"].sentence in refused["reason"]
    assert pair.closes()[0] == (1008, "invalid api key")
    kitchen.send("utterance", text="am I still heard")
    kitchen.expect("not_sent")
    assert "am I still heard" not in pair.bus_record.read_text("utf-8")
    assert rows(pair) == [(1, "revoked", "", None, "[]", -1.0)]
    assert pair.hub.child is not None
    assert REFUSALS["client_removed"].sentence in pair.hub.child.output()


def test_w4_no_later_write_revives_a_deleted_client(pair: Pair) -> None:
    """`last_seen` is written at every tick here, also while and after the client is deleted."""
    pair.hub.stop()
    pair.hub.configure({"agent_protocol": pair_agent(pair), "last_seen_update_interval": 0})
    pair.hub.start()
    kitchen = connected(pair)
    wait_until(lambda: rows(pair)[0][5] > 0, SOON_S, "the time it was seen")
    pair.hub.command("delete-client", "1", "--yes")
    kitchen.expect("refused")
    pair.hub.add_client("another-key", PASSWORD, name="hall")
    hall = pair.satellite(key="another-key")
    hall.expect("connected")
    wait_until(lambda: rows(pair)[1][5] > 0, SOON_S, "the time the other one was seen")
    assert rows(pair)[0] == (1, "revoked", "", None, "[]", -1.0)
    assert rows(pair)[1][0] == 2


def pair_agent(pair: Pair) -> dict[str, Any]:
    name = "hivemind-ovos-agent-plugin"
    return {"module": name, name: {"host": "127.0.0.1", "port": pair.hub.bus_port}}


def test_renaming_keeps_the_connection_and_its_address(pair: Pair, kitchen: Child) -> None:
    before = peers_heard(pair)
    pair.hub.command("rename-client", "1", "--name", "cellar")
    assert pair.hub.child is not None
    pair.hub.child.wait_output("is called 'cellar' from now on", SOON_S)
    talk(kitchen)
    assert set(peers_heard(pair)) == set(before)
    assert (pair.links(), pair.closes()) == (1, [])
    pair.cut()
    talk(kitchen, timeout_s=SOON_S)
    assert "::1::cellar::" in peers_heard(pair)[-1]


def peers_heard(pair: Pair) -> list[str]:
    frames = json_lines(pair.bus_record)
    return [x["context"]["peer"] for x in frames if x["type"] == "recognizer_loop:utterance"]


def test_making_and_unmaking_an_admin_changes_the_session_at_once(pair: Pair, kitchen: Child) -> None:
    own = sessions_heard(pair)[-1]
    namespace, _, declared = own.partition(":")
    assert declared

    def speaks_in(session_id: str) -> None:
        wait_until(lambda: answered(kitchen) and sessions_heard(pair)[-1] == session_id, SOON_S, session_id)

    pair.hub.command("make-admin", "1")
    speaks_in(declared)
    pair.hub.command("revoke-admin", "1")
    speaks_in(own)
    assert len(namespace) == 16
    assert pair.links() == 1


def admitted(pair: Pair) -> Child:
    """A satellite that is in; the hub may take a moment to see what was changed, and refuse it until then."""
    for _ in range(5):
        satellite = pair.satellite()
        wait_until(lambda of=satellite: {"connected", "failed"} & seen(of), 60, "what becomes of it")
        if "connected" in seen(satellite):
            break
        satellite.kill()
    return satellite


def seen(satellite: Child) -> set[str]:
    return {event["event"] for event in satellite.events()}


def test_a_reset_pin_lets_the_new_device_in_and_the_old_one_out(pair: Pair, kitchen: Child) -> None:
    stranger = pair.satellite()
    failed = stranger.expect("failed")
    assert REFUSALS["client_key_mismatch"].sentence in failed["text"]
    stranger.kill()
    pair.hub.command("reset-noise-pin", "1")
    talk(kitchen)  # it stays until another device takes its place
    replacement = admitted(pair)
    talk(replacement)
    refused = kitchen.expect("refused")
    assert REFUSALS["client_key_mismatch"].sentence in refused["reason"]
    talk(replacement)


async def test_w4_a_client_deleted_while_its_first_key_is_derived_stays_deleted(children: Children) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slowly(password: str, node_id: str) -> bytes:
        began.set()
        assert go_on.wait(SOON_S)
        return derive_psk(password, node_id)

    async with LiveHub(children.folder / "live", derive=slowly) as hub:
        hub.add(KEY, PASSWORD)
        client = hub.client(KEY, PASSWORD)
        connecting = asyncio.ensure_future(client.connect(timeout=SOON_S))
        assert await asyncio.to_thread(began.wait, SOON_S)
        await asyncio.to_thread(hub.command, children, "delete-client", "1", "--yes")
        go_on.set()
        await asyncio.wait([connecting])  # it may come in for the moment until the hub has seen the change
        await eventually(lambda: client.stopping, SOON_S)
        assert REFUSALS["invalid_key"].sentence in client.problem
        assert (connecting.exception() is None) or isinstance(connecting.exception(), ConnectionRefusedError)
        await client.close()
        [row] = hub.stored()
        assert (row.is_revoked, row.password, row.metadata) == (True, None, {})
