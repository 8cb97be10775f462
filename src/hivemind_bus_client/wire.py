"""What a `Connection` needs of the thing beneath it that carries frames: a WebSocket, or requests over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from .address import Address
from .refusals import REFUSALS, Refusal

if TYPE_CHECKING:
    import ssl

MAX_FRAME_BYTES = 1 << 20  # docs/protocol.md 7.6: v3 frames hold 65,535 bytes; the clear offer is small too
MAX_LEGACY_FRAME_BYTES = 32 << 20  # below v3 a message is one frame, and no released hub bounds it
CLOSE_TIMEOUT_S = 2.0
_WRONG_TIME = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


@dataclass(frozen=True)
class Polling:
    """How a hub is asked for messages over HTTP."""

    interval_s: float = 1.0
    """How often to ask a hub that answers at once, also when it has nothing."""
    wait_s: float = 25.0
    """How long a hub that can may hold a request until it has something."""
    timeout_s: float = 30.0
    """How long any other request may take."""


@dataclass(frozen=True)
class Dial:
    """How to reach the hub."""

    address: Address
    token: str = field(repr=False)
    """Holds the access key."""
    ssl: ssl.SSLContext | None
    keepalive: Mapping[str, float | None]
    """``ping_interval`` and ``ping_timeout`` in seconds."""
    timeout_s: float
    """How long the TCP, TLS and WebSocket handshakes may take together."""
    max_frame_bytes: int = MAX_FRAME_BYTES
    polling: Polling = field(default_factory=Polling)


class DialFailed(Exception):
    """The hub could not be reached, or did not let this satellite in."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.refusal = refusal
        self.detail = detail
        """What the hub or the operating system said, verbatim."""


class WireClosed(Exception):
    """The wire has ended: with the hub's close code and reason, or with code 0 where it was lost."""

    def __init__(self, code: int, reason: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason


class Wire(Protocol):
    """One dialled connection. All but `agreed` raise WireClosed once it has ended."""

    async def receive(self) -> bytes | str:
        """Wait for the next frame; a wait that is cancelled loses none."""

    async def send(self, frame: bytes | str) -> None:
        """Hand a frame over. One caller at a time."""

    async def confirm(self) -> None:
        """Wait until the hub has read all that was sent before, and has not refused it."""

    def agreed(self, version: int) -> None:
        """Note that a session of this protocol version is up."""

    async def close(self) -> None:
        """End it, in order if the hub takes part in that within 2 s. Never raises."""


def unreachable(error: Exception, detail: str) -> DialFailed:
    """Return the failure that fits what the operating system said to a dial."""
    import ssl

    code = "unreachable"
    if isinstance(error, ssl.SSLCertVerificationError):
        code = "clock_wrong" if error.verify_code in _WRONG_TIME else "tls_untrusted"
    elif isinstance(error, ssl.SSLError):
        code = "tls_mismatch"
    return DialFailed(REFUSALS[code], detail)


def text_of(error: BaseException) -> str:
    """What an exception says, or else its name."""
    return str(error) or type(error).__name__
