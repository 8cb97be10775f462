"""Both doctors as people run them: processes of their own, a real hub, and what people get wrong.

What is printed never has a secret in it, and standard error stays empty.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from helpers import bus_stub
from helpers.hub_process import HOST, HubProcess
from helpers.processes import Child, Children, Home, free_port
from helpers.strangers import echoes, http, stranger
from hivemind_bus_client.doctor.findings import FAIL
from hivemind_bus_client.refusals import REFUSALS

PROGRAMS = Path(sys.executable).parent
KEY, PASSWORD = "key-of-the-kitchen-7f3a", "4f6c2a90d1e84b7730aa55cc19f0be21"
OTHER_PASSWORD = "0b9d4417c6a2f58e3317d0c4b8a6e295"
SECRETS = (PASSWORD, OTHER_PASSWORD, KEY)


class Report(NamedTuple):
    """What a doctor printed as JSON; that it says the same to people was checked."""

    code: int
    findings: list[dict[str, str]]

    def failures(self) -> list[tuple[str, str]]:
        """What fails, each with its code in the table of refusals, if it has one."""
        return [(each["what"], each.get("code", "")) for each in self.findings if each["verdict"] == FAIL]

    def of(self, what: str, verdict: str) -> dict[str, str]:
        """The only finding of this kind."""
        (found,) = [each for each in self.findings if (each["what"], each["verdict"]) == (what, verdict)]
        return found


class Ward:
    """A hub with an assistant's bus behind it, and a device."""

    def __init__(self, children: Children) -> None:
        self.children = children
        self.bus: Child = children.spawn("bus", [sys.executable, bus_stub.__file__])
        self.hub = HubProcess(children, PROGRAMS / "hivemind-core", self.bus.expect("ready")["port"])
        self.hub.add_client(KEY, PASSWORD, name="kitchen")
        self.device = children.home("device")
        self.set_identity("--key", KEY, "--password", PASSWORD, "--host", HOST, "--port", str(self.hub.port))

    def set_identity(self, *options: str) -> None:
        self.children.run("set", [PROGRAMS / "hivemind-client", "set-identity", *options], self.device)

    def hub_doctor(self) -> Report:
        return self._report("hivemind-core", self.hub.home, "doctor")

    def device_doctor(self, *options: str) -> Report:
        return self._report("hivemind-client", self.device, "doctor", "--timeout", "20", *options)

    def _report(self, program: str, home: Home, *arguments: str) -> Report:
        """Run it twice, for people and for programs: both say the same and end alike."""
        text, as_json = (self._ended(program, home, *arguments, *more) for more in ((), ("--json",)))
        code, printed = text
        document = json.loads(as_json[1])
        assert (code, document["ok"]) == (as_json[0], code == 0)
        assert printed.count("FAIL  ") == document["counts"]["FAIL"]
        assert "\033" not in printed
        return Report(code, document["findings"])

    def _ended(self, program: str, home: Home, *arguments: str) -> tuple[int, str]:
        child = self.children.spawn(f"{program}-doctor", [PROGRAMS / program, *arguments], home)
        child.close_stdin()
        code = child.wait_exit()
        assert child.stderr.read_text("utf-8") == "", child.tail()
        printed = child.stdout.read_text("utf-8")
        assert not [secret for secret in SECRETS if secret in printed]
        return code, printed


@pytest.fixture
def ward(children: Children) -> Ward:
    return Ward(children)


def kept(home: Home) -> dict[Path, tuple[bytes, int]]:
    """All files of an account, but for what its programs printed."""
    files = [path for path in home.path.rglob("*") if path.is_file() and path.parent.name != "logs"]
    return {path: (path.read_bytes(), path.stat().st_mode) for path in files}


# --- the device -------------------------------------------------------------------------------------------------


def test_all_is_well_on_both_sides_and_nothing_is_changed(ward: Ward) -> None:
    ward.hub.start()
    ward.device_doctor("--no-probe")  # makes the key of the device
    before = kept(ward.device)
    report = ward.device_doctor()
    assert (report.code, report.failures()) == (0, [])
    assert '"you said: what time is it"' in report.of("probe", "ok")["reason"]
    assert kept(ward.device) == before
    clients = ward.hub.command("list-clients", "--json")
    report = ward.hub_doctor()
    assert (report.code, report.failures()) == (0, [])
    told = report.of("probe", "ok")["reason"]
    assert '"you said: what time is it" on the message bus' in told
    assert "Not tried: the way of a device through the hub" in told
    assert ward.hub.command("list-clients", "--json") == clients


def test_the_probe_is_ones_own_words_or_none(ward: Ward) -> None:
    ward.hub.start()
    assert "you said: tell a joke" in ward.device_doctor("--probe", "tell a joke").of("probe", "ok")["reason"]
    assert "probe" not in {each["what"] for each in ward.device_doctor("--no-probe").findings}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--key", "nobodys-access-key"], "invalid_key"),
        (["--password", OTHER_PASSWORD], "wrong_password"),
    ],
)
def test_a_wrong_access_key_or_password(ward: Ward, options: list[str], code: str) -> None:
    ward.set_identity(*options)
    ward.hub.start()
    report = ward.device_doctor()
    assert (report.code, report.failures()) == (1, [("session", code)])
    row, told = REFUSALS[code], report.of("session", FAIL)
    assert (told["reason"], told["cure"]) == (row.sentence, row.cure)


