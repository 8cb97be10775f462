"""`hivemind-client`: set up a satellite, test it, talk through it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import click

from .address import DEFAULT_PORT, Address, parse_address
from .client import HiveMessageBusClient
from .codec import loads
from .denials import DENIED, Denial, read_denial
from .driver import HandshakeTimedOut
from .exceptions import HiveMindException, InvalidJson, NotConnected
from .identity import NodeIdentity
from .message import HiveMessage, HiveMessageType, Message
from .ping import Ping
from .psk_cache import clear_cached_psks
from .session import UNKNOWN_SITE
from .terminal import Screen, Terminal, printable
from .version import __version__

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_TIMEOUT_S = 30.0
PING_TIMEOUT_S = 5.0
MIN_CONNECT_S = 10.0
"""How long `ping`, whose --timeout is for answers, tries to connect at least."""
DENIAL_GRACE_S = 0.3
"""How long after the hub has read a message its denial may take to come."""

CONNECTED = "== connected to HiveMind"


class Mistake(click.ClickException, ValueError):
    """A command was given what it cannot use."""


class _Commands(click.Group):
    """Every failure becomes one line on stderr and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, (HiveMindException, OSError, ValueError)) else f"{type(error).__name__}: {text}"


@dataclass(frozen=True)
class _Choice:
    """Which identity the commands work on."""

    app: str | None


@dataclass(frozen=True)
class _Link:
    """The options that all commands have that connect."""

    key: str = field(repr=False)
    password: str = field(repr=False)
    host: str
    port: int | None
    siteid: str
    timeout: float


def _note(text: str) -> None:
    click.echo(printable(text), err=True)


def _node_identity(shared_fallback: bool = True) -> NodeIdentity:
    choice = click.get_current_context().find_object(_Choice)
    if choice is None or choice.app is None:
        return NodeIdentity()
    return NodeIdentity(app_name=choice.app, shared_fallback=shared_fallback)


@click.group(cls=_Commands)
@click.version_option(__version__, prog_name="hivemind-client")
@click.option("--app", metavar="NAME", help="Use the identity of this application instead of the shared one.")
@click.option("--debug", is_flag=True, help="Show the log and full error reports on stderr.")
@click.pass_context
def hmclient_cmds(ctx: click.Context, app: str | None, debug: bool) -> None:
    """A satellite of a HiveMind: set it up, test it, talk through it."""
    ctx.obj = _Choice(app)
    logger = logging.getLogger(__package__)
    logger.addHandler(logging.StreamHandler() if debug else logging.NullHandler())
    if debug:
        logger.setLevel(logging.DEBUG)


def _timeout(default_s: float, text: str) -> Callable[[F], F]:
    some_time = click.FloatRange(min=0, min_open=True)
    return click.option("--timeout", type=some_time, default=default_s, show_default=True, help=text)


def _link_options(command: F) -> F:
    """The options of a command that connects, the time limit apart."""
    for option in (
        click.option("--siteid", default="", help="Where this satellite stands, such as a room."),
        click.option("--port", type=int, help="The hub's port (identity, else 5678)."),
        click.option("--host", default="", help="The hub's host, ws:// or wss:// (default: identity)."),
        click.option("--password", default="", help="The password (default: identity)."),
        click.option("--key", default="", help="The access key (default: identity)."),
    ):
        command = option(command)
    return command


def _connect_options(command: F) -> F:
    return _timeout(DEFAULT_TIMEOUT_S, "Seconds to try to connect.")(_link_options(command))


def _message_options(command: F) -> F:
    """The options of the commands that send one OVOS message."""
    command = click.option("--payload", default="", help="Its data, a JSON object.")(command)
    return click.option("--msg", default="", help="Type of the message, such as recognizer_loop:utterance.")(command)


def _client(link: _Link) -> HiveMessageBusClient:
    try:
        return HiveMessageBusClient(
            key=link.key or None,
            password=link.password or None,
            host=link.host or None,
            port=link.port,
            identity=_node_identity(),
        )
    except (RuntimeError, ValueError) as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def _connected(link: _Link) -> Iterator[HiveMessageBusClient]:
    """A client that the hub has admitted; how it fails is told in one line."""
    client = _client(link)
    told: list[str] = []

    def tell_once(problem: Exception) -> None:
        if not told:
            told.append(str(problem))
            what = str(problem).split(". ")[0] or "The hub cannot be reached"
            _note(f"{what}. Trying for {link.timeout:g} s…")

    client.on("error", tell_once)
    try:
        _connect(client, link)
        client.remove("error", tell_once)
        yield client
    finally:
        client.close()


