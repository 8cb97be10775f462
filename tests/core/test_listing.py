"""``list-clients`` and ``export-clients``: all there is to know, and secrets only for who asks."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.hub_commands import add, hub_command, said
from hivemind_core.clients import Client

CHILD_TIMEOUT_S = 60
WITHHELD = "NOTE: the passwords were left out; add --show-secrets to export them, too.\n"
PSK = "5" * 64


@pytest.fixture(autouse=True)
def no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making RSA keys takes long, and is tested elsewhere."""
    monkeypatch.setattr("hivemind_core.hub_identity.load_identity", lambda: None)


@pytest.fixture
def kitchen() -> Client:
    return add(
        "kitchen-key",
        name="kitchen",
        password="hush",
        is_admin=True,
        can_propagate=False,
        allowed_types=("speak", "a"),
        last_seen=1_700_000_000.5,
        metadata={
            "skill_blacklist": ["s"],
            "intent_blacklist": ["i"],
            "noise_pubkey": "ab" * 32,
            "noise_psk": PSK,
            "noise_psk_for": PSK,
            "crypto_key": "0123456789abcdef",
            "mqtt": {"password": "inner", "port": 1883},
            "role": "guest",
        },
    )


# list-clients


def cells(text: str) -> list[list[str]]:
    """Return the cells of the rows of a table, the heading first."""
    rows = [line.replace("┃", "│").split("│") for line in text.splitlines() if line[:1] in ("│", "┃")]
    return [[cell.strip() for cell in row[1:-1]] for row in rows]


def test_clients_are_listed_with_their_rights_and_without_passwords(kitchen: Client) -> None:
    add("bare", name="bare", can_escalate=False, can_propagate=False, password="secret")
    text = said("list-clients")
    assert text.splitlines()[0].strip() == "HiveMind Credentials:"
    heading, first, second = cells(text)
    assert heading == ["ID", "Name", "Access Key", "Rights", "Types", "Last Seen"]
    assert first[:5] == ["1", "kitchen", "kitchen-key", "admin, escalate, broadcast", "2"]
    assert first[5].startswith("2023-11-1")
    assert second == ["2", "bare", "bare", "", "none", "never"]
    assert "hush" not in text
    assert "secret" not in text


def test_passwords_are_listed_when_asked_for(kitchen: Client) -> None:
    heading, row = cells(said("list-clients", "--show-secrets"))
    assert (heading[:4], row[:4]) == (["ID", "Name", "Access Key", "Password"], ["1", "kitchen", "kitchen-key", "hush"])


def test_deleted_clients_are_not_listed(kitchen: Client) -> None:
    said("delete-client", "1", "--yes")
    assert len(cells(said("list-clients"))) == 1
    assert json.loads(said("list-clients", "--json")) == []


@pytest.mark.parametrize("when", [float("inf"), 1e300])
def test_a_time_that_is_none_is_not_in_the_way(when: float) -> None:
    add("k", last_seen=when)
    assert cells(said("list-clients"))[1][5] == "?"
    (document,) = json.loads(said("list-clients", "--json"), parse_constant=pytest.fail)
    assert document["last_seen"] == (None if when == float("inf") else when)


def test_programs_get_everything_but_secrets(kitchen: Client) -> None:
    assert json.loads(said("list-clients", "--json")) == [
        {
            "client_id": 1,
            "name": "kitchen",
            "description": "",
            "access_key": "kitchen-key",
            "is_admin": True,
            "can_escalate": True,
            "can_propagate": False,
            "can_broadcast": True,
            "allowed_types": ["speak", "a"],
            "skill_blacklist": ["s"],
            "intent_blacklist": ["i"],
            "pinned": True,
            "last_seen": 1_700_000_000.5,
            "previous_password": None,
            "metadata": {"mqtt": {"port": 1883}, "role": "guest"},
        }
    ]


def test_programs_get_secrets_when_they_ask(kitchen: Client) -> None:
    (document,) = json.loads(said("list-clients", "--json", "--show-secrets"))
    assert document["password"] == "hush"
    assert document["metadata"] == {
        "noise_psk": PSK,
        "noise_psk_for": PSK,
        "crypto_key": "0123456789abcdef",
        "mqtt": {"password": "inner", "port": 1883},
        "role": "guest",
    }


def test_what_was_never_seen_or_pinned_says_so() -> None:
    add("k")
    (document,) = json.loads(said("list-clients", "--json"))
    assert (document["last_seen"], document["pinned"]) == (None, False)


