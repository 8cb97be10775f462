"""The services as systemd runs them: a real one, with what `install-service` wrote and told the reader to run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.pair import cannot_run
from helpers.systemd_machine import OPT, Machine, machine

KEY, ROOM_KEY, PASSWORD = "key-of-the-kitchen", "key-of-the-chatroom", "orbital-walnut-cipher-93-lantern"
HUB, ROOM = "hivemind-core", "hivemind-chatroom"
PERSON = "tester"
PAM = Path("/usr/share/pam-configs/systemd")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("systemd") / "root") as made:
        yield made


def steps(printed: str) -> list[str]:
    """The command lines that a person is told, in their order; root needs no sudo."""
    lines = [line.strip() for line in printed.splitlines() if line.startswith("    ")]
    return [line.removeprefix("sudo ") for line in lines if not line.startswith("SAT_") and not line.endswith(" -f")]


def as_account(line: str) -> str:
    """The same as ``sudo -H -u NAME``, which is not everywhere."""
    _, _, name, command = line.split(" ", 3)
    return f"runuser -u {name} -- env HOME=$(getent passwd {name} | cut -d: -f6) {command}"


def shown(host: Machine, unit: str, *names: str, scope: str = "") -> dict[str, str]:
    """Properties of a unit."""
    said = host.run(f"systemctl {scope} show -p {','.join(names)} {unit}", PERSON if scope else "root")
    return dict(line.split("=", 1) for line in said.splitlines())


def drop_in(host: Machine, unit: str, text: str) -> None:
    """What `systemctl edit` would keep."""
    folder = f"/etc/systemd/system/{unit}.service.d"
    host.run(f"mkdir -p {folder} && printf '[Service]\\n{text}\\n' > {folder}/test.conf && systemctl daemon-reload")


@pytest.fixture(scope="module")
def hub(host: Machine) -> Machine:
    """The machine with its hub service, set up as the command says, and one client in its database."""
    *start, add = steps(host.run(f"{OPT}/bin/hivemind-core install-service --system"))
    for line in start:
        host.run(line)
    for key in (KEY, ROOM_KEY):
        host.run(as_account(add).replace("--name kitchen", f"--access-key {key} --password {PASSWORD}"))
    return host


def ask(host: Machine, account: str = "root") -> str:
    """Talk to the hub as a satellite does, the same device each time for an account."""
    host.run(f"{OPT}/bin/hivemind-client set-identity --key {KEY} --password {PASSWORD} --host 127.0.0.1", account)
    return host.run(f"echo what time is it | {OPT}/bin/hivemind-client terminal", account)


def test_the_hub_serves_as_soon_as_it_was_started(hub: Machine) -> None:
    found = shown(hub, HUB, "ActiveState", "StatusText", "UnitFileState", "User")
    assert found.pop("StatusText") == "Listening on ws://0.0.0.0:5678, 0 satellites, assistant auto answers"
    assert found == {"ActiveState": "active", "UnitFileState": "enabled", "User": "hivemind"}
    assert "It is " in ask(hub)


def test_it_has_no_rights_and_its_files_are_its_own(hub: Machine) -> None:
    status = hub.run(f"cat /proc/$(systemctl show -p MainPID --value {HUB})/status")
    assert {"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} <= {
        *status.splitlines()
    }
    files = hub.run("find /var/lib/hivemind -printf '%u %m %y %P\\n'").splitlines()
    assert any(line.endswith("clients.db") for line in files)
    assert [
        line for line in files if line.split()[:3] not in (["hivemind", "700", "d"], ["hivemind", "600", "f"])
    ] == []


def test_the_journal_has_priorities_and_no_second_time(hub: Machine) -> None:
    lines = hub.run(f"journalctl -u {HUB} -o json --no-pager").splitlines()
    said = [entry for entry in map(json.loads, lines) if entry.get("_SYSTEMD_UNIT") == f"{HUB}.service"]
    found = {entry["MESSAGE"]: entry["PRIORITY"] for entry in said}
    assert found["hivemind_core.service: listening on ws://0.0.0.0:5678"] == "6"
    assert not any(message.startswith(("<", "20")) for message in found)


def test_stop_is_orderly_and_nothing_is_lost(hub: Machine) -> None:
    hub.run(f"systemctl stop {HUB}")
    assert shown(hub, HUB, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
    hub.run(f"systemctl start {HUB}")
    assert "It is " in ask(hub)


def test_a_wrong_configuration_is_not_tried_again(hub: Machine) -> None:
    file = "/var/lib/hivemind/.config/hivemind-core/server.json"
    hub.run(f"""echo '{{"log_level": "LOUD"}}' > {file}""")
    drop_in(hub, HUB, "RestartSec=0")
    assert hub.try_to(f"systemctl restart {HUB}").returncode
    hub.wait(f"systemctl show -p ActiveState {HUB}", "failed")
    assert shown(hub, HUB, "NRestarts", "ExecMainStatus") == {"NRestarts": "0", "ExecMainStatus": "2"}
    hub.run(f"rm {file}; systemctl start {HUB}")


def test_a_port_of_root_with_the_rights_that_the_page_names(hub: Machine) -> None:
    page = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text("utf-8")
    _, _, rest = page.partition("    [Service]\n")
    rights = [line.strip() for line in rest.splitlines()]
    hub.run(f"mkdir -p /etc/{HUB}; echo HIVEMIND_PORT=443 > /etc/{HUB}/environment")
    drop_in(hub, HUB, "RestartSec=60")
    assert hub.try_to(f"systemctl restart {HUB}").returncode
    assert "permission denied" in hub.run(f"journalctl -u {HUB} --no-pager -n 10").lower()
    drop_in(hub, HUB, "\\n".join(rights))
    hub.run(f"systemctl restart {HUB}")
    assert "ws://0.0.0.0:443" in shown(hub, HUB, "StatusText")["StatusText"]
    hub.run(f"rm /etc/{HUB}/environment")
    drop_in(hub, HUB, "")
    hub.run(f"systemctl restart {HUB}")


@pytest.mark.parametrize(
    ("sent", "why", "watchdog"),
    [("KILL", "signal", ""), ("STOP", "watchdog", "\\nWatchdogSec=8")],
    ids=["KILL", "STOP"],
)
def test_a_hub_that_dies_or_is_stuck_is_started_again(hub: Machine, sent: str, why: str, watchdog: str) -> None:
    drop_in(hub, HUB, f"RestartSec=0{watchdog}")
    hub.run(f"systemctl reset-failed; systemctl restart {HUB}; sleep {9 if watchdog else 0}")
    assert shown(hub, HUB, "ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}
    hub.run(f"kill -{sent} $(systemctl show -p MainPID --value {HUB})")
    hub.wait(f"systemctl show -p NRestarts,ActiveState {HUB}", "NRestarts=1\nActiveState=active")
    assert f"Failed with result '{why}'" in hub.run(f"journalctl -u {HUB} --no-pager -n 200")
    assert "It is " in ask(hub)


def test_the_chatroom_reads_its_credentials_from_a_file_of_root(hub: Machine) -> None:
    printed = hub.run(f"{OPT}/bin/hivemind-core install-service --system --chatroom")
    file = "/etc/hivemind-chatroom/environment"
    assert f"First write into {file}" in printed
    hub.run(f"install -D -m 600 /dev/null {file}")
    hub.run(f"printf 'SAT_KEY={ROOM_KEY}\\nSAT_PASSWORD={PASSWORD}\\nSAT_HOST=ws://127.0.0.1\\n' > {file}")
    for line in steps(printed):
        hub.run(line)
    hub.wait(f"systemctl show -p StatusText {ROOM}", "StatusText=Serving port 8985, connected to the hub")
    page = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8985/readyz').status)"
    assert hub.run(f'{OPT}/bin/python -c "{page}"') == "200\n"
    hub.run(f"systemctl stop {HUB}")
    hub.wait(f"systemctl show -p StatusText {ROOM}", "StatusText=Serving port 8985, The hub cannot be reached.")
    assert shown(hub, ROOM, "ActiveState") == {"ActiveState": "active"}
    hub.run(f"systemctl stop {ROOM}")
    assert shown(hub, ROOM, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}


def test_a_stuck_chatroom_is_started_again(hub: Machine) -> None:
    drop_in(hub, ROOM, "RestartSec=0\\nWatchdogSec=8")
    hub.run(f"systemctl start {ROOM}; sleep 9")
    assert shown(hub, ROOM, "ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}
    hub.run(f"kill -STOP $(systemctl show -p MainPID --value {ROOM})")
    hub.wait(f"systemctl show -p NRestarts,ActiveState {ROOM}", "NRestarts=1\nActiveState=active")
    hub.run(f"systemctl stop {ROOM}")


# --- a person's own -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def person(host: Machine) -> Machine:
    """Somebody with an account, who may log in."""
    if host.try_to("systemctl start dbus systemd-logind").returncode or not PAM.exists():
        cannot_run("nobody can log in here (on Debian: apt install dbus libpam-systemd)")
    host.run(f"useradd -m -s /bin/sh {PERSON}; loginctl enable-linger {PERSON}")
    host.wait(f"systemctl is-active user@$(id -u {PERSON})", "active")
    host.try_to(f"systemctl stop {HUB} {ROOM}")
    return host


def test_a_hub_of_ones_own(person: Machine) -> None:
    for line in steps(person.run(f"{OPT}/bin/hivemind-core install-service", PERSON)):
        if not line.startswith("loginctl"):  # it has to be said in a session of one's own
            person.run(line, PERSON)
    found = shown(person, HUB, "ActiveState", "UnitFileState", scope="--user")
    assert found == {"ActiveState": "active", "UnitFileState": "enabled"}
    person.run(f"{OPT}/bin/hivemind-core add-client --access-key {KEY} --password {PASSWORD}", PERSON)
    assert "It is " in ask(person, PERSON)
    status = person.run(f"cat /proc/$(systemctl --user show -p MainPID --value {HUB})/status", PERSON)
    assert {"NoNewPrivs:\t1", "Seccomp:\t2"} <= {*status.splitlines()}
    person.run(f"systemctl --user stop {HUB}", PERSON)
    assert shown(person, HUB, "Result", scope="--user") == {"Result": "success"}


def test_it_is_found_wherever_this_shell_keeps_its_settings(person: Machine) -> None:
    """The service manager was started without that variable."""
    elsewhere = 'export XDG_CONFIG_HOME="$HOME/some where"'
    file = '"$XDG_CONFIG_HOME/hivemind-core/environment"'
    person.run(f"{elsewhere}; install -D /dev/null {file}; echo HIVEMIND_PORT=21678 > {file}", PERSON)
    person.run(f"{elsewhere}; {OPT}/bin/hivemind-core install-service; systemctl --user daemon-reload", PERSON)
    person.run(f"systemctl --user restart {HUB}", PERSON)
    assert ":21678," in shown(person, HUB, "StatusText", scope="--user")["StatusText"]
    person.run(f"test -e ~/'some where'/hivemind-core/_identity.json; systemctl --user stop {HUB}", PERSON)
    person.run(f"{OPT}/bin/hivemind-core install-service; systemctl --user daemon-reload", PERSON)


def test_it_runs_walled_in_too(person: Machine) -> None:
    """Newer releases of systemd put a person's services into a name space of their own, where folders are protected."""
    folder = f"~/.config/systemd/user/{HUB}.service.d"
    person.run(f"mkdir -p {folder}; printf '[Service]\\nPrivateUsers=yes\\n' > {folder}/walls.conf", PERSON)
    person.run(f"systemctl --user daemon-reload; systemctl --user restart {HUB}", PERSON)
    assert "It is " in ask(person, PERSON)
    person.run(f"{OPT}/bin/hivemind-core rename-client 1 --name hall", PERSON)
    pid = person.run(f"systemctl --user show -p MainPID --value {HUB}", PERSON).strip()
    assert " / ro" in person.run(f"cut -d' ' -f4-6 /proc/{pid}/mountinfo")
