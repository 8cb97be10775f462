"""Installations that released packages made: ours runs on them as they are, and the released ones again afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from helpers.installation import JSON, SQLITE, Installation
from helpers.pair import KEY, OTHER_KEY, OTHER_PASSWORD, OURS, PASSWORD, programs
from helpers.processes import PATIENCE_S, Child, Children, Home, wait_until

HUB_53, HUB_40 = "released-hub", "released-hub-4.0.0"
CLIENT_12, CLIENT_07, CLIENT_04 = "released-client", "released-client-0.7.0a2", "released-client-0.4.4"
UTTERANCE = "recognizer_loop:utterance"
PINS = frozenset({"noise_pubkey", "noise_psk", "noise_psk_for", "intercom_pubkey"})
HUB_40_TYPES = [
    UTTERANCE,
    "recognizer_loop:record_begin",
    "recognizer_loop:record_end",
    "recognizer_loop:audio_output_start",
    "recognizer_loop:audio_output_end",
    "recognizer_loop:b64_transcribe",
    "speak:b64_audio",
    "ovos.common_play.SEI.get.response",
]
"""What hub 4.0.0 allows every client it adds."""
Row = dict[str, Any]

pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True)
class Kind:
    """An installation: who made it, where the clients are, and a satellite of that time."""

    hub: str
    module: str
    satellite: str


KINDS = {
    "5.3.10a1-sqlite": Kind(HUB_53, SQLITE, CLIENT_12),
    "5.3.10a1-json": Kind(HUB_53, JSON, CLIENT_12),
    "4.0.0-json": Kind(HUB_40, JSON, CLIENT_04),
    "4.0.0-sqlite": Kind(HUB_40, SQLITE, CLIENT_04),
}
CLIENTS = (("kitchen", KEY, PASSWORD), ("bedroom", OTHER_KEY, OTHER_PASSWORD), ("gone", "key-3", PASSWORD),
           ("hall", "key-4", PASSWORD))  # fmt: skip
EDITS = (
    ("allow-msg", "speak", "1"),
    ("blacklist-escalate", "1"),
    ("make-admin", "2"),
    ("blacklist-propagate", "2"),
    ("rename-client", "4", "--name", "küche"),
)
EDITS_53 = (
    *(("allow-msg", UTTERANCE, number) for number in "124"),
    ("blacklist-skill", "a.b", "1"),
    ("blacklist-intent", "e:f", "1"),
    ("set-metadata", "2", "--key", "role", "--value", "guest"),
)
OUR_EDITS = (
    ("allow-msg", "x.y", "1"),
    ("allow-escalate", "1"),
    ("blacklist-skill", "c.d", "1"),
    ("set-metadata", "2", "--key", "floor", "--value", "2"),
    ("rename-client", "2", "--name", "bed"),
    ("delete-client", "4", "--yes"),
    ("add-client", "--name", "new", "--access-key", "key-5", "--password", PASSWORD, "--role", "none", "--allow",
     UTTERANCE),
)  # fmt: skip


def make_model(children: Children, kind: Kind) -> Installation:
    """Make an installation with the commands of a released hub alone."""
    made = Installation(children, kind.hub, kind.module)
    for name, key, password in CLIENTS:
        made.command("add-client", "--name", name, "--access-key", key, "--password", password)
    for command in (*(EDITS_53 if kind.hub == HUB_53 else ()), *EDITS):
        made.command(*command)
    made.command("delete-client", "3", *(["--yes"] if kind.hub == HUB_53 else []))
    return made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Installation]]:
    """Installations that nobody changes, made once each: a dozen commands take a while."""
    with ExitStack() as running:

        @cache
        def made(name: str) -> Installation:
            children = running.enter_context(Children(tmp_path_factory.mktemp("model")))
            return make_model(children, KINDS[name])

        yield made


@pytest.fixture
def made_by(children: Children, model: Callable[[str], Installation]) -> Callable[[str], Installation]:
    return lambda name: Installation(children, KINDS[name].hub, KINDS[name].module, model=model(name))


@pytest.fixture
def device(children: Children) -> Home:
    return children.home("device")


def lasting(row: Mapping[str, Any]) -> Row:
    """A row without what every connection changes."""
    metadata = {key: value for key, value in (row.get("metadata") or {}).items() if key not in {*PINS, "crypto_key"}}
    return {**{key: value for key, value in row.items() if key != "last_seen"}, "metadata": metadata}


def all_lasting(rows: Mapping[int, Row]) -> dict[int, Row]:
    return {client_id: lasting(row) for client_id, row in rows.items()}


def pins(row: Mapping[str, Any]) -> Row:
    return {key: value for key, value in (row.get("metadata") or {}).items() if key in PINS}


def failed(made: Installation, children: Children, program_of: str, *arguments: str) -> Child:
    """A command that must fail."""
    child = children.spawn(arguments[0], [programs(program_of) / "hivemind-core", *arguments], made.home)
    child.close_stdin()
    assert child.wait_exit() != 0
    return child


# --- hubs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_our_commands_show_what_the_released_ones_made(made_by: Callable[[str], Installation], name: str) -> None:
    made = made_by(name)
    before = made.stored()
    made.run_by(OURS)
    kitchen, bedroom, hall = made.listed()
    assert made.stored() == before if KINDS[name].hub == HUB_53 else all_lasting(made.stored()) == all_lasting(before)
    new = KINDS[name].hub == HUB_53
    types = [UTTERANCE] if new else HUB_40_TYPES
    assert [
        (row["client_id"], row["name"], row["access_key"], row["password"]) for row in (kitchen, bedroom, hall)
    ] == [
        (1, "kitchen", KEY, PASSWORD),
        (2, "bedroom", OTHER_KEY, OTHER_PASSWORD),
        (4, "küche", "key-4", PASSWORD),
    ]
    assert [row["allowed_types"] for row in (kitchen, bedroom, hall)] == [[*types, "speak"], types, types]
    assert [(row["is_admin"], row["can_escalate"], row["can_propagate"]) for row in (kitchen, bedroom, hall)] == [
        (False, False, True),
        (True, True, False),
        (False, True, True),
    ]
    if new:
        assert (kitchen["skill_blacklist"], kitchen["intent_blacklist"]) == (["a.b"], ["e:f"])
        assert bedroom["metadata"] == {"role": "guest"}
    else:
        assert len(kitchen["metadata"]["crypto_key"]) == 16


def taken_over(made: Installation, kind: Kind, device: Home, other: Home) -> dict[int, Row]:
    """Run the released hub, then ours with edits of ours, then the released one again; the rows before that."""
    made.start()
    made.visit(kind.satellite, device, KEY, PASSWORD)
    made.stop()
    before = made.stored()

    made.run_by(OURS)
    for command in OUR_EDITS:
        made.command(*command)
    edited = made.stored()
    check_edits(before, edited)
    made.start()
    made.visit(kind.satellite, device, KEY, PASSWORD)
    made.visit(OURS, other, OTHER_KEY, OTHER_PASSWORD)
    made.stop()
    ran = made.stored()
    assert all_lasting(ran) == all_lasting(edited)
    assert pins(ran[1]) == pins(before[1])
    assert pins(ran[2]).keys() >= {"noise_pubkey", "noise_psk", "noise_psk_for"}

    made.run_by(kind.hub)
    listed = made.command("list-clients")
    assert all(text in listed for text in (KEY, OTHER_KEY, "key-5"))
    assert made.stored() == ran
    made.command("rename-client", "5", "--name", "newer")
    made.start()
    made.visit(kind.satellite, device, KEY, PASSWORD)
    made.stop()
    return ran


def check_edits(before: Mapping[int, Row], edited: Mapping[int, Row]) -> None:
    """What our commands changed, and nothing else."""
    expected = all_lasting(before)
    kitchen, bedroom = expected[1], expected[2]
    kitchen["allowed_types"] = [*kitchen["allowed_types"], "x.y"]
    kitchen["can_escalate"] = True
    kitchen["metadata"]["skill_blacklist"] = [*kitchen["metadata"].get("skill_blacklist", []), "c.d"]
    bedroom["metadata"]["floor"] = 2
    bedroom["name"] = "bed"
    for client_id in (1, 2, 3):
        assert lasting(edited[client_id]) == expected[client_id]
        assert pins(edited[client_id]) == pins(before[client_id])
    assert edited[4]["api_key"] == "revoked"
    assert edited[4].keys().isdisjoint({"password", "crypto_key", "name"})
    assert (edited[5]["api_key"], edited[5]["allowed_types"]) == ("key-5", [UTTERANCE])
    assert len(edited) == 5


@pytest.mark.parametrize("name", [name for name in KINDS if name != "4.0.0-sqlite"])
def test_an_installation_is_taken_over_and_given_back_with_nothing_lost(
    made_by: Callable[[str], Installation], children: Children, device: Home, name: str
) -> None:
    made = made_by(name)
    ran = taken_over(made, KINDS[name], device, children.home("other"))
    expected = all_lasting(ran)
    expected[5]["name"] = "newer"
    again = made.stored()
    assert all_lasting(again) == expected
    assert [pins(again[client_id]) for client_id in (1, 2)] == [pins(ran[client_id]) for client_id in (1, 2)]


def test_hub_4_0_0_with_sqlite_forgets_metadata_of_whom_it_writes_but_nothing_else_is_lost(
    made_by: Callable[[str], Installation], children: Children, device: Home
) -> None:
    """It replaces the whole row by the columns it knows, whenever a client connects."""
    made = made_by("4.0.0-sqlite")
    ran = taken_over(made, KINDS["4.0.0-sqlite"], device, children.home("other"))
    expected = all_lasting(ran)
    expected[5]["name"] = "newer"
    expected[1]["metadata"] = {}
    again = made.stored()
    assert all_lasting(again) == expected
    assert pins(again[2]) == pins(ran[2])
    made.run_by(OURS)
    made.start()
    made.visit(KINDS["4.0.0-sqlite"].satellite, device, KEY, PASSWORD)


@pytest.mark.parametrize("name", ["4.0.0-json", "4.0.0-sqlite"])
def test_hub_4_0_0_cannot_bar_a_skill_and_ours_can(
    made_by: Callable[[str], Installation], children: Children, name: str
) -> None:
    made = made_by(name)
    before = made.stored()
    assert "TypeError" in failed(made, children, HUB_40, "blacklist-skill", "a.b", "1").output()
    assert made.stored() == before
    made.run_by(OURS)
    made.command("blacklist-skill", "a.b", "1")
    assert made.listed()[0]["skill_blacklist"] == ["a.b"]


def test_hub_4_0_0_grants_utterances_again_to_whom_ours_denied_them(made_by: Callable[[str], Installation]) -> None:
    """Listing the clients is enough, with JSON."""
    made = made_by("4.0.0-json")
    made.run_by(OURS)
    made.command("blacklist-msg", UTTERANCE, "1")
    assert UTTERANCE not in made.stored()[1]["allowed_types"]
    made.run_by(HUB_40)
    made.command("list-clients")
    assert UTTERANCE in made.stored()[1]["allowed_types"]


def test_hub_5_3_with_sqlite_forgets_the_crypto_keys_of_hub_4_0_0_and_ours_keeps_them(
    made_by: Callable[[str], Installation],
) -> None:
    made = made_by("4.0.0-sqlite")
    keys = {client_id: row["crypto_key"] for client_id, row in made.stored().items() if "crypto_key" in row}
    made.run_by(OURS)
    made.command("rename-client", "1", "--name", "x")
    made.command("set-metadata", "1", "--key", "role", "--value", "guest")
    assert {client_id: made.stored()[client_id]["crypto_key"] for client_id in keys} == keys
    made.run_by(HUB_53)
    made.command("rename-client", "1", "--name", "y")
    assert "crypto_key" not in made.stored()[1]
    made.run_by(OURS)
    assert made.listed()[0]["metadata"].get("crypto_key") == keys[1]


def test_hub_5_3_writes_over_a_broken_file_of_clients_and_ours_leaves_it(
    made_by: Callable[[str], Installation], children: Children
) -> None:
    made = made_by("5.3.10a1-json")
    path = made.data / "clients.json"
    broken = path.read_bytes()[:-10]
    path.write_bytes(broken)
    for command in (["list-clients"], ["add-client"], ["migrate-db"]):
        assert "line " in failed(made, children, OURS, *command).stderr.read_text("utf-8")
    assert path.read_bytes() == broken
    made.command("add-client", "--name", "only", "--access-key", "only", "--password", PASSWORD)
    assert list(made.stored()) == [1]


# --- migrate-db ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["5.3.10a1-json", "4.0.0-json"])
def test_migrate_db_copies_what_the_released_one_copies(
    made_by: Callable[[str], Installation], children: Children, name: str
) -> None:
    made = made_by(name)
    source = made.stored()
    files = {path.name: path.read_bytes() for path in made.data.iterdir()}
    made.run_by(OURS)
    said = made.command("migrate-db").splitlines()
    assert {path.name: path.read_bytes() for path in made.data.iterdir() if path.name in files} == files
    made.module = SQLITE
    ours = made.stored()
    shutil.move(made.data / "clients.db", made.home.path / "ours.db")
    made.run_by(HUB_53)
    assert said == [made.command("migrate-db").splitlines()[-1]]
    released = made.stored()
    for client_id, row in released.items():
        metadata = {key: value for key, value in row["metadata"].items() if value is not None}
        assert ours[client_id] == {**row, "metadata": metadata}
    assert ours.keys() == source.keys()


@pytest.mark.parametrize("kind", ["5.3.10a1-sqlite", "5.3.10a1-json"])
def test_the_released_hub_goes_on_with_what_our_migrate_db_made(
    made_by: Callable[[str], Installation], device: Home, kind: str
) -> None:
    made = made_by(kind)
    made.start()
    made.visit(CLIENT_12, device, KEY, PASSWORD)
    made.stop()
    before = made.stored()
    made.run_by(OURS)
    other = {SQLITE: JSON, JSON: SQLITE}[made.module]
    made.command("migrate-db", "--from", made.module, "--to", other)
    made.use(other)
    assert all_lasting(made.stored()) == all_lasting(before)
    made.run_by(HUB_53)
    made.start()
    made.visit(CLIENT_12, device, KEY, PASSWORD)
    made.stop()
    assert all_lasting(made.stored()) == all_lasting(before)
    assert pins(made.stored()[1]) == pins(before[1])


# --- identities ---------------------------------------------------------------------------------------------


class Device:
    """A home in which a released client has set up its identity, at a hub with one client."""

    def __init__(self, children: Children, make: str, hub: str) -> None:
        self._children = children
        self.home = children.home("device")
        self.hub = Installation(children, HUB_40 if hub == HUB_40 else HUB_53, JSON)
        self.hub.run_by(hub)
        self.hub.command("add-client", "--name", "device", "--access-key", KEY, "--password", PASSWORD)
        self.hub.command("allow-msg", UTTERANCE, "1")
        self.hub.start()
        options = ["--key", KEY, "--password", PASSWORD, "--host", "ws://127.0.0.1", "--port", str(self.hub.port)]
        self.client(make, "set-identity", *options, "--siteid", "kitchen")

    def client(self, make: str, *arguments: str) -> str:
        """Run `hivemind-client`."""
        argv = [programs(make) / "hivemind-client", *arguments]
        return self._children.run(f"client-{arguments[0]}", argv, self.home)

    def speak(self, make: str) -> None:
        self.hub.visit(make, self.home)

    def identity(self) -> dict[str, Any]:
        return dict(json.loads((self.home.config / "hivemind" / "_identity.json").read_text("utf-8")))

    def keys(self) -> dict[str, bytes]:
        """Every key file, by name."""
        folder = self.home.config / "hivemind"
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".pem", ".key")}


def test_an_identity_of_client_1_2_is_used_as_it_is_and_given_back(children: Children) -> None:
    device = Device(children, CLIENT_12, OURS)
    device.speak(CLIENT_12)
    identity, keys = device.identity(), device.keys()
    assert identity["pinned_noise_keys"].keys() == {f"127.0.0.1:{device.hub.port}"}
    wait_until(lambda: pins(device.hub.stored()[1]).keys() == PINS, PATIENCE_S, "what the hub writes of the device")
    row = device.hub.stored()[1]
    device.speak(OURS)
    assert "== Identity successfully connected" in device.client(OURS, "test-identity")
    assert (device.identity(), device.keys()) == (identity, keys)
    device.speak(CLIENT_12)
    assert (device.identity(), device.keys()) == (identity, keys)
    assert pins(device.hub.stored()[1]) == pins(row)


def test_an_identity_of_client_0_7_is_used_as_it_is_and_given_back(children: Children) -> None:
    device = Device(children, CLIENT_07, HUB_40)
    device.speak(CLIENT_07)
    identity, keys = device.identity(), device.keys()
    device.speak(OURS)
    assert "== Identity successfully connected" in device.client(OURS, "test-identity")
    assert device.identity().items() >= identity.items()
    assert device.keys().items() >= keys.items()
    device.speak(CLIENT_07)
    assert device.identity().items() >= identity.items()
    assert device.keys().items() >= keys.items()


def test_client_0_7_comes_back_after_ours_was_pinned_once_the_pin_is_reset(children: Children) -> None:
    """Ours speaks Noise where it can; from then on the hub takes nothing less from this client."""
    device = Device(children, CLIENT_07, OURS)
    device.speak(CLIENT_07)
    identity = device.identity()
    device.speak(OURS)
    assert device.identity().items() >= identity.items()
    device.hub.command("reset-noise-pin", "1")
    device.hub.take_in()
    device.speak(CLIENT_07)
