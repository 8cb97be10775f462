"""What a message makes the hub do: the values that `routing` returns and the hub carries out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hivemind_bus_client.denials import told
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

from .clients import Client

PARENT = "<parent>"
"""The hub above, where a message comes from or goes to; no peer id is like this."""
AGENT = "<agent>"
"""The agent's bus, where somebody asked for a message to be sent."""
_MEMBER = "<hub "


def member(hub: str) -> str:
    """Return how another hub of the cluster is named, where a message comes from or goes to."""
    return f"{_MEMBER}{hub}>"


def member_of(way: str) -> str:
    """Return the id of the hub of the cluster that is named so; empty for everybody else.

    A peer id begins with what its satellite calls itself, whatever that is, but always has ``::`` in it.
    """
    return way[len(_MEMBER) : -1] if way.startswith(_MEMBER) and way.endswith(">") and "::" not in way else ""


def may_go_up(sender: str) -> bool:
    """Tell whether a sender's messages go to the hub above: what another hub passes on, that one sends up itself."""
    return sender != PARENT and not member_of(sender)


class Origin(NamedTuple):
    """Where a message comes from."""

    id: str
    """A peer id, `PARENT` or `AGENT`."""
    client: Client | None = None
    """Whose rights count; None: no client's."""
    name: str = ""
    """What it is called in routes, where that is not its id; unknown where both say nothing."""

    @property
    def hop(self) -> str:
        """What it is called in routes; empty where that is not known."""
        return self.name or (self.id if self.client is not None else "")


class Here(NamedTuple):
    """This hub, as far as routing must know it."""

    node_id: str
    site_id: str | None = None


@dataclass(frozen=True)
class Register:
    """Enter the sender under what its HELLO announces."""

    session: dict[str, Any]
    site_id: str | None
    pubkey: str | None


@dataclass(frozen=True)
class ToAgent:
    """Offer a message to the policies and, if they allow it, to the agent."""

    message: Message
    verb: str = HiveMessageType.BUS.value
    """What it came in."""
    author: str = ""
    """The public key (PEM) its author proved to have."""


@dataclass(frozen=True)
class ToBinary:
    """Offer binary data to the policies and, if they allow it, to the binary handler."""

    data: bytes
    bin_type: int
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Deny:
    """Tell the sender that a message went nowhere, and why (docs/protocol.md 11.2). The connection stays."""

    denied_type: str
    code: str
    reason: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kick:
    """Close the connection: its client may not use this verb (docs/protocol.md 12)."""

    verb: str


@dataclass(frozen=True)
class Shared:
    """Show a message of a satellite's own bus to whoever watches."""

    message: Message


@dataclass(frozen=True)
class Relay:
    """Pass a message on: to every registered peer but the sender, to the hub above, or both."""

    message: HiveMessage
    down: bool = False
    up: bool = False


@dataclass(frozen=True)
class Unseal:
    """Open an INTERCOM, if it is for this hub, and act on what is in it; else do something else."""

    intercom: HiveMessage
    sources: tuple[str, ...] = ()
    """Whom it passed on its way, as far as that is told."""
    otherwise: tuple[Relay, ...] = ()


@dataclass(frozen=True)
class Flood:
    """Note a PING, answer it once, and pass it on (docs/protocol.md 13.1)."""

    ping: dict[str, Any]
    relayed: HiveMessage
    direct: bool
    """It comes from the node that it speaks of, or says so."""


@dataclass(frozen=True)
class Ask:
    """Put a question to the agent, and pass it on (docs/protocol.md 13.2, 13.3)."""

    kind: HiveMessageType
    inner: HiveMessage
    relayed: HiveMessage
    """As it is passed on; its metadata still has to name query and originator."""
    looped: bool = False

    @property
    def query_id(self) -> str:
        """The id that the asker gave; empty where it gave none."""
        return text(self.relayed.metadata.get("query_id"))


@dataclass(frozen=True)
class Answer:
    """Pass an answer back to whoever asked."""

    message: HiveMessage


@dataclass(frozen=True)
class Mail:
    """Serve a request to the mailbox (docs/protocol.md 15)."""

    body: dict[str, Any]


Action = Register | ToAgent | ToBinary | Deny | Kick | Shared | Relay | Unseal | Flood | Ask | Answer | Mail


def text(value: object) -> str:
    """Return a text as it is, and anything else as an empty one."""
    return value if isinstance(value, str) else ""


def malformed(denied_type: str, why: str) -> Deny:
    """Refuse a payload whose shape is wrong."""
    return denied("malformed_payload", denied_type, why)


def denied(code: str, denied_type: str, detail: str = "") -> Deny:
    """Deny a message for one of the reasons in `refusals.DENIALS`."""
    return Deny(denied_type, code, told(code, denied_type, detail=detail))