def test_a_previous_password_is_told_of_as_long_as_it_is_valid_and_never_shown() -> None:
    kept = {"previous_password": "hushed", "previous_noise_psk": PSK}
    add("k1", name="over", metadata={**kept, "previous_password_until": 1_700_000_000})
    assert "Previous Password" not in said("list-clients")
    add("k2", name="unused", metadata={**kept, "previous_password_until": 4_000_000_000})
    add("k3", name="used", metadata={**kept, "previous_password_until": 4e9, "previous_password_used": 1_700_000_000})
    text = said("list-clients")
    assert "Previous Password" in text
    assert text.count("valid until 2096-10-02") == 2
    assert (text.count("not used"), text.count("last used 2023-11-1")) == (1, 1)
    documents = json.loads(said("list-clients", "--json"))
    assert [document["previous_password"] for document in documents] == [
        None,
        {"valid_until": 4e9, "last_used": None},
        {"valid_until": 4e9, "last_used": 1_700_000_000},
    ]
    assert "hushed" not in text + json.dumps(documents) + hub_command("export-clients", "--show-secrets").out
    assert PSK not in text + json.dumps(documents)


# export-clients


NAMES = ["plain", 'with "quotes", and commas', "", "ünïcode"]


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_export_is_csv_whatever_a_name_holds() -> None:
    for number, name in enumerate(NAMES, 1):
        add(f"k{number}", name=name or "x", password=f'p"{number},')
        said("rename-client", str(number), "--name", name)
    ran = hub_command("export-clients", "--show-secrets")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("client_id,name,is_admin,access_key,password\n1,plain,False,k1,")
    assert rows_of(ran.out) == [
        {"client_id": str(n), "name": name, "is_admin": "False", "access_key": f"k{n}", "password": f'p"{n},'}
        for n, name in enumerate(NAMES, 1)
    ]


def test_passwords_are_exported_only_when_asked_for(kitchen: Client) -> None:
    ran = hub_command("export-clients")
    assert ran.out == "client_id,name,is_admin,access_key,password\n1,kitchen,True,kitchen-key,\n"
    assert (ran.code, ran.err) == (0, WITHHELD)


@pytest.mark.parametrize("as_folder", [True, False])
def test_it_is_written_for_its_owner_alone_and_nothing_is_printed(
    kitchen: Client, tmp_path: Path, as_folder: bool
) -> None:
    target = tmp_path / ("hivemind_clients.csv" if as_folder else "mine.csv")
    target.write_text("from before")
    target.chmod(0o644)
    ran = hub_command("export-clients", "--show-secrets", "--path", str(tmp_path if as_folder else target))
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert target.read_text() == "client_id,name,is_admin,access_key,password\n1,kitchen,True,kitchen-key,hush\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_an_export_without_passwords_says_so_in_a_file_too(kitchen: Client, tmp_path: Path) -> None:
    ran = hub_command("export-clients", "--path", str(tmp_path))
    assert (ran.out, ran.err) == ("", WITHHELD)
    assert "hush" not in (tmp_path / "hivemind_clients.csv").read_text()


@pytest.mark.parametrize(
    ("path", "why"), [("missing/x.csv", "there is no folder"), (os.devnull, "it is not a regular file")]
)
def test_where_nothing_can_be_written_is_one_line(kitchen: Client, path: str, why: str) -> None:
    ran = hub_command("export-clients", "--path", path)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"Error: {ran.error}\n"
    assert ran.error.startswith(f"Cannot write {path}: {why}")


def test_a_write_that_fails_is_one_line(kitchen: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hivemind_bus_client.identity_file.write_private", full)
    ran = hub_command("export-clients", "--path", str(tmp_path / "x.csv"))
    assert (ran.code, ran.out) == (1, "")
    assert ran.error == f"Cannot write {tmp_path / 'x.csv'}: No space left on device."


def test_a_real_process_keeps_payload_and_notes_apart(kitchen: Client) -> None:
    """Names survive an account without a UTF-8 locale."""
    add("k2", name="Küche — 2")
    for arguments in (["list-clients"], ["list-clients", "--json"], ["export-clients"]):
        command = [sys.executable, "-m", "hivemind_core", *arguments]
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = subprocess.run(command, capture_output=True, timeout=CHILD_TIMEOUT_S, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        assert "Küche — 2" in done.stdout.decode()
        assert done.stderr.decode() == (WITHHELD if arguments == ["export-clients"] else "")
