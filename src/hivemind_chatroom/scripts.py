"""`hivemind-flask-chatroom`: the command line. Failures are one line on stderr and exit code 1."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from hivemind_bus_client.log_lines import AUTO, FORMATS
from hivemind_bus_client.sd_notify import Notifier

from . import keyfile, logs, sockets
from .access import refuse_address
from .credentials import CredentialsError, Hub, make_client
from .history import History, HistoryError
from .names import Unfit, room_name
from .settings import DEFAULT_PORT, DEFAULT_ROOM, Access, Limits, Settings, Times
from .version import __version__

PREFIX = "HIVEMIND_CHATROOM"
"""Of the environment variables: every option has one."""
PACKAGES = frozenset({"flask", "waitress", "werkzeug", "jinja2", "itsdangerous", "markupsafe"})
INSTALL = "pip install 'hivemind-mesh[chatroom]'"
DEFAULT_HISTORY = "default"
FAILURES = (sockets.BindError, keyfile.KeyFileError, HistoryError, logs.LogFileError, CredentialsError)
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True)
class Options:
    """The command line, read."""

    host: str
    port: int
    log_level: str
    log_path: str
    log_format: str
    hub: Hub
    settings: Settings
    until_eof: bool = False
    """Stop when standard input ends: whoever started this has ended."""


# --- single values ------------------------------------------------------------------------------------------------


def _prefix(context: click.Context, parameter: click.Parameter, value: str) -> str:
    found = value.rstrip("/")
    if not _PREFIX.fullmatch(found):
        raise click.BadParameter("a prefix is a path such as /chat, of letters, digits and . _ ~ -")
    return found


def _each(values: tuple[str, ...]) -> list[str]:
    """Return the values of a repeatable option; in the environment commas stand between them, or blanks."""
    return [part for value in values for part in value.replace(",", " ").split()]


def _networks(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[Any, ...]:
    try:
        return tuple(ipaddress.ip_network(value, strict=False) for value in _each(values))
    except ValueError as error:
        raise click.BadParameter(f"{error}; give an address or a network such as 10.0.0.0/8") from None


def _hosts(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in _each(values):
        if "/" in value or not value.isprintable():
            raise click.BadParameter(f"{value!r} is no host name: give it as in chat.example.org")
    return tuple(value.lower().rstrip(".") for value in _each(values))


def _not_blank(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    if value is not None and not value.strip():
        raise click.BadParameter("cannot be blank")
    return value or ""


def _room(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        return room_name(value)
    except Unfit as error:
        raise click.BadParameter(f"{error.message} {error.cure}") from None


def _from(least: int) -> click.IntRange:
    return click.IntRange(min=least, max=1_000_000)


def _satellite(name: str) -> list[str]:
    """The variables of an option that the containers of released satellites know under another name."""
    return [f"{PREFIX}_{name}", f"SAT_{name.removeprefix('HUB_')}"]


# --- the command --------------------------------------------------------------------------------------------------


@click.command(context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": PREFIX})
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="Chatroom port.")
@click.option("--host", default="0.0.0.0", show_default=True, help="Bind address.")
@click.option(
    "--log-level",
    type=click.Choice(logs.LEVELS, case_sensitive=False),
    default="DEBUG",
    metavar="|".join(logs.LEVELS),
    show_default=True,
    help="How much to log; what people write is never logged.",
)
@click.option("--log-path", help='Log directory (default: <xdg_state>/hivemind), or "stdout" to log to the console.')
@click.option(
    "--log-format",
    type=click.Choice(FORMATS, case_sensitive=False),
    default=AUTO,
    help="How its lines look (default: journal where systemd keeps the log, else plain).",
)
@click.option("--key", envvar=_satellite("KEY"), help="The hub's access key (default: identity).")
@click.option("--password", envvar=_satellite("PASSWORD"), help="The password (default: identity).")
@click.option(
    "--hub-host", envvar=_satellite("HUB_HOST"), help="The hub's host, ws://, wss://, http:// or https:// (identity)."
)
@click.option(
    "--hub-port", type=click.IntRange(1, 65535), envvar=_satellite("HUB_PORT"), help="The hub's port (identity)."
)
@click.option("--app", metavar="NAME", help="Use the identity of this application instead of the shared one.")
@click.option(
    "--site-id", default=DEFAULT_ROOM, show_default=True, callback=_room, help="Where this satellite says it stands."
)
@click.option("--room-password", callback=_not_blank, help="Everybody signs in with it, from wherever they come.")
@click.option("--open", is_flag=True, help="Serve every address, not the local network only.")
@click.option("--allowed-host", multiple=True, callback=_hosts, help="Another name browsers reach it by. Repeatable.")
@click.option(
    "--trusted-proxy",
    multiple=True,
    metavar="ADDRESS|NETWORK",
    callback=_networks,
    help="A reverse proxy whose X-Forwarded-* headers are believed. Repeatable.",
)
@click.option("--prefix", default="", metavar="/PATH", callback=_prefix, help="Path a reverse proxy serves it under.")
@click.option(
    "--title", default=Settings.title, show_default=True, callback=_not_blank, help="What stands above the page."
)
@click.option("--private", is_flag=True, help="Everybody sees their own conversation only.")
@click.option("--embeds", is_flag=True, help="Show pictures, sound and videos of other hosts in the page.")
@click.option(
    "--history",
    is_flag=False,
    flag_value=DEFAULT_HISTORY,
    metavar="[FILE]",
    help="Keep the rooms over restarts (default: <xdg_state>/hivemind/chatroom/history.db).",
)
@click.option(
    "--max-length", type=_from(1), default=Limits.message_length, show_default=True, help="Characters of a message."
)
@click.option(
    "--rate", type=_from(1), default=Limits.messages_a_minute, show_default=True, help="Messages a minute and browser."
)
@click.option("--max-users", type=_from(1), default=Limits.users, show_default=True, help="Names known at a time.")
@click.option("--max-rooms", type=_from(1), default=Limits.rooms, show_default=True, help="Rooms known at a time.")
@click.option(
    "--streams", type=click.IntRange(0, 4096), default=Limits.streams, show_default=True, help="Open event streams."
)
@click.option(
    "--answer-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=Times.answer,
    show_default=True,
    help="Seconds after which a question counts as unanswered.",
)
@click.option("--until-eof", is_flag=True, hidden=True, help="Stop when standard input ends.")
@click.version_option(__version__, prog_name="hivemind-flask-chatroom")
def main(**given: Any) -> None:
    """A chatroom in the browser: many people, one HiveMind satellite.

    Every option may be given in the environment instead, such as HIVEMIND_CHATROOM_PORT; the credentials also as
    SAT_KEY, SAT_PASSWORD, SAT_HOST and SAT_PORT.
    """
    options = read(given)
    try:
        ended_well = run(options)
    except FAILURES as error:
        raise click.ClickException(str(error)) from None
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in PACKAGES:
            raise
        raise click.ClickException(f"The chatroom needs {error.name}, which is not installed. Run: {INSTALL}") from None
    raise click.exceptions.Exit(0 if ended_well else 1)


def read(given: dict[str, Any]) -> Options:
    """Return what the options say."""
    hub = Hub(given["key"], given["password"], given["hub_host"], given["hub_port"], given["app"], given["site_id"])
    settings = Settings(
        title=given["title"],
        site_id=given["site_id"],
        prefix=given["prefix"],
        always_private=given["private"],
        embeds=given["embeds"],
        history=_history_path(given["history"]),
        access=Access(given["room_password"], given["open"], given["allowed_host"], given["trusted_proxy"]),
        limits=Limits(
            message_length=given["max_length"],
            messages_a_minute=given["rate"],
            users=given["max_users"],
            rooms=given["max_rooms"],
            streams=given["streams"],
        ),
        times=Times(answer=given["answer_timeout"]),
    )
    log_path = given["log_path"] or str(keyfile.state_dir())
    logging = (given["log_level"], log_path, given["log_format"])
    return Options(given["host"], given["port"], *logging, hub, settings, given["until_eof"])


def _history_path(given: str | None) -> Path | None:
    if not given:
        return None
    if given == DEFAULT_HISTORY:
        return keyfile.default_path().with_name("history.db")
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise click.BadParameter(f"{given!r}: there is no such account", param_hint="--history") from None


def run(options: Options) -> bool:
    """Run the chatroom until it is told to stop; tell whether it ended because it was told to.

    Raises one of FAILURES when it cannot run, ModuleNotFoundError where the web packages are missing.
    """
    from .app import create_app
    from .chat import Chat
    from .hive import Hive
    from .server import Server, StopSignals, end_with_input, serve
    from .shares import share_of
    from .supervision import Supervision

    notifier = Notifier.from_environment()
    make_client(options.hub)  # its failures are the most likely ones: they come first
    logs.start(options.log_level, options.log_path, options.log_format)
    settings = replace(options.settings, secret=keyfile.read_or_create(keyfile.default_path()))
    stop = StopSignals()
    stop.install()
    with sockets.listen(options.host, options.port) as listener:
        history = None if settings.history is None else History(settings.history, settings.limits.rooms)
        chat = Chat(settings, history)
        hive = Hive(chat, partial(make_client, options.hub), options.hub.app)
        server = Server(create_app(chat), listener, settings.limits.streams, share_of(settings))
        _say_where(options, server.port)
        if options.until_eof:
            end_with_input(stop)
        supervision = Supervision(notifier, server, chat)
        supervision.start()
        return serve(server, chat, hive, stop, supervision.ending)


def _say_where(options: Options, port: int) -> None:
    """Print where the page is, and who can see it."""
    rules = options.settings.access
    first, *others = sockets.addresses(options.host, port, options.settings.prefix)
    click.echo(f"The chatroom is open at {first}")
    for address in others:
        refused = refuse_address(urlsplit(address).hostname or "", rules, signed_in=False)
        if refused is None:
            click.echo(f"On a phone in the same network: {address}")
    if rules.open and not rules.room_password and not sockets.is_loopback(options.host):
        click.echo("Warning: --open serves everybody who can reach this machine, without a password.", err=True)
