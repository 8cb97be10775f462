"""The units: what systemd itself says of them, and that those which ship are the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from helpers.pair import cannot_run
from hivemind_core.systemd_units import CHATROOM, HUB, Program, Unfit, account, is_unchanged, system_unit, user_unit

DEPLOY = Path(__file__).parents[2] / "deploy" / "systemd"
PROGRAMS = pytest.mark.parametrize("program", [HUB, CHATROOM], ids=lambda program: program.name)
SCOPES = pytest.mark.parametrize("scope", ["user", "system"])
EXPOSURE = {"system": 1.5, "user": 5.5}
"""The most that `systemd-analyze security` may say. It takes a person's own service for one of root, which may do all
that is not forbidden, and such a service can forbid itself less."""
ARGUMENTS = {HUB: ["listen"], CHATROOM: []}


def unit(program: Program, scope: str, command: list[str], environ: dict[str, str] | None = None) -> str:
    return system_unit(program, command) if scope == "system" else user_unit(program, command, environ or {})


def settings(text: str) -> list[str]:
    """Its lines, without comments."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


# --- those that ship ------------------------------------------------------------------------------------------


@PROGRAMS
@SCOPES
def test_the_units_that_ship_are_these(program: Program, scope: str) -> None:
    folder = {"user": "%h/hivemind/bin", "system": "/opt/hivemind/bin"}[scope]
    made = unit(program, scope, [f"{folder}/{program.script}", *ARGUMENTS[program]])
    shipped = (DEPLOY / scope / program.unit_name).read_text("utf-8")
    assert settings(shipped) == settings(made.replace("%%h", "%h"))
    if scope == "system":
        assert settings((DEPLOY / scope / program.account_file).read_text("utf-8")) == settings(account(program))


# --- what systemd says ----------------------------------------------------------------------------------------


def analyze(scope: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        cannot_run("there is no systemd-analyze here (on Debian: apt install systemd)")
    argv = ["systemd-analyze", *(["--user"] if scope == "user" else []), *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A person's own `systemd-analyze` looks for it; what its sockets are called there must be short."""
    with TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield tmp_path


def written(folder: Path, program: Program, text: str) -> Path:
    path = folder / program.unit_name
    path.write_text(text, "utf-8")
    return path


@PROGRAMS
@SCOPES
def test_systemd_finds_nothing_wrong(program: Program, scope: str, runtime: Path) -> None:
    path = written(runtime, program, unit(program, scope, [sys.executable, "-m", program.module]))
    ran = analyze(scope, "verify", "--man=no", "--recursive-errors=yes", path)
    assert (ran.returncode, ran.stderr) == (0, "")


@SCOPES
def test_systemd_would_find_a_misspelt_setting(scope: str, runtime: Path) -> None:
    text = unit(HUB, scope, [sys.executable]).replace("RestrictRealtime", "RestrictRealtimes")
    assert analyze(scope, "verify", "--man=no", "--recursive-errors=yes", written(runtime, HUB, text)).returncode == 1


@PROGRAMS
@SCOPES
def test_it_may_do_little(program: Program, scope: str, runtime: Path) -> None:
    path = written(runtime, program, unit(program, scope, [sys.executable]))
    threshold = f"--threshold={EXPOSURE[scope] * 10:.0f}"
    ran = analyze(scope, "security", "--offline=true", "--no-pager", threshold, path)
    assert ran.returncode == 0, [line for line in ran.stdout.splitlines() if "Overall" in line]


ODD, ODDER = "a b%h;#ü$x", "a'\"\\b"


@SCOPES
def test_odd_paths_are_found(scope: str, runtime: Path) -> None:
    folder = runtime / ODD
    folder.mkdir()
    program = folder / "hivemind-core"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    path = written(runtime, HUB, unit(HUB, scope, [str(program), "--config", ODDER, "listen"]))
    ran = analyze(scope, "verify", "--man=no", "--recursive-errors=yes", path)
    assert (ran.returncode, ran.stderr) == (0, "")
    program.unlink()
    assert analyze(scope, "verify", "--man=no", "--recursive-errors=yes", path).returncode == 1


# --- the text -------------------------------------------------------------------------------------------------


@PROGRAMS
@SCOPES
def test_what_it_promises(program: Program, scope: str) -> None:
    lines = settings(unit(program, scope, ["/x"]))
    assert {"Type=notify", "Restart=on-failure", "RestartPreventExitStatus=2", "NoNewPrivileges=yes"} <= set(lines)
    assert ("PrivateDevices=yes" in lines) is (scope == "system"), "a person's service manager cannot start that"
    assert (f"User={program.account}" in lines) is (scope == "system")


def test_folders_elsewhere_are_named_and_may_be_written() -> None:
    lines = settings(user_unit(HUB, ["/x"], {"XDG_DATA_HOME": "/srv/a b"}))
    assert 'Environment="XDG_DATA_HOME=/srv/a b"' in lines
    assert 'ReadWritePaths=%h "-/srv/a b"' in lines


def test_settings_elsewhere_have_their_variables_beside_them(runtime: Path) -> None:
    text = user_unit(HUB, [sys.executable], {"XDG_CONFIG_HOME": "/srv/a b%'"})
    assert "EnvironmentFile=-/srv/a b%%'/hivemind-core/environment" in settings(text)
    ran = analyze("user", "verify", "--man=no", "--recursive-errors=yes", written(runtime, HUB, text))
    assert (ran.returncode, ran.stderr) == (0, "")
    with pytest.raises(Unfit):
        user_unit(HUB, ["/x"], {"XDG_CONFIG_HOME": "/a\nUser=root"})


def test_what_means_something_to_systemd_is_escaped() -> None:
    lines = settings(system_unit(HUB, ["/100%/$x", "$y", "a\\b", 'say "so"']))
    assert r"""ExecStart=/100%%/$x $$y "a\\b" "say \"so\"" """.strip() in lines


@pytest.mark.parametrize("path", ["/a\nUser=root", "/a\0b", "/a\x1b", "/a'b", '/a"b', "/a\\b"])
def test_a_path_that_no_unit_can_name(path: str) -> None:
    with pytest.raises(Unfit, match="cannot be named"):
        system_unit(HUB, [path])


def test_a_change_is_noticed() -> None:
    text = system_unit(HUB, ["/x"])
    assert is_unchanged(text)
    for changed in (text + "\n", text.replace("/x", "/y"), text.partition("\n")[2], "", "[Unit]\n"):
        assert not is_unchanged(changed)


def test_both_speak_to_the_journal_in_a_language_it_knows() -> None:
    assert "HIVEMIND_CHATROOM_LOG_PATH=stdout" in user_unit(CHATROOM, ["/x"], {})
    assert os.linesep == "\n" or "\r" not in user_unit(HUB, ["/x"], {})
