"""``hivemind-core install-service``: systemd units that start this very installation."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from . import environment
from .config import config_dir
from .console import Failure
from .systemd_units import CHATROOM, HUB, Program, Unfit, account, is_unchanged, system_unit, user_unit

UNITS, ACCOUNTS = Path("/etc/systemd/system"), Path("/etc/sysusers.d")
FOLDERS = {
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_CACHE_HOME": ".cache",
}
"""Variables of folders that a service manager does not know of, and what each is below the home unless it is set."""
HIDDEN = tuple(Path(name) for name in ("/home", "/root", "/run/user", "/tmp", "/var/tmp"))  # noqa: S108
"""What the machine's units do not see."""
SETTINGS = Path("/var/lib", HUB.account, ".config", "hivemind-core", "server.json")
"""Where the service of the machine finds its settings by itself."""
MOVE = (
    "Install it where every account can read it, and run the command there:\n"
    "    python3 -m venv /opt/hivemind\n"
    "    /opt/hivemind/bin/pip install 'hivemind-mesh[{extra}]'\n"
    "    /opt/hivemind/bin/hivemind-core install-service --system{more}"
)


@dataclass(frozen=True)
class File:
    """What is to be written."""

    path: Path
    text: str


@click.command("install-service")
@click.option("--user", "scope", flag_value="user", default=True, help="A service of your own account (the default).")
@click.option("--system", "scope", flag_value="system", help="A service of the machine, with an account of its own.")
@click.option("--chatroom", is_flag=True, help="The service of the chatroom, instead of the hub's.")
@click.option("--print", "only_print", is_flag=True, help="Show the files; write nothing.")
@click.option("--force", is_flag=True, help="Replace a file that was changed by hand.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Write into this folder instead.")
def install_service(scope: str, chatroom: bool, only_print: bool, force: bool, output: Path | None) -> None:
    """Write a systemd unit that starts this installation, and print the commands that start it.

    A unit that was changed by hand is not replaced unless --force is given; `systemctl edit` keeps changes in a file of
    its own beside it.
    """
    if not (only_print or sys.platform.startswith("linux")):
        raise Failure("systemd is found on Linux only; --print shows the unit.")
    program, system = CHATROOM if chatroom else HUB, scope == "system"
    if not (system or only_print or output) and _is_lent_root():
        raise Failure("Run it without sudo for a service of your own account, or with --system for one of the machine.")
    if chatroom:
        from . import chatroom_process  # which brings asyncio

        if not chatroom_process.is_installed():
            raise Failure(f"The chatroom is not installed. Run: {chatroom_process.INSTALL}")
    try:
        files = _files(program, system, output)
    except Unfit as error:
        raise Failure(str(error)) from None
    problem = _unreachable(program) if system else None
    if only_print:
        click.echo("\n".join(f"# {file.path}\n{file.text}" for file in files), nl=False)
        if problem:
            click.echo(f"Warning: {problem}", err=True)
        return
    if problem:
        raise Failure(problem)
    is_update = files[0].path.exists()
    _write(files, force)
    if output is None:
        click.echo(_next_steps(program, system, is_update))


# --- what is written ----------------------------------------------------------------------------------------------


def _files(program: Program, system: bool, output: Path | None) -> list[File]:
    if system:
        return [
            File((output or UNITS) / program.unit_name, system_unit(program, _command(program))),
            File((output or ACCOUNTS) / program.account_file, account(program)),
        ]
    folder = output or _unit_folder()
    return [File(folder / program.unit_name, user_unit(program, _command(program), _folders()))]


def _unit_folder() -> Path:
    """Return where the service manager of this account looks: what XDG_CONFIG_HOME is here need not be known to it."""
    here, usual = (folder / "systemd" / "user" for folder in (config_dir(), Path.home() / ".config"))
    return here if here != usual and str(here) in _searched() else usual


