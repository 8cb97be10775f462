"""What the chatroom goes by: one frozen record, made once by the command line or by a program."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PLATFORM = "JarbasFlaskChatRoomV0.2"
"""The user agent, as the released chatroom introduces itself."""
BOT = "HiveMind"
"""The name under which the assistant speaks; nobody else can have it."""
ANONYMOUS = "anon_user"
DEFAULT_ROOM = "flask"
DEFAULT_LANG = "en"
DEFAULT_PORT = 8985


@dataclass(frozen=True)
class Limits:
    """What one person, and all of them together, may use."""

    message_length: int = 2000
    """Characters of one message."""
    messages_a_minute: int = 30
    """Of one browser; a third of it at once."""
    users: int = 500
    """Names known at a time; those longest away make room for others."""
    rooms: int = 100
    """Rooms known at a time; empty ones make room for others."""
    history: int = 500
    """Messages kept in each room."""
    streams: int = 256
    """Open event streams; who comes later polls."""
    streams_each: int = 32
    """Open event streams of one address."""
    waiting: int = 200
    """Accepted messages that wait for the hub."""
    waiting_each: int = 20
    """Accepted messages of one person that wait for the hub."""


@dataclass(frozen=True)
class Times:
    """All in seconds."""

    answer: float = 45.0
    """After which a question counts as unanswered."""
    waiting: float = 300.0
    """How long an accepted message waits for the hub."""
    heartbeat: float = 15.0
    """Between two signs of life on an event stream."""
    name_held: float = 3_600.0
    """How long a name stays with its browser after the last sign of it."""


@dataclass(frozen=True)
class Access:
    """Who may come in."""

    room_password: str = field(default="", repr=False)
    """Everybody signs in with it, from wherever they come; empty: nobody does."""
    open: bool = False
    """Serve every address, without a password."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which browsers reach the page, besides those of the local network."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Whose X-Forwarded-* headers are believed."""


@dataclass(frozen=True)
class Settings:
    """All of it."""

    title: str = "HiveMind chatroom"
    site_id: str = DEFAULT_ROOM
    """Where this satellite says it stands."""
    prefix: str = ""
    """Path under which a reverse proxy serves the chatroom, such as ``/chat``."""
    always_private: bool = False
    """Everybody sees their own conversation only."""
    embeds: bool = False
    """Show pictures, sound and videos of other hosts in the page."""
    history: Path | None = None
    """SQLite file that keeps the rooms; None: they are forgotten at the end."""
    secret: bytes = field(default=b"", repr=False)
    """Signs cookies; empty: a fresh one, and everybody is somebody else after a restart."""
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)
    times: Times = field(default_factory=Times)
