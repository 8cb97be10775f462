"""``rotate-password``: what it writes and says; and at a hub in memory, who comes in with which password, and when."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.hub_commands import add, hub_command, said, stored
from hivemind_bus_client import legacy_crypto
from hivemind_bus_client.link import KeyNeeded, Opened
from hivemind_core import grace
from hivemind_core.clients import Client
from hivemind_core.config import SQLITE_MODULE, Config, default_path
from hivemind_core.database import JSON_MODULE, ClientDatabase
from hivemind_core.grace import grace_of
from hivemind_core.storage.sqlite import SQLiteStore
from hivemind_core.testing import MemoryHive, MemorySatellite, quick_psk

NOW = 1_700_000_000
DAY_S = 86_400
OLD, NEW = "walnut lantern orbit cipher", "cobalt meadow engine harvest"
HEX = "0a" * 32


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making RSA keys takes long, and is tested elsewhere."""
    monkeypatch.setattr("hivemind_core.hub_identity.load_identity", lambda: None)


@pytest.fixture
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's clock stands still."""
    monkeypatch.setattr("hivemind_core.rotation.time.time", lambda: NOW + 0.7)


@pytest.fixture(params=[SQLITE_MODULE, JSON_MODULE])
def kitchen(today: None, request: pytest.FixtureRequest) -> Client:
    default_path().parent.mkdir(parents=True)
    default_path().write_text(json.dumps({"database": {"module": request.param}}))
    return add("key", name="kitchen", password=OLD, metadata={"noise_psk": HEX, "noise_psk_for": HEX, "role": "guest"})


def test_the_new_password_is_printed_with_what_to_run(kitchen: Client) -> None:
    lines = said("rotate-password", "kitchen").splitlines()
    row = stored(1)
    assert lines[:5] == [
        "Gave kitchen a new password",
        "",
        "Node ID: 1",
        "Friendly Name: kitchen",
        f"Password: {row.password}",
    ]
    assert lines[5].startswith("Previous Password: valid until 2023-11-")
    assert lines[6:] == ["", "On the satellite, run", f"    hivemind-client set-identity --password {row.password}"]
    assert row.password is not None
    assert len(row.password) == 32
    assert OLD not in "\n".join(lines)


def test_only_what_belongs_to_a_password_is_written(kitchen: Client) -> None:
    said("rotate-password", "1", "--password", NEW)
    moved = {"previous_noise_psk": HEX, "previous_noise_psk_for": HEX}
    kept = {"role": "guest", grace.PASSWORD: OLD, grace.UNTIL: NOW + DAY_S, **moved}
    assert stored(1) == replace(kitchen, password=NEW, metadata=kept)


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("3600s", 3600), ("7d", 7 * DAY_S)])
def test_the_grace_is_as_long_as_was_said(kitchen: Client, text: str, seconds: int) -> None:
    said("rotate-password", "1", "--grace", text)
    assert stored(1).metadata[grace.UNTIL] == NOW + seconds


def test_no_grace_ends_the_old_password_at_once(kitchen: Client) -> None:
    assert "Previous Password: no longer valid" in said("rotate-password", "1", "--grace", "0")
    assert stored(1).metadata == {"role": "guest"}


def test_a_second_rotation_says_that_it_ends_the_password_before(kitchen: Client) -> None:
    said("rotate-password", "1", "--password", NEW, "--grace", "7d")
    ran = hub_command("rotate-password", "1", "--grace", "1h")
    assert ran.err.startswith("NOTE: the password before the previous one was valid until 2023-11-")
    valid = grace_of(stored(1), NOW)
    assert valid is not None
    assert (valid.password, valid.until) == (NEW, NOW + 3600)
    assert OLD not in str(stored(1).metadata)


def test_the_grace_is_ended_by_hand(kitchen: Client) -> None:
    said("rotate-password", "1", "--password", NEW)
    assert said("rotate-password", "1", "--end-grace") == "The previous password of kitchen is no longer valid"
    assert stored(1) == replace(kitchen, password=NEW, metadata={"role": "guest"})
    nothing = "kitchen has no previous password that is valid — nothing to end"
    assert said("rotate-password", "1", "--end-grace") == nothing


def test_programs_get_json(kitchen: Client) -> None:
    document = json.loads(said("rotate-password", "1", "--password", NEW, "--json"))
    line = f"hivemind-client set-identity --password '{NEW}'"
    about = {"client_id": 1, "name": "kitchen"}
    assert document == {**about, "previous_password_valid_until": NOW + DAY_S, "password": NEW, "run": line}
    assert json.loads(said("rotate-password", "1", "--end-grace", "--json")) == {
        **about,
        "previous_password_valid_until": None,
    }