def test_a_closed_port(ward: Ward) -> None:
    report = ward.device_doctor()
    assert (report.code, report.failures()) == (1, [("port", "unreachable")])
    assert "hivemind-core listen" in report.of("port", FAIL)["cure"]


def test_an_echo_server_in_the_hubs_place(ward: Ward) -> None:
    with stranger(echoes) as port:
        assert ward.device_doctor("--port", str(port)).failures() == [("port", "not_a_hub")]


def test_a_web_server_in_the_hubs_place(ward: Ward) -> None:
    with stranger(http()) as port:
        found = ward.device_doctor("--port", str(port), "--timeout", "5").failures()
        assert found == [("session", "not_a_hub")]


def test_another_device_has_used_the_access_key(ward: Ward) -> None:
    ward.hub.start()
    assert ward.device_doctor("--no-probe").code == 0
    (ward.device.config / "hivemind" / "unnamed-node_noise.key").unlink()
    assert ward.device_doctor("--no-probe").failures() == [("session", "client_key_mismatch")]


def test_the_hub_was_reinstalled(ward: Ward) -> None:
    ward.hub.start()
    test = [PROGRAMS / "hivemind-client", "test-identity"]
    ward.children.run("test", test, ward.device)  # pins it
    ward.hub.stop()
    for name in ("hivemind-core_noise.key",):
        (ward.hub.home.config / "hivemind-core" / name).unlink()
    ward.hub.start()
    assert ward.device_doctor().failures() == [("session", "key_mismatch")]


def test_what_is_said_is_not_allowed(ward: Ward) -> None:
    ward.hub.command("blacklist-msg", "recognizer_loop:utterance", "1")
    ward.hub.start()
    report = ward.device_doctor()
    assert report.failures() == [("probe", "acl_disallowed_type")]
    assert "hivemind-core allow-msg recognizer_loop:utterance 1" in str(report.findings)


def test_there_is_no_assistant(ward: Ward) -> None:
    ward.bus.kill()
    ward.hub.start()
    assert ward.device_doctor().failures() == [("probe", "backend_unavailable")]
    assert ward.hub_doctor().failures() == [("agent", "")]


# --- the hub ----------------------------------------------------------------------------------------------------


def _open_folders(home: Home) -> None:
    (home.config / "hivemind-core").chmod(0o777)
    (home.data / "hivemind-core" / "clients.db").chmod(0o644)


def _corrupt_settings(home: Home) -> None:
    (home.config / "hivemind-core" / "server.json").write_text('{"network_protocol": ')


def _corrupt_database(home: Home) -> None:
    for file in (home.data / "hivemind-core").glob("clients.db*"):
        file.write_bytes(b"this was a database " * 500)


def _lose_key(home: Home) -> None:
    (home.config / "hivemind-core" / "hivemind-core_noise.key").unlink()


@pytest.mark.parametrize(
    ("harm", "failures", "warnings"),
    [
        (_open_folders, [], {"folders", "clients"}),
        (_corrupt_settings, [("settings", "")], set()),
        (_corrupt_database, [("clients", "")], set()),
        (_lose_key, [("identity", "")], set()),
    ],
)
def test_what_can_be_wrong_with_files(
    ward: Ward, harm: Callable[[Home], None], failures: list[Any], warnings: set[str]
) -> None:
    harm(ward.hub.home)
    before = kept(ward.hub.home)
    report = ward.hub_doctor()
    assert report.failures() == failures
    assert report.code == bool(failures)
    assert warnings <= {each["what"] for each in report.findings if each["verdict"] == "warn"}
    assert all(each["cure"] for each in report.findings if each["verdict"] != "ok")
    assert kept(ward.hub.home) == before


def test_somebody_else_has_the_hubs_port(ward: Ward) -> None:
    assert "does not run" in ward.hub_doctor().of("port", "warn")["reason"]
    with stranger(http()) as port:
        ward.hub.port = port
        ward.hub.configure({})
        assert ward.hub_doctor().failures() == [("port", "")]


def test_the_bus_that_the_hub_opens_itself_is_asked_through_the_hub_that_runs(ward: Ward) -> None:
    own_bus = {"module": "embedded", "embedded": {"host": HOST, "port": free_port()}}
    ward.hub.configure({"agent_protocol": own_bus})
    assert "does not run" in ward.hub_doctor().of("probe", "warn")["reason"]
    ward.hub.start()
    assert '"what time is it" was answered "It is ' in ward.hub_doctor().of("probe", "ok")["reason"]


def test_the_hub_above_is_logged_in_at(ward: Ward) -> None:
    """The one of another account, with this one's credentials; then with a wrong password."""
    above = HubProcess(ward.children, PROGRAMS / "hivemind-core", ward.hub.bus_port, name="above")
    above.add_client("key-of-the-lower-hub", OTHER_PASSWORD, name="lower")
    above.start()
    block = {"enabled": True, "host": HOST, "port": above.port, "key": "key-of-the-lower-hub"}
    for password, failures in ((OTHER_PASSWORD, []), (PASSWORD, [("upstream", "wrong_password")])):
        ward.hub.configure({"upstream": {**block, "password": password}})
        before = kept(ward.hub.home)
        assert ward.hub_doctor().failures() == failures
        assert kept(ward.hub.home) == before


def test_the_hub_above_is_away(ward: Ward) -> None:
    block = {"enabled": True, "host": HOST, "port": free_port(), "key": KEY, "password": PASSWORD}
    ward.hub.configure({"upstream": block})
    assert ward.hub_doctor().failures() == [("upstream", "unreachable")]