def _searched() -> list[str]:
    try:
        ran = subprocess.run(
            ["systemctl", "--user", "show", "--property=UnitPath", "--value"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return ran.stdout.split()


def _folders() -> dict[str, str]:
    """Return the variables of this shell that say where clients, settings and identity are."""
    given = {name: os.environ.get(name, "") for name in FOLDERS}
    return {
        name: path for name, path in given.items() if os.path.isabs(path) and Path(path) != Path.home() / FOLDERS[name]
    }


def _command(program: Program) -> list[str]:
    """Return the command line that starts this very installation."""
    beside = Path(sys.executable).parent / program.script
    started = [str(beside)] if beside.exists() else [sys.executable, "-m", program.module]
    if program is CHATROOM:
        return started
    config = _named_settings()
    return [*started, *(["--config", str(config)] if config else []), "listen"]


def _named_settings() -> Path | None:
    """Return the server.json that this command line or this shell names."""
    named = click.get_current_context().find_root().params.get("config_file") or os.environ.get(environment.CONFIG)
    return Path(os.path.abspath(named)) if named else None


def _write(files: Sequence[File], force: bool) -> None:
    for file in files:
        if file.path.exists() and not file.path.is_file():
            raise Failure(f"{file.path} is no file. If it is masked, run `systemctl unmask` first.")
        there = file.path.read_text("utf-8", "replace") if file.path.exists() else None
        if there not in (None, file.text) and not is_unchanged(there or "") and not force:
            raise Failure(
                f"{file.path} is there and was changed by hand. Keep your changes with `systemctl edit` and give"
                " --force to replace the file; --print shows what it would hold."
            )
    for file in files:
        try:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            file.path.write_text(file.text, "utf-8")
        except PermissionError:
            raise Failure(f"{file.path} cannot be written by this account. Run the command as root (sudo).") from None
        click.echo(f"Wrote {file.path}")


# --- what people are told -----------------------------------------------------------------------------------------


def _is_lent_root() -> bool:
    """Tell whether somebody else is root for this one command, whose services would be root's."""
    return os.geteuid() == 0 and os.environ.get("SUDO_USER", "root") != "root"


def _is_hidden(place: Path) -> bool:
    return any(path.is_relative_to(hidden) for path in (place, place.resolve()) for hidden in HIDDEN)


def _unreachable(program: Program) -> str | None:
    """Say so where the account of a machine's service could not read this installation, or its settings."""
    settings = _named_settings() if program is HUB else None
    if settings is not None and _is_hidden(settings):
        return f"A service of the machine cannot see {settings}. Copy it to {SETTINGS}, and leave out --config."
    places = [Path(sys.executable), Path(sys.prefix), Path(sys.base_prefix), Path(__file__)]
    for place in filter(_is_hidden, places):
        extra, more = ("hub,chatroom", " --chatroom") if program is CHATROOM else ("hub", "")
        needed = f"This installation needs {place}, which a service of the machine cannot see. "
        return needed + MOVE.format(extra=extra, more=more)
    return None


def _next_steps(program: Program, system: bool, is_update: bool) -> str:
    sudo, scope = ("sudo ", "") if system else ("", " --user")
    steps = [
        *(["sudo systemd-sysusers"] if system else []),
        f"{sudo}systemctl{scope} daemon-reload",
        f"{sudo}systemctl{scope} enable --now {program.name}",
        *([f"{sudo}systemctl{scope} restart {program.name}"] if is_update else []),
        *([] if system else ["loginctl enable-linger"]),
        f"{sudo}journalctl {'-u' if system else '--user-unit'} {program.name} -f",
    ]
    lines = "".join(f"    {step}\n" for step in steps)
    if program is CHATROOM:
        return f"\n{_before_the_chatroom(system)}\n\nThen run:\n\n{lines}"
    return f"\nNow run:\n\n{lines}\n{_after_the_hub(system)}"


def _after_the_hub(system: bool) -> str:
    if not system:
        return "Its clients, settings and identity are those of your account: `hivemind-core add-client` as ever."
    home, command = f"/var/lib/{HUB.account}", shlex.join(_command(HUB)[:-1])
    as_account = f"sudo -H -u {HUB.account}" if _has_home(home) else f"sudo -u {HUB.account} env HOME={home}"
    return (
        f"Its clients, settings and identity are in {home}. Every command runs as its account:\n\n"
        f"    {as_account} {command} add-client --name kitchen"
    )


def _has_home(home: str) -> bool:
    """Tell whether the hub's account has this home; one that was there before may have another."""
    import pwd

    try:
        return pwd.getpwnam(HUB.account).pw_dir == home
    except KeyError:  # it is made with it
        return True


def _before_the_chatroom(system: bool) -> str:
    file = (Path("/etc") if system else config_dir()) / CHATROOM.name / "environment"
    who = "root" if system else "you"
    start = "First" if system else "The chatroom joins the hub that `hivemind-client set-identity` named, unless you"
    return (
        f"{start} write into {file}, which nobody but {who} should read:\n\n"
        "    SAT_KEY=ACCESS-KEY\n    SAT_PASSWORD=PASSWORD\n    SAT_HOST=ws://HUB\n\n"
        "Its options may stand there, too, such as HIVEMIND_CHATROOM_PORT=8985."
    )


COMMANDS = (install_service,)