def test_a_weak_password_is_accepted_knowingly_and_for_that_one_alone(kitchen: Client) -> None:
    weak = hub_command("rotate-password", "1", "--password", "hush")
    assert weak.code == 2
    assert weak.error.startswith("Invalid value for --password: password is too guessable")
    assert stored(1) == kitchen
    said("rotate-password", "1", "--password", "hush", "--allow-weak-password")
    assert stored(1).metadata["allow_weak_password"] is True
    assert "previous_allow_weak_password" not in stored(1).metadata
    hub_command("rotate-password", "1", "--allow-weak-password")
    assert stored(1).metadata["previous_allow_weak_password"] is True
    assert "allow_weak_password" not in stored(1).metadata


@pytest.mark.parametrize("text", ["24", "1.5h", "", "-1h", "367d", "forever"])
def test_what_is_no_duration_changes_nothing(kitchen: Client, text: str) -> None:
    ran = hub_command("rotate-password", "1", "--grace", text)
    assert ran.code == 2
    assert ran.error.startswith(f"Invalid value for '--grace': {text!r} is not a duration; ")
    assert stored(1) == kitchen


@pytest.mark.parametrize(
    ("options", "code", "problem"),
    [
        (["--password", OLD], 1, "That is the password kitchen has already; nothing was changed."),
        (["--password", ""], 2, "Invalid value for --password: a password cannot be empty"),
        (["--end-grace", "--grace", "0"], 2, "--end-grace goes with none of"),
        (["--end-grace", "--password", NEW], 2, "--end-grace goes with none of"),
        (["--end-grace", "--allow-weak-password"], 2, "--end-grace goes with none of"),
    ],
)
def test_what_makes_no_sense_changes_nothing(kitchen: Client, options: list[str], code: int, problem: str) -> None:
    ran = hub_command("rotate-password", "1", *options)
    assert (ran.code, ran.out) == (code, "")
    assert ran.error.startswith(problem)
    assert stored(1) == kitchen


def test_a_client_that_joins_by_its_rsa_key_is_not_locked_out_by_accident(today: None) -> None:
    add("key", name="old", password=None)
    ran = hub_command("rotate-password", "1", "--password", NEW)
    assert (ran.code, stored(1).password) == (1, None)
    assert "Pass --grace 0" in ran.error
    said("rotate-password", "1", "--password", NEW, "--grace", "0")
    assert stored(1).password == NEW


def test_a_client_that_is_not_there_is_an_error_with_its_cure(kitchen: Client) -> None:
    for options in ([], ["--end-grace"]):
        assert hub_command("rotate-password", "9", *options).error.startswith("Invalid Node ID!")


# --- a hub in memory ----------------------------------------------------------------------------------------


GRACE_S = 1000.0


def lively(**changes: Any) -> MemoryHive:
    config = Config(Path("server.json"), min_protocol_version=2, runtime_password_strength_check=False)
    return MemoryHive(replace(config, **changes))


async def elsewhere(hive: MemoryHive, change: Any) -> Client:
    """Change the only row in another process, and have the hub notice."""
    store = hive.db.store
    assert isinstance(store, SQLiteStore)
    other = ClientDatabase(SQLiteStore(store.path))
    row = other.edit(1, change)
    other.close()
    await hive.hub.refresh()
    await hive.settle()
    assert row is not None
    return row


async def rotate(hive: MemoryHive, password: str = NEW, grace_s: float | None = GRACE_S) -> Client:
    until = None if grace_s is None else hive.clock() + grace_s
    return await elsewhere(hive, lambda row: grace.rotated(row, password, until, allow_weak=False))


async def again(hive: MemoryHive, satellite: MemorySatellite, password: str) -> Opened | None:
    """Connect a device once more with a password; None if that failed, and then it has left."""
    row = hive.db.by_id(1)
    assert row is not None
    satellite._password = password
    if satellite.older:
        satellite.older["password"] = password
    satellite.events.clear()
    await hive.connect(satellite, row, "kitchen")
    opened = [event for event in satellite.events if isinstance(event, Opened)]
    if satellite.refused is not None or satellite.closed is not None:
        satellite.leave()
        return None
    satellite.say("hello")
    await hive.settle()
    assert hive.agent.utterances
    hive.agent.received.clear()
    return opened[0]


async def known(hive: MemoryHive) -> MemorySatellite:
    """A device that has been in with the old password; both ends have pins."""
    satellite = await hive.join("kitchen", client=hive.add_client("kitchen", password=OLD))
    satellite.pinned_key = next(event.remote_key for event in satellite.events if isinstance(event, Opened))
    satellite.leave()
    await hive.settle()
    return satellite


