"""The commands that change one thing of one client: what they write, what they say, and that they touch no more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import click
import pytest

from helpers.hub_commands import add, hub_command, said, stored
from hivemind_core.clients import Client
from hivemind_core.config import SQLITE_MODULE, default_path
from hivemind_core.metadata_command import set_metadata
from hivemind_core.rights import COMMANDS, FLAGS, Flag
from hivemind_core.storage.sqlite import SQLiteStore
from hivemind_core.testing import MemoryHive

NEEDED = {
    "allow-msg": ["x"],
    "blacklist-msg": ["x"],
    "allow-skill": ["x"],
    "blacklist-skill": ["x"],
    "allow-intent": ["x"],
    "blacklist-intent": ["x"],
    "rename-client": ["--name", "x"],
    "set-metadata": ["--key", "a", "--value", "1"],
}
"""Command -> what it takes before the client."""


@pytest.fixture(autouse=True)
def no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making RSA keys takes long, and is tested elsewhere."""
    monkeypatch.setattr("hivemind_core.hub_identity.load_identity", lambda: None)


@pytest.fixture
def kitchen() -> Client:
    metadata = {"role": "guest", "noise_psk": "00"}
    return add("key", name="kitchen", password="p", allowed_types=("speak",), metadata=metadata)


def change(before: Client, *arguments: str) -> tuple[str, Client]:
    """Run a command on the client; what it said and the client then."""
    text = said(*arguments, str(before.client_id))
    return text, stored(before.client_id)


# flags


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.command)
def test_a_flag_is_switched_once_and_nothing_else_changes(kitchen: Client, flag: Flag) -> None:
    columns: dict[str, Any] = {flag.column: not flag.value}
    before = add("other", name="{name} %s", **columns)
    text, after = change(before, flag.command)
    assert text.splitlines()[0] == flag.done.format(name=before.name)
    columns[flag.column] = flag.value
    assert after == replace(before, **columns)
    text, again = change(after, flag.command)
    assert text.splitlines()[0] == flag.already.format(name=before.name)
    assert again == after


@pytest.mark.parametrize(
    ("command", "done", "already"),
    [
        ("make-admin", "Gave administrator powers to kitchen", "kitchen is already an administrator!"),
        (
            "blacklist-escalate",
            "Blacklisted 'ESCALATE' messages for kitchen",
            "Client 'kitchen' 'ESCALATE' messages already blacklisted",
        ),
        (
            "blacklist-broadcast",
            "Blacklisted 'BROADCAST' messages for kitchen",
            "Client 'kitchen' 'BROADCAST' messages already blacklisted",
        ),
    ],
)
def test_the_texts_are_the_released_ones(kitchen: Client, command: str, done: str, already: str) -> None:
    assert [said(command, "1"), said(command, "1")] == [done, already]


@pytest.mark.parametrize(
    ("command", "already"),
    [
        ("revoke-admin", "kitchen is not an administrator"),
        ("allow-propagate", "Client kitchen already allowed to send 'PROPAGATE' messages"),
    ],
)
def test_the_texts_for_no_change_are_the_released_ones(kitchen: Client, command: str, already: str) -> None:
    assert said(command, "1") == already


def test_broadcasting_needs_an_administrator_and_that_is_said(kitchen: Client) -> None:
    note = "NOTE: kitchen is not an admin, so it still can not broadcast"
    said("blacklist-broadcast", "1")
    assert said("allow-broadcast", "1").splitlines()[1] == note
    assert said("allow-broadcast", "1") == "Client kitchen already allowed to send 'BROADCAST' messages"
    said("make-admin", "1")
    said("blacklist-broadcast", "1")
    assert note not in said("allow-broadcast", "1")


# message types


def test_types_are_allowed_and_the_last_argument_names_the_client(kitchen: Client) -> None:
    text, after = change(kitchen, "allow-msg", "speak", "a", "b", "a")
    assert text.splitlines() == [
        "Allowed 'a' for kitchen",
        "Allowed 'b' for kitchen",
        "Client kitchen already allowed 'speak'",
    ]
    assert after == replace(kitchen, allowed_types=("speak", "a", "b"))


def test_one_argument_is_a_type_and_the_client_is_asked_for(kitchen: Client) -> None:
    add("other")
    assert hub_command("allow-msg", "a", typed="1\n").out.endswith("Allowed 'a' for kitchen\n")


@pytest.mark.parametrize(
    ("msg_type", "problem"),
    [
        ("", "A message type cannot be empty; nothing was granted."),
        ("a b", "A message type cannot contain white space; nothing was granted."),
        ("a\n", "A message type cannot contain white space; nothing was granted."),
    ],
)
def test_a_text_that_is_no_type_grants_nothing(kitchen: Client, msg_type: str, problem: str) -> None:
    ran = hub_command("allow-msg", "a", msg_type, "1")
    assert (ran.code, ran.out, ran.error) == (2, "", problem)
    assert stored(1) == kitchen


def test_allow_msg_needs_a_type() -> None:
    assert hub_command("allow-msg").code == 2


