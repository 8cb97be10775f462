"""The text of the systemd units for hub and chatroom, for a person's own services and for the whole machine's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MARK = "# Written by `hivemind-core install-service`, checksum "
ADVICE = "# What you change here is lost; `systemctl edit` keeps changes beside it."


@dataclass(frozen=True)
class Program:
    """What a unit starts."""

    name: str
    """Of its unit."""
    title: str
    script: str
    """Its command."""
    module: str
    """What `python -m` starts in its place."""
    account: str
    """The user it runs as on behalf of the whole machine; its home is the state directory of that name."""
    after: str
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def unit_name(self) -> str:
        """The file's name."""
        return f"{self.name}.service"

    @property
    def account_file(self) -> str:
        """The name of the file for systemd-sysusers."""
        return f"{self.account}.conf"


HUB = Program("hivemind-core", "HiveMind hub", "hivemind-core", "hivemind_core", "hivemind", "network.target")
CHATROOM = Program(
    "hivemind-chatroom",
    "HiveMind chatroom",
    "hivemind-flask-chatroom",
    "hivemind_chatroom",
    "hivemind-chatroom",
    "network.target hivemind-core.service",
    (("HIVEMIND_CHATROOM_LOG_PATH", "stdout"), ("HIVEMIND_CHATROOM_LOG_LEVEL", "INFO")),
)

_SERVICE = """\
Type=notify
{environment}EnvironmentFile=-{settings}/{name}/environment
ExecStart={command}
TimeoutStartSec=60
TimeoutStopSec=20
WatchdogSec=60
Restart=on-failure
RestartSec=10
RestartPreventExitStatus=2
UMask=0077
LimitCORE=0
LimitNOFILE=65536
"""
_SANDBOX = """\
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateTmp=yes
ProcSubset=pid
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""
_OWN_SANDBOX = "ReadWritePaths=%h{folders}\n"
_MACHINE_ACCOUNT = """\
User={account}
Environment=HOME=%S/{account}
StateDirectory={account}
StateDirectoryMode=0700
WorkingDirectory=%S/{account}
"""
_MACHINE_SANDBOX = """\
AmbientCapabilities=
CapabilityBoundingSet=
DevicePolicy=closed
PrivateDevices=yes
PrivateUsers=yes
ProtectClock=yes
ProtectHome=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
RemoveIPC=yes
"""
"""A person's service manager may drop no capabilities and could not start a unit that asks for it."""
_UNIT = """\
[Unit]
Description={title}
After={after}
StartLimitIntervalSec=600
StartLimitBurst=30

[Service]
{service}
[Install]
WantedBy={target}
"""


class Unfit(ValueError):
    """A path that no unit can name."""


def user_unit(program: Program, command: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return the unit for a person's own service manager, with these variables, which name folders. Raises Unfit."""
    folders = "".join(f" {_quoted(f'-{folder}', '')}" for folder in environ.values())
    service = _service(program, command, environ) + _SANDBOX + _OWN_SANDBOX.format(folders=folders)
    return marked(_UNIT.format(title=program.title, after=program.after, service=service, target="default.target"))


def system_unit(program: Program, command: Sequence[str]) -> str:
    """Return the unit for the machine's service manager. Raises Unfit."""
    account = _MACHINE_ACCOUNT.format(account=program.account)
    service = account + _service(program, command, {}) + _SANDBOX + _MACHINE_SANDBOX
    return marked(_UNIT.format(title=program.title, after=program.after, service=service, target="multi-user.target"))


def account(program: Program) -> str:
    """Return what systemd-sysusers makes the account from."""
    return marked(f'u {program.account} - "{program.title}" /var/lib/{program.account}\n')


def _service(program: Program, command: Sequence[str], environ: Mapping[str, str]) -> str:
    given = {"PYTHONFAULTHANDLER": "1", **dict(program.environment), **environ}
    lines = "".join(f"Environment={_quoted(f'{key}={value}', '')}\n" for key, value in given.items())
    executable, *arguments = command
    if any(char in executable for char in "\"'\\"):
        raise Unfit(f"{executable!r} cannot be named in a systemd unit: it holds a quotation mark or a backslash.")
    line = " ".join([_quoted(executable, ""), *(_quoted(argument, "$") for argument in arguments)])
    settings = _printed(environ["XDG_CONFIG_HOME"]).replace("%", "%%") if "XDG_CONFIG_HOME" in environ else "%E"
    return _SERVICE.format(environment=lines, settings=settings, name=program.name, command=line)


def _quoted(text: str, doubled: str) -> str:
    """Return a word as systemd.syntax(7) wants it; `doubled` are further characters that mean something there."""
    _printed(text)
    for char in f"%{doubled}":
        text = text.replace(char, char * 2)
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if not text or any(char in text for char in " \\\"';#") else text


def _printed(text: str) -> str:
    if not text.isprintable():
        raise Unfit(f"{text!r} cannot be named in a systemd unit: it holds characters that cannot be printed.")
    return text


# --- whether somebody has changed it ---------------------------------------------------------------------------


def marked(text: str) -> str:
    """Return a file with lines above it that tell later whether it was changed."""
    return f"{MARK}{_digest(text)}\n{ADVICE}\n{text}"


def is_unchanged(text: str) -> bool:
    """Tell whether a file is as some release wrote it."""
    first, _, rest = text.partition("\n")
    return first.startswith(MARK) and rest.startswith(ADVICE) and first == MARK + _digest(rest.partition("\n")[2])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