def row_of(hive: MemoryHive) -> Client:
    row = hive.db.by_id(1)
    assert row is not None
    return row


async def test_a_known_device_comes_in_with_either_password_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async with lively() as hive:
        satellite = await known(hive)
        await rotate(hive)
        with caplog.at_level(logging.INFO, "hivemind_core.keys"):
            for password in (OLD, NEW, OLD, NEW):
                opened = await again(hive, satellite, password)
                assert opened is not None
                assert opened.pattern == "KKpsk0"
        assert caplog.text.count("kitchen (client 1) still uses its previous password, valid until ") == 2
        assert OLD not in caplog.text + repr(satellite.peer)
        assert row_of(hive).metadata[grace.USED] == hive.clock()


async def test_no_key_is_derived_for_a_known_device_that_comes_with_its_old_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with lively() as hive:
        satellite = await known(hive)
        await rotate(hive)
        derived: list[str] = []
        monkeypatch.setattr(hive.hub.keys, "_derive", lambda password, node: derived.append(password) or b"")
        assert await again(hive, satellite, OLD) is not None
        assert derived == []


async def test_after_its_end_only_the_new_password_is_valid() -> None:
    async with lively() as hive:
        satellite = await known(hive)
        await rotate(hive)
        hive.clock.advance(GRACE_S - 0.1)
        assert await again(hive, satellite, OLD) is not None
        hive.clock.advance(0.1)
        assert await again(hive, satellite, OLD) is None
        assert await again(hive, satellite, NEW) is not None


async def test_a_previous_password_that_is_over_leaves_the_row() -> None:
    async with lively() as hive:
        satellite = await known(hive)
        await rotate(hive)
        await again(hive, satellite, OLD)
        before = row_of(hive).metadata
        await hive.hub.refresh()
        assert row_of(hive).metadata == before
        hive.clock.advance(GRACE_S)
        await hive.hub.refresh()
        assert not set(grace.KEYS) & row_of(hive).metadata.keys()
        assert row_of(hive).metadata["noise_pubkey"] == before["noise_pubkey"]
        assert row_of(hive).password == NEW


async def test_ended_by_hand_it_is_over_at_once() -> None:
    async with lively() as hive:
        satellite = await known(hive)
        await rotate(hive)
        await elsewhere(hive, grace.ended)
        assert await again(hive, satellite, OLD) is None
        assert await again(hive, satellite, NEW) is not None


async def test_a_second_rotation_ends_the_password_before() -> None:
    async with lively() as hive:
        satellite = await known(hive)
        await rotate(hive)
        await rotate(hive, "quartz velvet pioneer anchor")
        assert await again(hive, satellite, OLD) is None
        assert await again(hive, satellite, NEW) is not None
        assert await again(hive, satellite, "quartz velvet pioneer anchor") is not None


async def test_without_grace_the_old_password_is_over() -> None:
    async with lively() as hive:
        satellite = await known(hive)
        await rotate(hive, grace_s=None)
        assert await again(hive, satellite, OLD) is None


async def test_a_wrong_password_is_one_failure_and_lets_nobody_in() -> None:
    async with lively() as hive:
        satellite = await known(hive)
        await rotate(hive)
        failures: list[int] = []
        hive.hub.admission.limits.failed = lambda *who: failures.append(who[0])  # type: ignore[method-assign]
        assert await again(hive, satellite, "another one") is None
        assert satellite.closed == (1008, "handshake failure: ")
        assert failures == [1]


async def test_a_device_that_begins_anew_comes_in_with_its_second_attempt_at_the_latest() -> None:
    async with lively() as hive:
        satellite = await known(hive)
        satellite.pinned_key = None
        await rotate(hive)
        assert await again(hive, satellite, NEW) is not None
        satellite.leave()
        assert await again(hive, satellite, OLD) is not None or await again(hive, satellite, OLD) is not None
        satellite.leave()
        assert await again(hive, satellite, OLD) is not None
        satellite.leave()
        assert await again(hive, satellite, NEW) is None
        assert await again(hive, satellite, NEW) is not None


async def test_one_that_never_pins_a_hub_comes_in_as_it_did_before() -> None:
    async with lively() as hive:
        satellite = await known(hive)
        satellite.pinned_key = None
        await again(hive, satellite, OLD)
        satellite.leave()
        await rotate(hive)
        opened = await again(hive, satellite, OLD)
        assert opened is not None
        assert opened.pattern == "XXpsk2"


