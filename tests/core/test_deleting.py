"""``hivemind-core delete-client``: asked before, said after, and gone for good."""

from __future__ import annotations

import pytest

from helpers.hub_commands import add, hub_command, said, stored


@pytest.fixture(autouse=True)
def no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making RSA keys takes long, and is tested elsewhere."""
    monkeypatch.setattr("hivemind_core.hub_identity.load_identity", lambda: None)


def test_a_deletion_is_confirmed_and_says_what_is_gone() -> None:
    add("key", name="weak2", password="p")
    ran = hub_command("delete-client", "1", typed="y\n")
    question = "Delete client 'weak2' (id 1)? This permanently revokes its credentials. [y/N]: "
    assert ran.out.replace("y\n", "", 1) == (
        f"{question}Revoked credentials!\n\nNode ID: 1\nFriendly Name: weak2\nAccess Key: key\nPassword: p\n"
    )
    assert hub_command("delete-client", "1", "--yes").code == 1


@pytest.mark.parametrize(("typed", "code"), [("n\n", 0), ("", 1)])
def test_without_a_yes_nobody_is_deleted(typed: str, code: int) -> None:
    add("key")
    ran = hub_command("delete-client", "key", typed=typed)
    assert ran.code == code
    assert "Abort" in ran.out + ran.err
    assert stored(1).api_key == "key"


def test_the_only_client_is_taken_unasked_and_named() -> None:
    add("key", name="kitchen")
    ran = hub_command("delete-client", "--yes")
    assert ran.out.startswith("Revoked credentials!\n")
    assert ran.err == "Taking the only client there is: 'kitchen' (id 1).\n"


def test_its_id_is_not_given_again() -> None:
    add("key")
    said("delete-client", "1", "--yes")
    assert "Node ID: 2\n" in said("add-client")


def test_a_client_somebody_else_deleted_meanwhile_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    add("key")
    monkeypatch.setattr("hivemind_core.storage.sqlite.SQLiteStore.delete", lambda *_: False)
    assert hub_command("delete-client", "1", "--yes").error == "Client 1 was deleted meanwhile."