def _connect(client: HiveMessageBusClient, link: _Link) -> None:
    try:
        client.connect(site_id=link.siteid or None, timeout=link.timeout)
    except ConnectionRefusedError as error:
        raise click.ClickException(_one_line(error)) from None
    except RuntimeError as error:
        raise click.ClickException(_not_connected(error, link.timeout)) from None


def _not_connected(error: RuntimeError, timeout_s: float) -> str:
    refusal = error.refusal if isinstance(error, HandshakeTimedOut) else None
    if refusal is None or refusal.code in ("unreachable", "not_a_hub"):
        why = (
            str(refusal)
            if refusal
            else ("Check the host and port in the identity file, and that hivemind-core is listening.")
        )
        return f"could not reach HiveMind within {timeout_s:g}s. {why}"
    return f"could not connect to HiveMind within {timeout_s:g}s. {refusal}"


@hmclient_cmds.command("set-identity")
@click.option("--key", default="", help="The access key that `hivemind-core add-client` printed.")
@click.option("--password", default="", help="The password that it printed.")
@click.option("--host", default="", help="The hub's host: a name, ws://name or wss://name.")
@click.option("--port", type=int, help="The hub's port (default 5678).")
@click.option("--siteid", default="", help="Where this satellite stands, such as a room.")
def identity_set(key: str, password: str, host: str, port: int | None, siteid: str) -> None:
    """Store who this satellite is and where its hub is; what is not given stays as it was."""
    if not (key or password or host or port is not None or siteid):
        raise Mistake("please set at least one of key/password/siteid/host[/port]")
    identity = _node_identity(shared_fallback=False)
    address = _chosen_address(identity, host, port)
    if not identity.public_key:
        identity.create_keys()
        click.echo(f"PUBKEY: {identity.public_key}")
    if address is not None:
        identity.default_master = f"{'wss' if address.secure else 'ws'}://{address.host}"
        identity.default_port = address.port
    elif identity.default_port is None:
        identity.default_port = DEFAULT_PORT
    if password and password != identity.password:
        clear_cached_psks(identity.noise_key)
    identity.password = password or identity.password
    identity.access_key = key or identity.access_key
    identity.site_id = siteid or identity.site_id
    identity.save()
    click.echo(f"identity saved: {identity.IDENTITY_FILE.path}")


def _chosen_address(identity: NodeIdentity, host: str, port: int | None) -> Address | None:
    """The hub's address after this command; None if it is not to be changed."""
    if not host and port is None:
        return None
    known = host or identity.default_master
    if not known:
        raise Mistake("a port alone says nothing yet: give --host too")
    return parse_address(known, port, identity.default_port)


@hmclient_cmds.command("test-identity")
@_connect_options
def test_identity(**options: Any) -> None:
    """Connect once and say whether the hub accepts this satellite."""
    with _connected(_Link(**options)):
        click.echo("== Identity successfully connected to HiveMind!")


@hmclient_cmds.command("terminal")
@_connect_options
def terminal(**options: Any) -> None:
    """Talk to the hive by keyboard; ends with Ctrl-D."""
    link = _Link(**options)
    with _connected(link) as client:
        click.echo(CONNECTED)
        conversation = Terminal(client, Screen(), link.timeout)
        refusal = conversation.run()
        if refusal:
            raise click.ClickException(f"HiveMind refused this identity: {refusal}")
        if conversation.failed:
            raise click.exceptions.Exit(1)


@hmclient_cmds.command("send-mycroft")
@_connect_options
@_message_options
def send_mycroft(msg: str, payload: str, **options: Any) -> None:
    """Send one OVOS message and say if the hub denies it."""
    _deliver(HiveMessage(HiveMessageType.BUS, _message(msg, payload)), _Link(**options))


@hmclient_cmds.command("escalate")
@_connect_options
@_message_options
def escalate(msg: str, payload: str, **options: Any) -> None:
    """Send one OVOS message to the hubs above."""
    _deliver_routed(HiveMessageType.ESCALATE, _message(msg, payload), _Link(**options))