async def test_keys_that_were_never_derived_are_when_they_are_needed() -> None:
    async with lively() as hive:
        satellite = await known(hive)
        await elsewhere(hive, lambda row: {"metadata": {"noise_pubkey": row.metadata["noise_pubkey"]}})
        await rotate(hive)
        assert await again(hive, satellite, OLD) is not None
        metadata, node_id = row_of(hive).metadata, hive.identity.node_id
        assert metadata["previous_noise_psk"] == quick_psk(OLD, node_id).hex()
        assert metadata["noise_psk"] == quick_psk(NEW, node_id).hex()


async def test_a_handshake_that_began_before_what_is_valid_changed_is_begun_anew() -> None:
    async with lively() as hive:
        satellite = await known(hive)
        satellite.hold = True
        for change in (rotate, lambda hive: elsewhere(hive, grace.ended)):
            await hive.connect(satellite, row_of(hive), "kitchen")
            assert satellite.closed is None
            await change(hive)
            assert satellite.closed is not None
            assert satellite.closed[0] == 1013


# below v3


@pytest.fixture
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legacy_crypto, "PBKDF2_ROUNDS", 10)


async def older(hive: MemoryHive) -> MemorySatellite:
    row = hive.add_client("kitchen", password=OLD)
    return await hive.join("kitchen", client=row, older={"min_version": 2, "max_version": 2, "password": OLD})


@pytest.mark.usefixtures("quick_keys")
async def test_an_older_satellite_comes_in_with_either_password() -> None:
    async with lively() as hive:
        satellite = await older(hive)
        satellite.leave()
        await rotate(hive)
        for password in (OLD, NEW):
            opened = await again(hive, satellite, password)
            assert opened is not None
            assert opened.pattern == "password"
            satellite.leave()
        assert await again(hive, satellite, "another one") is None
        assert satellite.closed == (1008, "password handshake verification failed")
        hive.clock.advance(GRACE_S)
        assert await again(hive, satellite, OLD) is None


@pytest.mark.usefixtures("quick_keys")
async def test_an_older_satellite_that_is_in_stays_until_its_password_is_over() -> None:
    async with lively() as hive:
        satellite = await older(hive)
        await rotate(hive)
        assert satellite.closed is None
        satellite.say("still here")
        await hive.settle()
        assert hive.agent.utterances == ["still here"]
        hive.clock.advance(GRACE_S)
        await hive.hub.refresh()
        assert satellite.closed is not None
        assert satellite.closed[0] == 1008


@pytest.mark.usefixtures("quick_keys")
@pytest.mark.parametrize(("password", "stays"), [(OLD, False), (NEW, True)])
async def test_who_came_in_during_the_grace_is_judged_by_what_it_came_in_with(password: str, stays: bool) -> None:
    async with lively() as hive:
        satellite = await older(hive)
        satellite.leave()
        await rotate(hive)
        assert await again(hive, satellite, password) is not None
        await elsewhere(hive, lambda row: {"name": "cellar"})
        assert satellite.closed is None
        await elsewhere(hive, grace.ended)
        assert (satellite.closed is None) is stays


@pytest.mark.usefixtures("quick_keys")
async def test_a_rotation_without_grace_ends_an_older_satellites_connection() -> None:
    async with lively() as hive:
        satellite = await older(hive)
        await rotate(hive, grace_s=None)
        assert satellite.closed is not None


@pytest.mark.usefixtures("quick_keys")
async def test_a_weak_previous_password_is_judged_by_what_was_allowed_for_it() -> None:
    async with lively(runtime_password_strength_check=True) as hive:
        satellite = await older(hive)
        await elsewhere(hive, lambda row: {"password": "hush", "metadata": {"allow_weak_password": True}})
        assert await again(hive, satellite, "hush") is not None
        satellite.leave()
        row = await rotate(hive)
        assert await again(hive, satellite, "hush") is not None
        satellite.leave()
        metadata = {key: value for key, value in row.metadata.items() if key != "previous_allow_weak_password"}
        await elsewhere(hive, lambda row: {"metadata": metadata})
        assert await again(hive, satellite, "hush") is None
        assert "guessable" in str(satellite.closed)
        assert await again(hive, satellite, NEW) is not None


async def test_a_key_that_is_needed_of_a_password_that_just_ended_is_not_made() -> None:
    async with lively() as hive:
        satellite = await known(hive)
        await rotate(hive)
        await elsewhere(hive, grace.ended)
        result = await hive.hub.keys.derive(row_of(hive), previous=True)
        assert getattr(result, "code", "") == "busy"
        assert not [event for event in satellite.events if isinstance(event, KeyNeeded) and event.previous]
