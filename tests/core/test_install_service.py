"""`install-service`: what it writes, where, what it leaves alone, and what it tells people to do."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import pytest

from helpers.hub_commands import hub_command, said
from hivemind_core import install_service

HUB, CHATROOM = "hivemind-core.service", "hivemind-chatroom.service"


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this installation has its commands."""
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "hivemind-core", "hivemind-flask-chatroom"):
        (folder / name).touch()
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return folder


@pytest.fixture(autouse=True)
def readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that every account can read, wherever the tests run."""
    monkeypatch.setattr(install_service, "HIDDEN", ())


@pytest.fixture
def unit_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says where the account's service manager looks, as its `systemctl` prints it; it is not there."""
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "systemctl").write_text(f"#!/bin/sh\nexec cat {tmp_path}/unit-path\n")
    (folder / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return tmp_path / "unit-path"


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def test_a_service_of_ones_own(bin_folder: Path, own_home: Path) -> None:
    printed = said("install-service")
    path = own_home / ".config" / "systemd" / "user" / HUB
    assert f"ExecStart={bin_folder}/hivemind-core listen" in lines(path)
    for command in ("systemctl --user daemon-reload", "systemctl --user enable --now hivemind-core"):
        assert f"    {command}\n" in printed
    assert "    loginctl enable-linger\n" in printed
    assert "    journalctl --user-unit hivemind-core -f\n" in printed, "also where the journal is kept in memory only"
    assert f"Wrote {path}\n" in printed


def test_it_is_where_the_service_manager_looks(own_home: Path, bin_folder: Path, unit_path: Path) -> None:
    """That need not know of the folder which this shell has for settings; the unit names it."""
    there, usual = own_home / "config" / "systemd" / "user", own_home / ".config" / "systemd" / "user"
    said("install-service")
    assert [path.name for path in usual.iterdir()] == [HUB]
    assert f"EnvironmentFile=-{own_home}/config/hivemind-core/environment" in lines(usual / HUB)
    (usual / HUB).unlink()
    unit_path.write_text(f"/etc/systemd/user {there} /usr/lib/systemd/user\n")
    said("install-service")
    assert [path.name for path in there.iterdir()] == [HUB]
    assert [*usual.iterdir()] == []


def test_where_everything_is_usual_nothing_is_named(
    own_home: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(own_home / ".config"))
    assert "EnvironmentFile=-%E/hivemind-core/environment\n" in said("install-service", "--print")


def test_with_sudo_it_would_be_a_service_of_root(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "alice")
    assert "without sudo" in hub_command("install-service").error
    assert [*own_home.rglob("*.service")] == []
    said("install-service", "--print")
    said("install-service", "--system", "--output", str(tmp_path))
    monkeypatch.setenv("SUDO_USER", "root")
    said("install-service")


def test_an_account_that_was_there_before_may_have_another_home(
    tmp_path: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def account(name: str) -> pwd.struct_passwd:
        assert name == "hivemind"
        return pwd.struct_passwd((name, "x", 1001, 1001, "", "/home/hivemind", "/bin/sh"))

    monkeypatch.setattr(install_service, "UNITS", tmp_path)
    monkeypatch.setattr(install_service, "ACCOUNTS", tmp_path)
    monkeypatch.setattr(pwd, "getpwnam", account)
    printed = said("install-service", "--system")
    assert f"sudo -u hivemind env HOME=/var/lib/hivemind {bin_folder}/hivemind-core add-client" in printed


def test_settings_that_the_machine_cannot_see(
    tmp_path: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install_service, "HIDDEN", (tmp_path / "home",))
    settings = tmp_path / "home" / "server.json"
    named = ("--config", str(settings), "install-service", "--system", "--output", str(tmp_path))
    assert hub_command(*named).error == (
        f"A service of the machine cannot see {settings}. Copy it to"
        " /var/lib/hivemind/.config/hivemind-core/server.json, and leave out --config."
    )
    assert [*tmp_path.glob("*.service")] == []
    said(*named, "--chatroom")


def test_a_masked_unit_stays_masked(tmp_path: Path, bin_folder: Path) -> None:
    (tmp_path / HUB).symlink_to(os.devnull)
    assert "systemctl unmask" in hub_command("install-service", "--output", str(tmp_path), "--force").error


def test_it_works_on_what_this_shell_works_on(
    own_home: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(own_home / ".cache"))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    printed = said("--config", "my.json", "install-service", "--print")
    assert f"Environment=XDG_DATA_HOME={own_home}/data\n" in printed
    assert "XDG_CACHE_HOME" not in printed, "it is where it always is"
    assert "XDG_STATE_HOME" not in printed
    assert f"ExecStart={bin_folder}/hivemind-core --config {os.getcwd()}/my.json listen\n" in printed


def test_settings_that_the_environment_names_are_named(
    own_home: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIVEMIND_CONFIG", "/srv/my.json")
    assert "hivemind-core --config /srv/my.json listen\n" in said("install-service", "--print")
    assert "hivemind-core --config /srv/other.json listen\n" in said(
        "--config", "/srv/other.json", "install-service", "--print"
    )


def test_what_runs_already_is_started_anew(own_home: Path, bin_folder: Path) -> None:
    restart = "    systemctl --user restart hivemind-core\n"
    assert restart not in said("install-service")
    assert restart in said("install-service")


def test_a_service_of_the_machine(tmp_path: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_service, "UNITS", tmp_path / "units")
    monkeypatch.setattr(install_service, "ACCOUNTS", tmp_path / "accounts")
    printed = said("install-service", "--system")
    unit = lines(tmp_path / "units" / HUB)
    assert {"User=hivemind", "StateDirectory=hivemind", f"ExecStart={bin_folder}/hivemind-core listen"} <= {*unit}
    assert not any("XDG_" in line for line in unit)
    assert lines(tmp_path / "accounts" / "hivemind.conf")[-1] == 'u hivemind - "HiveMind hub" /var/lib/hivemind'
    assert printed.index("sudo systemd-sysusers") < printed.index("sudo systemctl enable --now hivemind-core")
    assert f"sudo -H -u hivemind {bin_folder}/hivemind-core add-client" in printed
    assert "--user" not in printed


def test_the_chatroom_is_another_service(own_home: Path, bin_folder: Path) -> None:
    printed = said("install-service", "--chatroom")
    folder = own_home / ".config" / "systemd" / "user"
    assert [path.name for path in folder.iterdir()] == [CHATROOM]
    assert f"ExecStart={bin_folder}/hivemind-flask-chatroom" in lines(folder / CHATROOM)
    assert f"write into {own_home}/config/hivemind-chatroom/environment" in printed
    system = said("install-service", "--chatroom", "--system", "--output", str(own_home))
    assert system.splitlines() == [f"Wrote {own_home}/{CHATROOM}", f"Wrote {own_home}/hivemind-chatroom.conf"]


def test_no_service_for_a_chatroom_that_is_not_there(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind_core.chatroom_process.NEEDED", ("no_such_package",))
    assert hub_command("install-service", "--chatroom").error == (
        "The chatroom is not installed. Run: pip install 'hivemind-mesh[chatroom]'"
    )
    assert [*own_home.rglob("*.service")] == []


def test_without_its_command_it_is_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert f"ExecStart={tmp_path}/python -m hivemind_core listen\n" in said("install-service", "--print")
    assert f"ExecStart={tmp_path}/python -m hivemind_chatroom\n" in said("install-service", "--chatroom", "--print")


def test_printing_writes_nothing(own_home: Path) -> None:
    printed = said("install-service", "--print", "--system")
    assert "# /etc/systemd/system/hivemind-core.service\n" in printed
    assert "# /etc/sysusers.d/hivemind.conf\n" in printed
    assert [*own_home.rglob("*.service")] == []


def test_a_file_that_somebody_changed_is_left_alone(tmp_path: Path, bin_folder: Path) -> None:
    path = tmp_path / HUB
    said("install-service", "--output", str(tmp_path))
    as_written = path.read_text()
    path.write_text(as_written + "# mine\n")
    ran = hub_command("install-service", "--output", str(tmp_path))
    assert (ran.code, ran.out) == (1, "")
    assert ran.error.startswith(f"{path} is there and was changed by hand.")
    assert path.read_text() == as_written + "# mine\n"
    said("install-service", "--output", str(tmp_path), "--force")
    assert path.read_text() == as_written


def test_a_file_of_an_earlier_release_is_brought_up_to_date(
    tmp_path: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said("install-service", "--output", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "elsewhere" / "python"))
    said("install-service", "--output", str(tmp_path))
    assert f"ExecStart={tmp_path}/elsewhere/python -m hivemind_core listen" in lines(tmp_path / HUB)


def test_of_two_files_none_is_written_where_one_was_changed(tmp_path: Path) -> None:
    (tmp_path / "hivemind.conf").write_text("u hivemind 4711\n")
    assert hub_command("install-service", "--system", "--output", str(tmp_path)).code == 1
    assert [path.name for path in tmp_path.glob("hivemind*")] == ["hivemind.conf"]


@pytest.mark.parametrize("more", [[], ["--chatroom"]])
def test_what_the_machine_cannot_see_is_no_service_of_it(
    tmp_path: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    monkeypatch.setattr(install_service, "HIDDEN", (tmp_path,))
    ran = hub_command("install-service", "--system", "--output", str(tmp_path), *more)
    assert (ran.code, ran.out) == (1, "")
    assert f"/opt/hivemind/bin/hivemind-core install-service --system{''.join(f' {x}' for x in more)}" in ran.err
    assert [*tmp_path.glob("*.service")] == []
    assert "Warning: This installation needs" in hub_command("install-service", "--system", "--print", *more).err
    assert hub_command("install-service", "--output", str(tmp_path), *more).code == 0


def test_without_the_right_to_write_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    ran = hub_command("install-service", "--system", "--output", str(tmp_path))
    assert ran.error == f"{tmp_path}/{HUB} cannot be written by this account. Run the command as root (sudo)."


def test_elsewhere_it_only_shows(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux only" in hub_command("install-service").error
    assert [*own_home.rglob("*.service")] == []
    assert "ExecStart=" in said("install-service", "--print")


def test_a_path_that_no_unit_can_name_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "it's" / "python"))
    assert "cannot be named in a systemd unit" in hub_command("install-service").error