def test_a_type_is_blacklisted_in_all_its_copies() -> None:
    row = add("key", name="kitchen", allowed_types=("a", "speak", "a"))
    text, after = change(row, "blacklist-msg", "a")
    assert (text, after.allowed_types) == ("Blacklisted 'a' for kitchen", ("speak",))
    text, again = change(row, "blacklist-msg", "a")
    assert (text, again) == ("Client 'kitchen' message already blacklisted: 'a'", after)


# skills and intents


@pytest.mark.parametrize("word", ["skill", "intent"])
def test_skills_and_intents_are_barred_and_let_in_again(kitchen: Client, word: str) -> None:
    key = f"{word}_blacklist"
    text, barred = change(kitchen, f"blacklist-{word}", "x.y")
    assert text == "Blacklisted 'x.y' for kitchen"
    assert barred.metadata == {**kitchen.metadata, key: ["x.y"]}
    assert said(f"blacklist-{word}", "x.y", "1") == f"Client kitchen already has 'x.y' in {key}"
    text, free = change(kitchen, f"allow-{word}", "x.y")
    assert text == "Unblacklisted 'x.y' for kitchen"
    assert free.metadata == {**kitchen.metadata, key: []}
    assert said(f"allow-{word}", "x.y", "1") == f"'x.y' is not in {key} for client kitchen"


@pytest.mark.parametrize("command", ["blacklist-skill", "blacklist-intent"])
@pytest.mark.parametrize("value", ["", "a\nb"])
def test_what_cannot_be_a_name_is_not_barred(kitchen: Client, command: str, value: str) -> None:
    ran = hub_command(command, value, "1")
    assert (ran.code, ran.out) == (2, "")
    assert ran.error.endswith("; nothing was barred.")
    assert stored(1) == kitchen


# name and pin


def test_a_client_is_renamed(kitchen: Client) -> None:
    assert said("rename-client", "1", "--name", "") == "Renamed 'kitchen' to ''"
    assert stored(1) == replace(kitchen, name="")
    assert hub_command("rename-client", "1").code == 2


def test_a_pin_is_forgotten_and_the_rest_of_the_metadata_kept() -> None:
    row = add("key", name="kitchen", metadata={"noise_pubkey": "ab", "noise_psk": "00", "x": 1})
    text, after = change(row, "reset-noise-pin")
    assert text == ("Forgot the pinned Noise key for kitchen. Its next connection will pin the key it presents.")
    assert after.metadata == {"noise_psk": "00", "x": 1}
    assert said("reset-noise-pin", "1") == "kitchen has no pinned Noise key — nothing to reset"


def test_a_pin_of_a_client_deleted_meanwhile_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    add("key", metadata={"noise_pubkey": "ab"})
    monkeypatch.setattr("hivemind_core.storage.sqlite.SQLiteStore.edit", lambda *_: None)
    assert hub_command("reset-noise-pin", "1").error == "Client 1 was deleted meanwhile."


# what all of them refuse


@pytest.mark.parametrize("command", [*COMMANDS, set_metadata], ids=lambda command: command.name)
def test_a_client_that_is_not_there_is_an_error_with_its_cure(kitchen: Client, command: click.Command) -> None:
    ran = hub_command(str(command.name), *NEEDED.get(str(command.name), []), "9")
    assert (ran.code, ran.out) == (1, "")
    assert ran.error.startswith("Invalid Node ID!")
    assert "`hivemind-core list-clients`" in ran.error


def test_types_without_a_client_are_told_what_the_last_argument_is(kitchen: Client) -> None:
    ran = hub_command("allow-msg", "a", "b")
    assert ran.error.endswith("Of two or more arguments the last one names the client.")
    assert stored(1) == kitchen


# on a hub that runs


@pytest.fixture
async def hive() -> AsyncIterator[MemoryHive]:
    """A running hub whose database the commands work on."""
    async with MemoryHive() as running:
        store = running.db.store
        assert isinstance(store, SQLiteStore)
        module = {"module": SQLITE_MODULE, SQLITE_MODULE: {"db_path": str(store.path)}}
        default_path().parent.mkdir(parents=True)
        default_path().write_text(json.dumps({"database": module}))
        yield running


async def test_a_forgotten_pin_lets_another_device_in(hive: MemoryHive) -> None:
    row = hive.add_client("kitchen")
    (await hive.join("kitchen", client=row)).leave()
    refused = await hive.join("kitchen", client=row)
    assert refused.closed is not None
    before = hive.db.all()[0].metadata
    said("reset-noise-pin", "kitchen")
    hive.db.refresh()
    replaced = await hive.join("kitchen", client=row)
    assert replaced.closed is None
    replaced.say("hello")
    await hive.settle()
    assert hive.agent.utterances == ["hello"]
    after = hive.db.all()[0].metadata
    assert after["noise_psk"] == before["noise_psk"]
    assert after["noise_pubkey"] != before["noise_pubkey"]


async def test_a_type_allowed_meanwhile_is_let_through(hive: MemoryHive) -> None:
    satellite = await hive.join("kitchen", client=hive.add_client("kitchen", allowed_types=()))
    satellite.say("one")
    await hive.settle()
    said("allow-msg", "recognizer_loop:utterance", "kitchen")
    await hive.hub.refresh()
    satellite.say("two")
    await hive.settle()
    assert hive.agent.utterances == ["two"]
