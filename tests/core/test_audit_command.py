"""Every command that changes a client leaves one line in the audit log, without a secret; `audit` shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.hub_commands import add, hub_command, said, stored
from hivemind_core.audit import Author
from hivemind_core.audit_log import AuditLog, audit_path, note, this_account
from hivemind_core.clients import Client

PASSWORD, KEY = "orbital-walnut-cipher-93-lantern", "the-access-key-of-the-kitchen"


@pytest.fixture(autouse=True)
def no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making RSA keys takes long, and is tested elsewhere."""
    monkeypatch.setattr("hivemind_core.hub_identity.load_identity", lambda: None)


def lines() -> list[dict[str, Any]]:
    return list(AuditLog(audit_path()).entries())


COMMANDS = [
    (["allow-msg", "new.type", "1"], {"allowed_types": ["a.type", "new.type"]}),
    (["blacklist-msg", "a.type", "1"], {"allowed_types": []}),
    (["rename-client", "1", "--name", "hall"], {"name": "hall"}),
    (["make-admin", "1"], {"is_admin": True}),
    (["allow-escalate", "1"], {"can_escalate": True}),
    (["blacklist-propagate", "1"], {"can_propagate": False}),
    (["blacklist-skill", "x.skill", "1"], {"skill_blacklist": ["x.skill"]}),
    (["allow-intent", "an.intent", "1"], {"intent_blacklist": []}),
    (["reset-noise-pin", "1"], {"device_key": None}),
    (["rotate-password", "1", "--grace", "0", "--password", f"{PASSWORD}-new"], {"password": "changed"}),
    (["set-metadata", "1", "--key", "room", "--value", "secret-room"], {}),
    (["delete-client", "1", "--yes"], None),
]


@pytest.mark.parametrize(("arguments", "after"), COMMANDS, ids=[arguments[0] for arguments, _ in COMMANDS])
def test_a_command_leaves_one_line(arguments: list[str], after: dict[str, Any] | None) -> None:
    metadata = {"noise_pubkey": "ab" * 32, "intent_blacklist": ["an.intent"], "token": "secret-token"}
    columns = {"can_escalate": False, "can_propagate": True, "allowed_types": ("a.type",)}
    add(KEY, name="kitchen", password=PASSWORD, metadata=metadata, **columns)
    assert hub_command(*arguments).code == 0
    (line,) = lines()
    assert (line["action"], line["client_id"], line["source"]) == (arguments[0], 1, "command")
    assert line["user"] == this_account()
    assert line["after"] == after
    text = audit_path().read_text("utf-8")
    for secret in (PASSWORD, KEY, "secret-token", "secret-room", "ab" * 32):
        assert secret not in text


def test_adding_one_is_a_line_and_what_changes_nothing_is_none() -> None:
    added = ["add-client", "--name", "kitchen", "--access-key", KEY, "--password", PASSWORD, "--admin", "true"]
    assert hub_command(*added).code == 0
    assert hub_command("make-admin", "1").code == 0
    assert hub_command("make-admin", "no-such-client").code == 1
    assert hub_command("list-clients").code == 0
    (line,) = lines()
    assert (line["action"], line["after"]["is_admin"], line["before"]) == ("add-client", True, None)
    assert {KEY, PASSWORD} & set(json.dumps(line).split('"')) == set()


def test_they_are_shown() -> None:
    assert said("audit", "--json") == "[]"
    add("k1", name="kitchen")
    add("k2", name="hall")
    for arguments in (["make-admin", "1"], ["make-admin", "2"], ["rename-client", "2", "--name", "attic"]):
        assert hub_command(*arguments).code == 0
    assert [line["action"] for line in json.loads(said("audit", "--json"))] == [
        "make-admin",
        "make-admin",
        "rename-client",
    ]
    for wanted, count in (("1", 1), ("2", 2), ("attic", 1), ("hall", 2), ("nobody", 0)):
        assert len(json.loads(said("audit", "--client", wanted, "--json"))) == count, wanted
    shown = said("audit", "--client", "2")
    assert "is_admin: no → yes" in shown
    assert "name: hall → attic" in shown
    assert this_account() in shown
    assert "kitchen" not in shown


def test_a_log_that_cannot_be_written_stops_no_command() -> None:
    add(KEY, name="kitchen")
    audit_path().mkdir()
    assert hub_command("make-admin", "1").code == 0
    assert stored(1).is_admin


def test_what_is_of_no_client_and_what_came_from_elsewhere_are_shown() -> None:
    note("migrate-db", {"from": "one kind", "clients": 3})
    AuditLog(audit_path()).recorder(Author("elsewhere"))(None, Client(5, KEY, "hall"))
    AuditLog(audit_path()).recorder(Author("hub"))(None, Client(6, KEY, "attic"))
    rows = [[cell.strip() for cell in row.split("│")[2:7]] for row in said("audit").splitlines() if "│" in row]
    assert rows[0][1:] == ["migrate-db", "", "", "from: one kind, clients: 3"]
    assert rows[1] == ["elsewhere", "add-client", "5", "hall", "added"]
    assert rows[2][0] == "the hub"
    assert json.loads(said("audit", "--json", "--client", "None")) == []
