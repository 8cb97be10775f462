"""What the commands of `hivemind-client` take: their options, and the messages that are made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from .answers import ASKED
from .codec import loads
from .exceptions import InvalidJson
from .message import Message

F = TypeVar("F", bound=Callable[..., Any])

UTTERANCE = "recognizer_loop:utterance"
DEFAULT_TIMEOUT_S = 30.0


class Mistake(click.ClickException, ValueError):
    """A command was given what it cannot use."""


@dataclass(frozen=True)
class Target:
    """The options of all commands that connect: which hub, and as whom."""

    key: str = field(repr=False)
    password: str = field(repr=False)
    host: str
    port: int | None
    siteid: str
    timeout: float


def time_limit(default_s: float, text: str) -> Callable[[F], F]:
    """The option for how long to wait, in seconds."""
    some_time = click.FloatRange(min=0, min_open=True)
    return click.option("--timeout", type=some_time, default=default_s, show_default=True, help=text)


def link_options(command: F) -> F:
    """The options of a command that connects, the time limit apart."""
    for option in (
        click.option("--siteid", default="", help="Where this satellite stands, such as a room."),
        click.option("--port", type=int, help="The hub's port (identity, else 5678; HTTP 5679)."),
        click.option(
            "--host", default="", help="The hub's host, ws://, wss://, http:// or https:// (default: identity)."
        ),
        click.option("--password", default="", help="The password (default: identity)."),
        click.option("--key", default="", help="The access key (default: identity)."),
    ):
        command = option(command)
    return command


def connect_options(command: F) -> F:
    """The options of a command that connects."""
    return time_limit(DEFAULT_TIMEOUT_S, "Seconds to try to connect.")(link_options(command))


def message_options(command: F) -> F:
    """The options of the commands that send one OVOS message."""
    command = click.option("--payload", default="", help="Its data, a JSON object.")(command)
    return click.option("--msg", default="", help="Type of the message, such as recognizer_loop:utterance.")(command)


def question_options(command: F) -> F:
    """The options of the commands that ask something."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the answers as JSON, and nothing else, on stdout."),
        click.option(
            "--payload", default="", help="Instead: the data of the message, a JSON object; then --msg is its type."
        ),
        click.option("--msg", default="", help="What to ask, such as 'what time is it'."),
        time_limit(DEFAULT_TIMEOUT_S, "Seconds to wait for an answer, and for more of it."),
        link_options,
    ):
        command = option(command)
    return command


def bus_message(msg_type: str, payload: str) -> Message:
    """Return the OVOS message that --msg and --payload describe. Raises Mistake."""
    if not msg_type:
        raise Mistake("please give the type of the message with --msg")
    try:
        data = loads(payload) if payload else {}
    except InvalidJson as error:
        raise Mistake(f"--payload is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise Mistake('--payload must be a JSON object, such as \'{"utterances": ["hello"]}\'')
    return Message(msg_type, data)


def question(msg: str, payload: str) -> Message:
    """Return the utterance that --msg is, or the OVOS message that --payload describes. Raises Mistake."""
    if payload:
        return bus_message(msg or UTTERANCE, payload)
    if not msg.strip():
        raise Mistake("please say what to ask with --msg")
    if msg in ASKED:
        raise Mistake(f'--msg {msg} asks nothing: give --msg "what time is it", or the data with --payload')
    return Message(UTTERANCE, {"utterances": [msg.strip()]})
