"""Checks of single values that the hub's commands take. Each raises BadParameter, before anything is done."""

from __future__ import annotations

from typing import Any

import click

from . import client_metadata
from .clients import REVOKED
from .moments import UNITS_S, parse_duration
from .passwords import strength_bits

MAX_KEY = 255
MAX_DURATION_S = 366 * UNITS_S["d"]


def access_key(ctx: click.Context, param: click.Parameter, key: str | None) -> str | None:
    """Check an access key."""
    if key in ("", REVOKED):
        raise click.BadParameter(f"{key!r} cannot be an access key")
    if key is not None and not (key.isprintable() and len(key) <= MAX_KEY):
        raise click.BadParameter(f"an access key is printable text of at most {MAX_KEY} characters")
    return key


def crypto_key(ctx: click.Context, param: click.Parameter, key: str | None) -> str | None:
    """Check a pre-shared key of protocol 0."""
    problem = None if key is None else client_metadata.problem_with({"crypto_key": key})
    if problem is not None:
        raise click.BadParameter(problem.removeprefix("crypto_key "))
    return key


def json_object(ctx: click.Context, param: click.Parameter, text: str | None) -> dict[str, Any] | None:
    """Parse metadata."""
    from hivemind_bus_client import codec

    if text is None:
        return None
    try:
        value = codec.loads(text)
    except ValueError:
        raise click.BadParameter("must be valid JSON") from None
    if not isinstance(value, dict):
        raise click.BadParameter("must be a JSON object")
    problem = client_metadata.problem_with(value)
    if problem is not None:
        raise click.BadParameter(problem)
    return value


def type_problem(msg_type: str) -> str | None:
    """Say why a text cannot be a message type."""
    if not msg_type:
        return "a message type cannot be empty"
    return "a message type cannot contain white space" if msg_type.split() != [msg_type] else None


def message_types(ctx: click.Context, param: click.Parameter, types: tuple[str, ...]) -> tuple[str, ...]:
    """Check message types."""
    for problem in filter(None, map(type_problem, types)):
        raise click.BadParameter(problem)
    return types


def not_empty(ctx: click.Context, param: click.Parameter, text: str) -> str:
    """Check a text that means nothing when it is empty."""
    if not text:
        raise click.BadParameter("cannot be empty")
    return text


def message_type(ctx: click.Context, param: click.Parameter, msg_type: str) -> str:
    """Check one message type."""
    return message_types(ctx, param, (msg_type,))[0]


def duration(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """Read a duration; in seconds."""
    seconds = None if text is None else parse_duration(text)
    if text is not None and (seconds is None or seconds > MAX_DURATION_S):
        raise click.BadParameter(
            f"{text!r} is not a duration; it is a whole number and a unit, like 90m, 24h or 7d, of at most"
            f" {MAX_DURATION_S // UNITS_S['d']}d; or 0"
        )
    return seconds


def check_password(password: str | None, needed: float) -> None:
    """Check a password that a person chose; `needed` bits of resistance, or any for 0. None is not checked."""
    if password is None:
        return
    if not password:
        raise click.BadParameter("a password cannot be empty", param_hint="--password")
    bits = strength_bits(password) if needed > 0 else needed
    if bits < needed:
        raise click.BadParameter(
            f"password is too guessable (~{bits:.0f} bits of resistance; {needed:.0f} required)."
            " Leave --password out to get a random one. Pass --allow-weak-password to override.",
            param_hint="--password",
        )


def warn_of_hub_keys(metadata: dict[str, Any] | tuple[str, ...]) -> None:
    """Say on stderr which of these keys of the metadata the hub writes itself."""
    for key in client_metadata.written_by_hub(metadata):
        click.echo(f"NOTE: the hub writes {key} itself; a wrong value locks the client out.", err=True)
