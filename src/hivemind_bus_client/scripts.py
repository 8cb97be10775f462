"""`hivemind-client`: set up a satellite, test it, talk through it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import click

from .address import DEFAULT_PORT, Address, is_http, known_port, parse_address
from .client import HiveMessageBusClient
from .codec import dumps
from .denials import DENIED, Denial, read_denial
from .driver import HandshakeTimedOut
from .exceptions import HiveMindException, NotConnected
from .identity import NodeIdentity
from .log_lines import PlainLines
from .message import HiveMessage, HiveMessageType, Message
from .options import (
    Mistake,
    Target,
    bus_message,
    connect_options,
    link_options,
    message_options,
    question,
    question_options,
    time_limit,
)
from .ping import Ping
from .psk_cache import clear_cached_psks
from .question import Question
from .session import UNKNOWN_SITE
from .terminal import Screen, Terminal, printable
from .version import __version__

PING_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 10.0
PROBE = "what time is it"
MIN_CONNECT_S = 10.0
"""How long `ping`, whose --timeout is for answers, tries to connect at least."""
DENIAL_GRACE_S = 0.3
"""How long after the hub has read a message its denial may take to come."""

THIS_MACHINE = "ws://127.0.0.1"
"""The hub of who has never named one."""

CONNECTED = "== connected to HiveMind"


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
    return (
        text
        if isinstance(error, (HiveMindException, OSError, ValueError, ImportError))
        else f"{type(error).__name__}: {text}"
    )


@dataclass(frozen=True)
class _Choice:
    """Which identity the commands work on."""

    app: str | None


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
    if not debug:
        logger.addHandler(logging.NullHandler())
        return
    handler = logging.StreamHandler()
    handler.setFormatter(PlainLines("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)


def _client(link: Target) -> HiveMessageBusClient:
    identity = _node_identity()
    try:
        return _class_for(link.host or identity.default_master)(
            key=link.key or None,
            password=link.password or None,
            host=link.host or None,
            port=link.port,
            identity=identity,
        )
    except (RuntimeError, ValueError) as error:
        raise click.ClickException(str(error)) from None


def _class_for(host: Any) -> type[HiveMessageBusClient]:
    """What speaks with a host that is written like this."""
    if not isinstance(host, str) or not is_http(host):
        return HiveMessageBusClient
    from .http_client import HiveMindHTTPClient

    return HiveMindHTTPClient


@contextmanager
def _connected(link: Target) -> Iterator[HiveMessageBusClient]:
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


def _connect(client: HiveMessageBusClient, link: Target) -> None:
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
@click.option(
    "--host",
    default="",
    help="The hub's host: a name, ws://name, wss://name, http://name or https://name (at first: this machine).",
)
@click.option("--port", type=int, help="The hub's port (default 5678, HTTP 5679).")
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
        identity.default_master = f"{address.scheme}://{address.host}"
        identity.default_port = address.port
    else:
        identity.default_master = identity.default_master or THIS_MACHINE
        identity.default_port = identity.default_port or DEFAULT_PORT
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
    return _parsed(known, port, identity)


def _parsed(host: str, port: int | None, identity: NodeIdentity) -> Address:
    stored = known_port(identity.default_port, identity.default_master, is_http(host))
    return parse_address(host, port, stored, http=None)


@hmclient_cmds.command("test-identity")
@connect_options
def test_identity(**options: Any) -> None:
    """Connect once and say whether the hub accepts this satellite."""
    with _connected(Target(**options)):
        click.echo("== Identity successfully connected to HiveMind!")


@hmclient_cmds.command("doctor")
@time_limit(PROBE_TIMEOUT_S, "Seconds to try to connect, and to wait for the answer to the probe.")
@link_options
@click.option("--probe", default=PROBE, show_default=True, help="What to ask the assistant.")
@click.option("--no-probe", is_flag=True, help="Ask the assistant nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and nothing else.")
def doctor(probe: str, no_probe: bool, as_json: bool, **options: Any) -> None:
    """Check all that can be wrong here, up to a question to the assistant; change nothing."""
    from .doctor.command import examine
    from .doctor.visit import Visit
    from .identity import identity_path

    choice = click.get_current_context().find_object(_Choice)
    app = choice.app if choice else None
    visit = Visit(Target(**options), identity_path(app), lambda: NodeIdentity(app_name=app))
    visit.probe = "" if no_probe else probe.strip()
    examine(visit, as_json=as_json)


@hmclient_cmds.command("terminal")
@connect_options
def terminal(**options: Any) -> None:
    """Talk to the hive by keyboard; ends with Ctrl-D."""
    link = Target(**options)
    with _connected(link) as client:
        click.echo(CONNECTED)
        conversation = Terminal(client, Screen(), link.timeout)
        refusal = conversation.run()
        if refusal:
            raise click.ClickException(f"HiveMind refused this identity: {refusal}")
        if conversation.failed:
            raise click.exceptions.Exit(1)


@hmclient_cmds.command("send-mycroft")
@connect_options
@message_options
def send_mycroft(msg: str, payload: str, **options: Any) -> None:
    """Send one OVOS message and say if the hub denies it."""
    _deliver(HiveMessage(HiveMessageType.BUS, bus_message(msg, payload)), Target(**options))


@hmclient_cmds.command("escalate")
@connect_options
@message_options
def escalate(msg: str, payload: str, **options: Any) -> None:
    """Send one OVOS message to the hubs above."""
    _deliver_routed(HiveMessageType.ESCALATE, bus_message(msg, payload), Target(**options))


@hmclient_cmds.command("propagate")
@connect_options
@message_options
def propagate(msg: str, payload: str, **options: Any) -> None:
    """Send one OVOS message to all nodes; those at the site of --siteid that trust this one act on it."""
    _deliver_routed(HiveMessageType.PROPAGATE, bus_message(msg, payload), Target(**options))


def _deliver_routed(kind: HiveMessageType, message: Message, link: Target) -> None:
    site = link.siteid or _node_identity().site_id or UNKNOWN_SITE
    _deliver(HiveMessage(kind, HiveMessage(HiveMessageType.BUS, message), target_site_id=site), link)


def _deliver(message: HiveMessage, link: Target) -> None:
    with _connected(link) as client:
        click.echo(CONNECTED)
        denials = _send(client, message)
    if denials:  # the last to come is there: the client has ended after its handlers
        raise click.ClickException(printable(str(denials[0])))


def _send(client: HiveMessageBusClient, message: HiveMessage) -> list[Denial]:
    """Send a message and return where the hub's denial of it is noted, if one comes.

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
    return denials