@hmclient_cmds.command("propagate")
@_connect_options
@_message_options
def propagate(msg: str, payload: str, **options: Any) -> None:
    """Send one OVOS message to all nodes; those at the site of --siteid that trust this one act on it."""
    _deliver_routed(HiveMessageType.PROPAGATE, _message(msg, payload), _Link(**options))


def _deliver_routed(kind: HiveMessageType, message: Message, link: _Link) -> None:
    site = link.siteid or _node_identity().site_id or UNKNOWN_SITE
    _deliver(HiveMessage(kind, HiveMessage(HiveMessageType.BUS, message), target_site_id=site), link)


def _deliver(message: HiveMessage, link: _Link) -> None:
    with _connected(link) as client:
        click.echo(CONNECTED)
        denial = _send(client, message)
    if denial is not None:
        raise click.ClickException(printable(str(denial)))


def _message(msg_type: str, payload: str) -> Message:
    if not msg_type:
        raise Mistake("please give the type of the message with --msg")
    try:
        data = loads(payload) if payload else {}
    except InvalidJson as error:
        raise Mistake(f"--payload is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise Mistake('--payload must be a JSON object, such as \'{"utterances": ["hello"]}\'')
    return Message(msg_type, data)


def _send(client: HiveMessageBusClient, message: HiveMessage) -> Denial | None:
    """Send a message and return the hub's denial of it, if one comes.

    Raises NotConnected, naming the hub's reason where it is known, if the hub ends the connection over it.
    """
    denials: list[Denial] = []
    denied = threading.Event()

    def note(answer: Any) -> None:
        denials.append(read_denial(answer.data, answer.context))
        denied.set()

    client.on_mycroft(DENIED, note)
    client.emit(message)
    try:
        client.flush()
    except NotConnected as error:
        raise NotConnected(client.problem or str(error)) from None
    denied.wait(DENIAL_GRACE_S)
    return denials[0] if denials else None


@hmclient_cmds.command("ping")
@_timeout(PING_TIMEOUT_S, "Seconds to wait for answers.")
@_link_options
@click.option("--json", "as_json", is_flag=True, help="Print the map as JSON, and nothing else, on stdout.")
def ping(as_json: bool, **options: Any) -> None:
    """Ask every node of the mesh to show itself, and draw the map."""
    link = _Link(**options)
    window_s = link.timeout

    def tell(text: str) -> None:
        click.echo(printable(text), err=as_json)

    with _connected(replace(link, timeout=max(window_s, MIN_CONNECT_S))) as client:
        tell(f"{CONNECTED}, sending PING (timeout={window_s}s)")
        flood = Ping(client, _node_identity().name, tell)
        answered = flood.run(window_s)
    if as_json:
        click.echo(flood.mapper.to_json())
    elif answered:
        tell(f"\n== Hive Map ==\n{flood.mapper.to_ascii(flood.root)}")
    if flood.problem:
        raise click.ClickException(printable(flood.problem))
    if not answered:
        tell("[No responses received within the timeout window]")
        raise click.exceptions.Exit(1)


@hmclient_cmds.command("forget-server")
@click.option("--host", default="", help="The hub's host (default: identity).")
@click.option("--port", type=int, help="The hub's port (identity, else 5678).")
def forget_server(host: str, port: int | None) -> None:
    """Forget a hub's pinned key, after that hub was reinstalled."""
    identity = _node_identity()
    known = host or identity.default_master
    if not known:
        raise Mistake("host not set, please pass --host or call 'hivemind-client set-identity'")
    server = parse_address(known, port, identity.default_port).pin_id
    if identity.forget_noise_key(server):
        click.echo(f"forgot pinned key for {server}")
        click.echo("the next connection will trust and pin the key it sees")
        return
    click.echo(f"no pinned key for {server}")
    click.echo(f"pinned servers: {', '.join(identity.pinned_noise_keys) or 'none'}")


@hmclient_cmds.command("reset-pgp")
def reset_keys() -> None:
    """Make a new RSA key pair for this satellite."""
    identity = _node_identity()
    identity.create_keys()
    identity.save()
    click.echo(f"PUBKEY: {identity.public_key}")
    click.echo(f"identity saved: {identity.IDENTITY_FILE.path}")


if __name__ == "__main__":
    hmclient_cmds()
