"""The commands that change one thing of one client: what they write, what they say, and that they touch no more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from helpers.hub_commands import add, hub_command, said, stored
from hivemind_core.clients import Client
from hivemind_core.rights import FLAGS, Flag


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
    assert said("allow-broadcast", "1").splitlines()[1] == note
    said("make-admin", "1")
    assert note not in said("allow-broadcast", "1")


# message types


def test_types_are_allowed_and_the_last_argument_names_the_client(kitchen: Client) -> None:
    text, after = change(kitchen, "allow-msg", "speak", "a", "b", "a")
    assert text.splitlines() == [
        "Client kitchen already allowed 'speak'",
        "Allowed 'a' for kitchen",
        "Allowed 'b' for kitchen",
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
