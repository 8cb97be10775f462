"""What a line of the audit log says of a change, and that it never says a secret."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from hivemind_core.audit import Author, entry, event, summary, untold, when
from hivemind_core.clients import Client

ALICE, HUB = Author("command", "alice", "some-command"), Author("hub")
ELSEWHERE = Author("elsewhere")
SECRETS = {
    "crypto_key": "0123456789abcdef",
    "noise_psk": "ab" * 32,
    "previous_password": "the-password-before",
    "api_token": "a-token-of-a-policy",
}
KEY, PEM = "cd" * 32, "-----BEGIN PUBLIC KEY-----"
ROW = Client(7, "its-access-key", "kitchen", password="its-password", allowed_types=("a", "b"), metadata=SECRETS)


def line(before: Client | None, after: Client | None, author: Author = ALICE) -> dict[str, Any]:
    found = entry(author, before, after, 1_700_000_000.5)
    assert found is not None
    return found


def patched(**metadata: Any) -> Client:
    return replace(ROW, metadata={**ROW.metadata, **metadata})


def test_a_line_says_who_did_what_to_whom_and_when() -> None:
    found = line(ROW, replace(ROW, is_admin=True))
    assert found == {
        "time": "2023-11-14T22:13:20.500+00:00",
        "source": "command",
        "user": "alice",
        "action": "some-command",
        "client_id": 7,
        "name": "kitchen",
        "before": {"is_admin": False},
        "after": {"is_admin": True},
        "metadata": [],
    }


CHANGES = [
    (replace(ROW, name="hall"), {"name": "kitchen"}, {"name": "hall"}, "name: kitchen → hall"),
    (replace(ROW, can_escalate=False), {"can_escalate": True}, {"can_escalate": False}, "can_escalate: yes → no"),
    (
        replace(ROW, allowed_types=("a", "c")),
        {"allowed_types": ["a", "b"]},
        {"allowed_types": ["a", "c"]},
        "allowed_types: +c -b",
    ),
    (
        patched(skill_blacklist=["x.skill"]),
        {"skill_blacklist": []},
        {"skill_blacklist": ["x.skill"]},
        "skill_blacklist: +x.skill",
    ),
    (replace(ROW, password="another"), {"password": "set"}, {"password": "changed"}, "password: set → changed"),
    (replace(ROW, password=None), {"password": "set"}, {"password": None}, "password: set → none"),
    (
        patched(previous_password_until=5),
        {"previous_password_until": None},
        {"previous_password_until": 5},
        "previous_password_until: none → 5",
    ),
]


@pytest.mark.parametrize(("after", "old", "new", "words"), CHANGES)
def test_only_what_changed_is_told(after: Client, old: dict[str, Any], new: dict[str, Any], words: str) -> None:
    found = line(ROW, after)
    assert (found["before"], found["after"], summary(found)) == (old, new, words)


def test_of_the_metadata_only_the_names_of_keys_are_told() -> None:
    found = line(ROW, replace(ROW, metadata={"room": "a-secret-room"}))
    assert found["metadata"] == ["api_token", "room"]
    assert summary(found) == "crypto_key: set → none, metadata: api_token room"


@pytest.mark.parametrize(
    "after", [None, replace(ROW, api_key="new-key", password="new"), patched(api_token="new-token")]
)
@pytest.mark.parametrize("before", [None, ROW])
def test_no_secret_is_told(before: Client | None, after: Client | None) -> None:
    text = json.dumps(entry(ALICE, before, after, 0.0))
    for row in filter(None, (before, after)):
        for secret in (row.api_key, row.password, *row.metadata.values()):
            assert str(secret) not in text


def test_new_ones_and_deleted_ones() -> None:
    added, deleted = line(None, ROW, HUB), line(ROW, None, HUB)
    assert (added["action"], deleted["action"]) == ("add-client", "delete-client")
    assert (added["before"], deleted["after"]) == (None, None)
    assert added["after"] == deleted["before"]
    assert added["after"]["allowed_types"] == ["a", "b"]
    assert added["metadata"] == ["api_token"]
    assert (summary(added), summary(deleted)) == ("added", "deleted")


@pytest.mark.parametrize(
    ("metadata", "action"),
    [
        ({"noise_pubkey": KEY}, "pin-device-key"),
        ({"intercom_pubkey": PEM}, "pin-intercom-key"),
        ({"previous_password_until": 3.0}, "end-grace"),
        ({"allow_weak_password": True}, "change"),
    ],
)
def test_what_the_hub_does_has_a_name(metadata: dict[str, Any], action: str) -> None:
    found = line(ROW, patched(**metadata), HUB)
    assert (found["source"], found["user"], found["action"]) == ("hub", None, action)
    assert KEY not in json.dumps(found)


@pytest.mark.parametrize(
    "after",
    [
        ROW,
        replace(ROW, last_seen=5.0),
        patched(noise_psk="ef" * 32, noise_psk_for="x"),
        patched(previous_password_used=3),
    ],
)
def test_what_changes_no_right_is_no_line(after: Client) -> None:
    assert entry(HUB, ROW, after, 0.0) is None


@pytest.mark.parametrize("strange", [{}, {"before": 3, "after": {}}, {"before": {}, "after": {}, "metadata": 5}])
def test_lines_of_others_are_read_too(strange: dict[str, Any]) -> None:
    assert isinstance(summary(strange), str)


def test_an_event_is_of_no_client_and_says_what_it_is_told() -> None:
    found = event(ALICE, {"from": "a", "clients": 3, "old": None}, 1_700_000_000.5)
    assert {key: value for key, value in found.items() if value not in (None, [])} == {
        "time": "2023-11-14T22:13:20.500+00:00",
        "source": "command",
        "user": "alice",
        "action": "some-command",
        "details": {"from": "a", "clients": 3, "old": None},
    }
    assert found.keys() >= line(ROW, None).keys()
    assert summary(found) == "from: a, clients: 3, old: none"
    assert when(found) == 1_700_000_000.5
    assert (when({}), when({"time": "noon"})) == (0, 0)


ADMIN = replace(ROW, is_admin=True)
BOTH = replace(ADMIN, can_escalate=False)
NEW_PASSWORD = replace(ROW, password="another")
ROOM = patched(room="kitchen")
OTHER = replace(ROW, client_id=8)


@pytest.mark.parametrize(
    ("before", "after", "told", "left"),
    [
        (ROW, ADMIN, [(ROW, ADMIN)], None),
        (ROW, BOTH, [(ROW, ADMIN), (ADMIN, BOTH)], None),
        (ROW, BOTH, [(ROW, ADMIN)], {"can_escalate": False}),
        (ROW, ADMIN, [], {"is_admin": True}),
        (ROW, ADMIN, [(ADMIN, ROW)], {"is_admin": True}),
        (ROW, ADMIN, [(OTHER, replace(OTHER, is_admin=True))], {"is_admin": True}),
        (ROW, NEW_PASSWORD, [(ROW, NEW_PASSWORD)], None),
        (ROW, NEW_PASSWORD, [(ROW, ADMIN)], {"password": "changed"}),
        (ROW, ROOM, [(ROW, ROOM)], None),
        (ROW, ROOM, [(ROW, ADMIN)], {}),
        (None, ROW, [(None, ROW)], None),
        (None, ADMIN, [(None, ROW), (ROW, ADMIN)], None),
        (ROW, None, [(ROW, None)], None),
        (ROW, None, [(ROW, ADMIN)], None.__class__),
        (None, ROW, [(OTHER, None)], None.__class__),
    ],
)
def test_what_others_tell_is_not_told_again(before: Any, after: Any, told: Any, left: Any) -> None:
    found = untold(line(before, after, ELSEWHERE), [line(*each) for each in told])
    if left is type(None):
        assert found == line(before, after, ELSEWHERE)
    elif left is None:
        assert found is None
    else:
        assert found is not None
        assert (found["after"], found["before"].keys()) == (left, left.keys())


def test_what_is_left_has_the_name_of_that() -> None:
    pinned = replace(ADMIN, metadata={**ROW.metadata, "noise_pubkey": KEY})
    noticed = line(ROW, pinned, ELSEWHERE)
    assert noticed["action"] == "pin-device-key"
    left = untold(noticed, [line(ROW, patched(noise_pubkey=KEY))])
    assert left is not None
    assert (left["action"], left["source"], left["after"]) == ("change", "elsewhere", {"is_admin": True})


def test_clients_that_were_migrated_are_told_as_one() -> None:
    migrated = event(Author("command", "alice", "migrate-db"), {}, 0.0)
    assert untold(line(None, ROW, ELSEWHERE), [migrated]) is None
    assert untold(line(ROW, ADMIN, ELSEWHERE), [migrated]) is not None


def test_what_was_noticed_before_is_no_excuse() -> None:
    noticed = line(ROW, ADMIN, ELSEWHERE)
    assert untold(noticed, [noticed]) == noticed