@hmclient_cmds.command("query")
@question_options
def query(**options: Any) -> None:
    """Ask the hub, and those above it until one has an answer."""
    _ask(HiveMessageType.QUERY, **options)


@hmclient_cmds.command("cascade")
@question_options
def cascade(**options: Any) -> None:
    """Ask all hubs of the mesh, and print what each has to say."""
    _ask(HiveMessageType.CASCADE, **options)


def _ask(kind: HiveMessageType, msg: str, payload: str, as_json: bool, **options: Any) -> None:
    link, message = Target(**options), question(msg, payload)

    def tell(text: str) -> None:
        if not as_json:
            click.echo(f">  {printable(text)}")

    with _connected(replace(link, timeout=max(link.timeout, MIN_CONNECT_S))) as client:
        click.echo(CONNECTED, err=as_json)
        asked = Question(client, kind, tell)
        asked.ask(message, link.timeout)
    if as_json:
        click.echo(dumps(asked.as_dict()))
    if asked.problem:
        raise click.ClickException(printable(asked.problem))


@hmclient_cmds.command("ping")
@time_limit(PING_TIMEOUT_S, "Seconds to wait for answers.")
@link_options
@click.option("--json", "as_json", is_flag=True, help="Print the map as JSON, and nothing else, on stdout.")
def ping(as_json: bool, **options: Any) -> None:
    """Ask every node of the mesh to show itself, and draw the map."""
    link = Target(**options)
    window_s = link.timeout

    def tell(text: str) -> None:
        click.echo(printable(text), err=as_json)

    with _connected(replace(link, timeout=max(window_s, MIN_CONNECT_S))) as client:
        tell(f"{CONNECTED}, sending PING (timeout={window_s}s)")
        flood = Ping(client, client.identity.name, tell, client.identity.public_key)
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
    server = _parsed(known, port, identity).pin_id
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
