"""The command lines: all that is typed ends in 0, 1 or 2 and a line that says why, and changes nothing elsewhere."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click

import hivemind_bus_client.doctor.command
import hivemind_chatroom.app
import hivemind_chatroom.scripts as chatroom
import hivemind_core.cluster.enrolment
import hivemind_core.cluster.roll
import hivemind_core.doctor.command
import hivemind_core.service as service
from fuzz.inputs import BREAK, HOSTILE_JSON, Choices, pieces
from fuzz.place import emptied, folder, write
from fuzz.sandbox import sandbox
from helpers import vectors
from hivemind_bus_client import identity as identities
from hivemind_bus_client import noise
from hivemind_bus_client.client import HiveMessageBusClient
from hivemind_bus_client.exceptions import HubUnreachable
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.scripts import hmclient_cmds
from hivemind_core.clients import Client
from hivemind_core.config import Config
from hivemind_core.database import ClientDatabase
from hivemind_core.roles import ROLES
from hivemind_core.scripts import hmcore_cmds
from hivemind_core.storage.sqlite import SQLiteStore
from hivemind_core.testing import quick_psk

LATE = (hivemind_bus_client.doctor, hivemind_core.cluster, hivemind_core.doctor, hivemind_chatroom.app)
"""What commands import when they run; imported here so that its coverage is seen."""
PASSWORD = "walnut lantern orbit cipher"
PROGRAMS: tuple[tuple[str, click.Command], ...] = (
    ("hivemind-core", hmcore_cmds),
    ("hivemind-client", hmclient_cmds),
    ("hivemind-flask-chatroom", chatroom.main),
)
SHOWING = ("--show-secrets", "delete-client", "export-clients", "rotate-password", PASSWORD)
"""What has passwords shown."""
CONFIGURATIONS: tuple[dict[str, Any], ...] = (
    {"cluster": {"url": "redis://u:p@redis.invalid:6379/0"}},
    {"database": {"module": "hivemind-json-db-plugin"}},
    {"database": {"module": "hivemind-redis-db-plugin", "hivemind-redis-db-plugin": {"host": "redis.invalid"}}},
    {"network_protocol": {"hivemind-http-plugin": {"ssl": True}}, "admin": {"port": 1}},
    {"upstream": {"enabled": True, "host": "ws://h", "key": "k", "password": "p"}, "rendezvous": {"enabled": True}},
    {"agent_protocol": {"module": "embedded"}, "binary_protocol": {"module": "files", "files": {"folder": "~/f"}}},
    {"policy": {"chain": [{"module": "no such"}]}, "no such": {"password": "p"}},
    {"access_key": "k", "password": "p", "default_master": "http://h", "default_port": "x", "name": "a/b"},
)
MAX_ARGUMENTS = 24
MAX_OUTPUT = 256 * 1024
MAX_SLEEPS = 1000
FILES = {
    "hivemind-core": "c/hivemind-core/server.json",
    "hivemind-client": "c/hivemind/_identity.json",
    "hivemind-flask-chatroom": "c/hivemind/_identity.json",
}
"""What a program reads; an input may have its content after a break."""
FOLDERS = {"HOME": "", "XDG_CONFIG_HOME": "c", "XDG_DATA_HOME": "d", "XDG_STATE_HOME": "s", "XDG_CACHE_HOME": "k"}


def names(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts) if isinstance(parameter, click.Option) else ()
    for name, below in getattr(command, "commands", {}).items():
        yield name
        yield from names(below)


WORDS: tuple[str, ...] = (
    *sorted({name for _, program in PROGRAMS for name in names(program)}),
    *sorted(ROLES),
    "a" * 300,
)


def seeds() -> Iterator[bytes]:
    for number, (_, program) in enumerate(PROGRAMS):
        yield bytes([number])
        yield bytes([number]) + b"--help"
        yield bytes([number]) + b"--version"
        for name, command in getattr(program, "commands", {}).items():
            yield from (bytes([number]) + "\n".join(argv).encode() for argv in _courses(name, command))
        for option in program.params:
            for value in ("1", "x", ""):
                yield bytes([number]) + "\n".join((option.opts[0], value)).encode()
    for document in (*map(json.dumps, CONFIGURATIONS), *HOSTILE_JSON):
        text = document if isinstance(document, bytes) else document.encode()
        for typed in ("print-config", "list-clients", "listen", "doctor\n--json", "cluster\nstatus", "healthcheck"):
            yield b"\0" + typed.encode() + BREAK + text
        for typed in ("set-identity\n--port\n5", "terminal", "doctor", "forget-server\nx"):
            yield b"\1" + typed.encode() + BREAK + text
        yield b"\2" + BREAK + text
    yield b"\0add-client\n--name\nhall\n--password\n" + PASSWORD.encode() + b"\n--access-key\nk"
    yield b"\0migrate-db\n--from\nhivemind-sqlite-db-plugin\n--to\nhivemind-json-db-plugin"
    yield b"\0--config\nnowhere.json\nlist-clients"
    yield b"\1set-identity\n--key\nk\n--password\np\n--host\nws://h\n--port\n5\n--siteid\ns"
    yield b"\1forget-server\nhub:1"
    yield b"\1--app\nsat\nset-identity\n--key\nk"
    yield b"\2--key\nk\n--password\np\n--hub-host\nws://127.0.0.1\n--port\n0\n--history\n~nobody/x"


def _courses(name: str, command: click.Command) -> Iterator[list[str]]:
    """Return ways to call a command, right and wrong."""
    yield [name]
    yield [name, "--help"]
    yield [name, "1"]
    yield [name, "1", "x"]
    yield [name, "kitchen", "recognizer_loop:utterance"]
    for option in command.params:
        for value in ("1", "kitchen", '{"a": 1}'):
            yield [name, option.opts[0], value] if isinstance(option, click.Option) else [name, value]
    for below in getattr(command, "commands", {}):
        yield [name, below]


@cache
def _template() -> Path:
    """Return a home with a hub that has two clients, and a satellite."""
    home = folder() / "template"
    pair = vectors.load("rsa_handshake")
    for path, name in ((home / "c" / "hivemind-core", "hivemind-core"), (home / "c" / "hivemind", "sat")):
        identity = NodeIdentity(path / "_identity.json")
        identities.write_private(path / identities.RSA_KEY_NAME, pair["server_private_pem"])
        identity.name, identity.private_key, identity.public_key = (
            name,
            identities.RSA_KEY_NAME,
            pair["server_public_pem"],
        )
        identity.access_key, identity.password, identity.default_master = "key", PASSWORD, "ws://127.0.0.1"
        identity.default_port, identity.pinned_noise_keys = 5678, {"hub:1": "00" * 32}
        identity.save()
        identities.read_or_create_noise_key(identity.noise_key)
    db = ClientDatabase(SQLiteStore(home / "d" / "hivemind-core" / "clients.db"))
    db.add(Client(0, "key", "kitchen", password=PASSWORD))
    db.add(Client(0, "other", "hall", password=PASSWORD, is_admin=True, metadata={"a": 1}))
    db.close()
    (home / "tmp").mkdir()
    return home


async def _build_and_end(config: Config, greet: bool) -> int:
    """Stand in for running: put a hub together, as far as nobody listens."""
    built = service.build(config)
    built.hub.keys.stop()
    built.hub.binary.stop()
    built.hub.workers.stop()
    built.hub.db.close()
    return service.EXIT_OK


def _unreachable(client: Any, *args: Any, **kwargs: Any) -> None:
    raise HubUnreachable("Nothing answers there.")


def _new_pair(key_size: int = 0) -> tuple[str, str]:
    pair = vectors.load("rsa_handshake")
    return pair["client_public_pem"], pair["client_private_pem"]


class _Sleeps:
    """Time passes at once, and not for ever."""

    def __init__(self) -> None:
        self.left = MAX_SLEEPS

    def __call__(self, seconds: float) -> None:
        self.left -= 1
        assert self.left > 0, "it waits for ever"


@contextmanager
def _replaced() -> Iterator[None]:
    """What is slow, runs on, or needs a hub."""
    with (
        patch.object(service, "_serve", _build_and_end),
        patch.object(HiveMessageBusClient, "connect", _unreachable),
        patch.object(identities, "create_RSA_key", _new_pair),
        patch.object(noise, "derive_psk", quick_psk),
        patch.object(time, "sleep", _Sleeps()),
    ):
        yield


def run(data: bytes) -> None:
    choices = Choices(data)
    name, program = PROGRAMS[choices.below(len(PROGRAMS))]
    typed, file = [*pieces(choices.rest(), 2), b"", b""][:2]
    texts = typed.replace(b"\0", b"").split(b"\n", MAX_ARGUMENTS)
    arguments = [os.fsdecode(text) for text in texts if text or len(texts) > 1]
    template, home = _template(), emptied("home")
    shutil.copytree(template, home, dirs_exist_ok=True)
    if file:
        write(home / FILES[name], file)
    environ = {variable: str(home / below) for variable, below in FOLDERS.items()}
    before, log_before = os.getcwd(), _LogBefore()
    os.chdir(home)
    try:
        with patch.dict(os.environ, environ), patch.object(tempfile, "tempdir", str(home / "tmp")), _replaced():
            _tried(name, program, arguments, home)
    finally:
        os.chdir(before)
        log_before.restore()


def _tried(name: str, program: click.Command, arguments: list[str], home: Path) -> None:
    named = [part for argument in arguments for part in (argument, argument.partition("=")[2])]
    with sandbox(home, named) as strayed:
        status, out, err = _ended(lambda: program.main(arguments, prog_name=name))
    assert not strayed(), f"it writes to {strayed()}"
    assert status in (0, 1, 2), f"exit status {status}"
    assert "Traceback (most recent call last)" not in out + err, "a traceback was shown"
    assert status == 0 or (out + err).strip(), "it fails without a word"
    assert status != 2 or any(word in err for word in ("Error: ", "Usage: ")), (
        f"wrong usage, and no word of it: {err!r}"
    )
    errors = err.count("\nError: ") + err.startswith("Error: ")
    assert errors <= 1, "more than one error"
    assert len(out) + len(err) <= MAX_OUTPUT
    shows = any(text in arguments for text in SHOWING)
    assert shows or PASSWORD not in out + err, "a password is shown unasked"


def _ended(main: Callable[[], object]) -> tuple[object, str, str]:
    """Run a program as a process would; return its exit status and what it printed."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors=errors) for errors in ("strict", "backslashreplace"))
    stdin = io.TextIOWrapper(io.BytesIO(), "utf-8")
    status: object = None
    with patch.object(sys, "stdin", stdin), patch.object(sys, "stdout", out), patch.object(sys, "stderr", err):
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
        out.flush()
        err.flush()
    texts = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return status, texts[0], texts[1]


class _LogBefore:
    """What the log was like, to undo what a program did to it."""

    def __init__(self) -> None:
        found = logging.root.manager.loggerDict.values()
        named = [logger for logger in found if isinstance(logger, logging.Logger)]
        self._loggers = {logger: (logger.level, list(logger.handlers)) for logger in (logging.root, *named)}

    def restore(self) -> None:
        for logger in _LogBefore()._loggers:
            level, handlers = self._loggers.get(logger, (logging.NOTSET, []))
            for handler in [handler for handler in logger.handlers if handler not in handlers]:
                logger.removeHandler(handler)
                handler.close()
            logger.setLevel(level)
