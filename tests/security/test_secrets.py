"""A whole run with everything logged, and none of its secrets in anything that others may read.

Hub and satellite log at DEBUG. What is looked through: what every process printed, the arguments of every process, all
that was on the agent's bus, what each listing prints. A secret put into a log on purpose is found.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from helpers.hub_process import HOST, HubProcess
from helpers.leaks import leaks
from helpers.pair import DRIVERS, OUR_PROGRAMS
from helpers.processes import Child, Children, Home, free_port
from helpers.target import PASSWORD as PASSWORD_OF_OTHERS
from helpers.target import Target
from hivemind_bus_client.identity import NodeIdentity

KEY, PASSWORD = "c9f1a7e25bd04c1e8f7a", "umbrella-quartz-violin-88-harbor"
OTHER_PASSWORD, CRYPTO_KEY = "thunder-pillow-cactus-31-comet", "5e0c9b7d2f4a6183"
MASTER_KEY, MASTER_PASSWORD = "77aa0e1c5d3b49f2ab60", "ladder-monsoon-pepper-64-drum"
TOKEN = "lantern-of-the-admin-address-52"
LISTINGS = (
    ("list-clients",),
    ("list-clients", "--json"),
    ("export-clients",),
    ("roles",),
    ("print-config",),
    ("audit",),
    ("audit", "--json"),
    ("doctor",),
    ("doctor", "--json"),
    ("cluster", "status"),
    ("policy", "list"),
    ("policy", "test", "1", "never.allowed"),
    ("rename-client", "1", "--name", "kitchen"),
    ("set-metadata", "1", "--key", "place", "--value", "kitchen"),
    ("make-admin", "2"),
    ("delete-client", "3"),
    ("delete-client", "999"),
    ("list-clients", "--no-such-option"),
    ("--help",),
)
"""What is said of clients and settings, and what is said of changing them."""
AT_THE_SATELLITE = (
    ("doctor", "--no-probe"),
    ("doctor", "--json", "--probe", "what time is it"),
    ("--debug", "test-identity"),
)
ADMIN_PATHS = ("/healthz", "/readyz", "/metrics")


LOUD = """
import logging, runpy, sys
logging.basicConfig(level=logging.DEBUG)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a program with everything that any library logs."""


TOKENS = (TOKEN, "", "another-token-altogether")
DEVICES = ("device", "stranger")


def ask(port: int, path: str, token: str) -> str:
    """What the admin address answers, with its headers."""
    request = urllib.request.Request(f"http://{HOST}:{port}{path}", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return f"{answer.headers}{answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.headers}{error.read().decode()}"


class Run:
    """The hub, a satellite that talked, one with a wrong password, and every listing."""

    def __init__(self, children: Children) -> None:
        self.children = children
        self.admin_port = free_port()
        admin = {"port": self.admin_port, "token": TOKEN}
        self.target = Target(children, config={"log_level": "DEBUG", "admin": admin, **_upstream()})
        self.cmdlines: dict[str, str] = {}
        self._add()
        self.device = self._device("device", PASSWORD)
        self.satellites = [self._satellite("device"), self._satellite(self._device("stranger", OTHER_PASSWORD))]
        self._look_at_arguments()
        self._talk()
        self.answers = {
            f"{path} {token!r}": ask(self.admin_port, path, token) for path in ADMIN_PATHS for token in TOKENS
        }
        self.at_the_satellite = [
            self._at_the_satellite(name, *command) for name in DEVICES for command in AT_THE_SATELLITE
        ]
        self.hub.stop()
        self.listings = [self._listing(*command) for command in LISTINGS]

    @property
    def hub(self) -> HubProcess:
        return self.target.hub

    def _add(self) -> None:
        with closing(sqlite3.connect(self.hub.database)) as database, database:
            columns = [KEY, PASSWORD, json.dumps({"crypto_key": CRYPTO_KEY})]
            database.execute("UPDATE clients SET api_key = ?, password = ?, metadata = ? WHERE client_id = 1", columns)

    def _device(self, name: str, password: str) -> str:
        home = self.children.home(name)
        identity = NodeIdentity(home.config / "hivemind" / "_identity.json")
        identity.access_key, identity.password = KEY, password
        identity.default_master, identity.default_port, identity.site_id = f"ws://{HOST}", self.hub.port, "hall"
        identity.create_keys()
        identity.save()
        return name

    def _satellite(self, name: str) -> Child:
        home = self.children.home(name)
        argv = [OUR_PROGRAMS / "python", "-c", LOUD, DRIVERS / "satellite.py", "--port", str(self.hub.port)]
        return self.children.spawn(f"satellite-{name}", argv, home)

    def _look_at_arguments(self) -> None:
        for child in self.children.all:
            if child.running:
                self.cmdlines[child.name] = Path(f"/proc/{child.pid}/cmdline").read_bytes().decode()

    def _talk(self) -> None:
        talks, fails = self.satellites
        talks.expect("connected")
        talks.send("utterance", text="what time is it")
        talks.expect("speak", utterance="you said: what time is it")
        fails.expect("failed")
        for satellite in self.satellites:
            satellite.send("close")
            satellite.wait_exit()

    def _listing(self, *command: str) -> Child:
        program = OUR_PROGRAMS / "hivemind-core"
        return self._run(f"list-{command[0].strip('-')}", [program, *command], self.hub.home)

    def _at_the_satellite(self, name: str, *command: str) -> Child:
        home = self.children.home(name)
        return self._run(f"{name}-says", [OUR_PROGRAMS / "hivemind-client", *command], home)

    def _run(self, name: str, argv: list[Any], home: Home) -> Child:
        child = self.children.spawn(name, argv, home)
        child.close_stdin()
        child.wait_exit()
        return child

    def secrets(self) -> dict[str, str]:
        """Everything that is secret in this run, by what it is."""
        found = {
            "access key": KEY,
            "password": PASSWORD,
            "password of the others": PASSWORD_OF_OTHERS,
            "wrong password": OTHER_PASSWORD,
            "pre-shared key": CRYPTO_KEY,
            "access key at the hub above": MASTER_KEY,
            "password at the hub above": MASTER_PASSWORD,
            "token of the admin address": TOKEN,
        }
        with closing(sqlite3.connect(self.hub.database)) as database:
            [(metadata,)] = database.execute("SELECT metadata FROM clients WHERE client_id = 1")
        derived = json.loads(metadata).get("noise_psk")
        assert derived, "the hub kept no derived key, so there is nothing to look for"
        found["derived key"] = str(derived)
        for path in [*self.children.folder.rglob("*_noise.key"), *self.children.folder.rglob("*.pem")]:
            for line in path.read_text("utf-8", "replace").splitlines():
                if len(line) >= 40 and "-----" not in line:
                    found[f"{path.name} {len(found)}"] = line.strip()
        return found

    def texts(self) -> dict[str, str]:
        """Everything that others may read. Who makes a client is told once what it is let in with."""
        printed = {
            f"output of {number} {child.name}": child.output()
            for number, child in enumerate(self.children.all)
            if child.name != "hub-add-client"
        }
        said = {f"arguments of {name}": line for name, line in self.cmdlines.items()}
        bus = {"agent bus": "\n".join(json.dumps(frame) for frame in self.target.peer.heard)}
        answered = {f"answer of {what}": text for what, text in self.answers.items()}
        return {**printed, **said, **bus, **answered}


def _upstream() -> dict[str, object]:
    return {
        "upstream": {"enabled": True, "host": HOST, "port": free_port(), "key": MASTER_KEY, "password": MASTER_PASSWORD}
    }


def is_name(what: str, where: str) -> bool:
    """Whether it is an access key in what the owner of the hub lists: commands and files name clients by it."""
    return what == "access key" and ("list-list-clients" in where or "list-export-clients" in where)


def found_in(secrets: dict[str, str], texts: dict[str, str]) -> list[str]:
    """What is found where it is not to be."""
    return [each for each in leaks(secrets, texts) if not is_name(*each.split(" in ", 1))]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Children(tmp_path_factory.mktemp("secrets")) as children:
        made = Run(children)
        yield made
        made.target.close()


def test_no_secret_is_in_anything_that_others_read(run: Run) -> None:
    assert found_in(run.secrets(), run.texts()) == []


def test_what_was_looked_through_is_not_empty(run: Run) -> None:
    texts = run.texts()
    assert len(run.secrets()) >= 8
    assert "DEBUG:" in run.satellites[0].output()
    assert any('"log_level": "DEBUG"' in child.output() for child in run.listings)
    assert "what time is it" in texts["agent bus"]
    assert any("hivemind-core" in line for line in run.cmdlines.values())
    listed = {" ".join(command): child.output() for command, child in zip(LISTINGS, run.listings, strict=True)}
    assert "client-2" in listed["list-clients"]
    assert "client-2" in listed["export-clients"]
    assert "rename-client" in listed["audit"] or '"action"' in listed["audit --json"]
    assert " failure" in listed["doctor"]
    assert "hivemind_handshakes_total" in run.answers[f"/metrics {TOKEN!r}"]
    assert '"parts"' in run.answers[f"/readyz {TOKEN!r}"]
    at_the_satellite = "".join(child.output() for child in run.at_the_satellite)
    assert "The hub accepts this device" in at_the_satellite
    assert "The password does not match" in at_the_satellite
    assert found_in(run.secrets(), {**texts, "a log": f"psk={PASSWORD}"}) == ["password in a log"]


def test_a_traceback_tells_no_secret(tmp_path: Path) -> None:
    """`repr` of everything that holds one, as a traceback with locals prints it."""
    code = f"""
from pathlib import Path
from hivemind_bus_client import HiveMessageBusClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_core.clients import Client
from hivemind_core.config import load_config
identity = NodeIdentity(Path({str(tmp_path)!r}) / "_identity.json")
identity.password, identity.access_key = {PASSWORD!r}, {KEY!r}
client = Client(1, {KEY!r}, "kitchen", password={PASSWORD!r}, metadata={{"noise_psk": {CRYPTO_KEY!r}}})
above = {{"enabled": True, "host": "h", "key": {MASTER_KEY!r}, "password": {MASTER_PASSWORD!r}}}
admin = {{"port": 1, "token": {TOKEN!r}}}
config = load_config(overrides={{"upstream": above, "admin": admin}})
satellite = HiveMessageBusClient({KEY!r}, {PASSWORD!r}, crypto_key={CRYPTO_KEY!r}, host="h", port=1, identity=identity)
for each in (identity, client, config, config.upstream, config.admin, satellite):
    print(repr(each), str(each))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    secrets = {name: value for name, value in globals().items() if name.endswith(("KEY", "PASSWORD", "TOKEN"))}
    assert "kitchen" in done.stdout
    assert found_in(secrets, {"repr": done.stdout + done.stderr}) == []
