"""``hivemind-core policy``: the chain that every message passes, and what it says of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from . import options
from .clients import Client
from .console import Commands, Failure, configuration, database, find, print_json, table

if TYPE_CHECKING:
    from .plugins import Unusable
    from .policy import Entry, PolicyChain, Verdict

DRY_RUN = "dry-run"
"""Stands for peer, session and namespace of a message that nobody sent."""


@click.group("policy", cls=Commands)
def policy() -> None:
    """Inspect the chain of policies that every message passes."""


# --- list ---------------------------------------------------------------------------------------------------


@policy.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_policies(as_json: bool) -> None:
    """List the policies in the order they are asked."""
    chain, unusable = _load()
    rows = [_row(position, entry) for position, entry in enumerate(chain.entries)]
    if as_json:
        print_json(rows)
    else:
        cells = [(str(row["position"]), str(row["plugin"]), str(row["source"])) for row in rows]
        table("Policy Chain", ("Position", "Plugin", "Source"), cells)
    _say_unusable([item for item in unusable if item.optional])
    for item in unusable:
        if not item.optional:
            raise Failure(
                f"The policy {item.module} cannot be used, so the hub refuses every message: {_why(item)}."
                " Mend or remove it in `policy.chain` of server.json."
            )


def _load() -> tuple[PolicyChain, list[Unusable]]:
    from .plugins import load_policies

    return load_policies(configuration().policy_chain)


def _row(position: int, entry: Entry) -> dict[str, Any]:
    from .plugins import FALLBACK
    from .policy import BUILT_IN

    source = "builtin" if position < BUILT_IN else "fallback" if entry.name == FALLBACK else "config"
    return {
        "position": position,
        "plugin": type(entry.policy).__name__,
        "module": entry.name,
        "source": source,
        "optional": entry.optional,
    }


def _why(item: Unusable) -> str:
    text = item.error.args[0] if isinstance(item.error, LookupError) and item.error.args else item.error
    return " ".join(str(text).split()).rstrip(".") or type(item.error).__name__


def _say_unusable(unusable: Sequence[Unusable]) -> None:
    for item in unusable:
        effect = "it is passed over" if item.optional else "the hub refuses every message"
        click.echo(f"NOTE: the policy {item.module} cannot be used, and {effect}: {_why(item)}", err=True)


# --- test ---------------------------------------------------------------------------------------------------


@policy.command("test")
@click.argument("api_key")
@click.argument("msg_type", callback=options.message_type)
def try_policies(api_key: str, msg_type: str) -> None:
    """Say what the chain would answer to a message of this type from the client with this access key (or id).

    Prints one JSON object: whether it is denied, why, and the changes made to the session on its way.
    """
    chain, unusable = _load()
    with database() as db:
        client = find(db, api_key)
    if client is None:
        raise Failure(f"no client found for api_key={api_key!r}. See `hivemind-core list-clients`.")
    _say_unusable(unusable)
    print_json(_tried(chain, client, msg_type))


def _tried(chain: PolicyChain, client: Client, msg_type: str) -> dict[str, Any]:
    from hivemind_bus_client.message import Message

    from .sessions import stamped

    sent = Message(msg_type, {}, {"session": {"session_id": DRY_RUN}})
    message = stamped(sent, DRY_RUN, {}, None if client.is_admin else DRY_RUN)
    verdict = chain.review(message, client)
    return {
        "denied": not verdict.allowed,
        "code": verdict.code,
        "reason": verdict.reason,
        "data": dict(verdict.data),
        "mutations": _names(verdict),
        "session": {key: value for key, value in message.context["session"].items() if key != "session_id"},
    }


def _names(verdict: Verdict) -> list[str]:
    return [getattr(change, "__qualname__", type(change).__name__) for change in verdict.mutations]


COMMANDS = (policy,)
