"""The block `limits` of server.json: how much one client and one address may send."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .config_values import Values, is_number

BLOCK = "limits"
LEAST_BURST_S, MOST_BURST_S = 1.0, 3600.0


@dataclass(frozen=True)
class Rate:
    """What is taken in the long run; 0: any number."""

    messages_per_s: float = 0.0
    """Frames: a message of more than 65,000 bytes is several."""
    bytes_per_s: float = 0.0

    @property
    def is_limit(self) -> bool:
        """Anything is limited by it."""
        return self.messages_per_s > 0 or self.bytes_per_s > 0


@dataclass(frozen=True)
class LimitsConfig:
    """What the block says."""

    client: Rate = field(default_factory=lambda: Rate(2_000.0, 10_000_000.0))
    """Of all connections with one access key together. A chatroom, or a hub below, is one client for many people."""
    address: Rate = field(default_factory=lambda: Rate(10_000.0, 50_000_000.0))
    """Of all connections from one address, this machine's own excepted. A house may be one address."""
    burst_s: float = 10.0
    """So many seconds' worth may come at once; a message as long as there can be needs 33 MB."""

    def __str__(self) -> str:
        return ", ".join(f"{key} {value:g}" for key, value in _document(self).items())


def _document(limits: LimitsConfig) -> dict[str, float]:
    return {
        "client_messages_per_s": limits.client.messages_per_s,
        "client_bytes_per_s": limits.client.bytes_per_s,
        "address_messages_per_s": limits.address.messages_per_s,
        "address_bytes_per_s": limits.address.bytes_per_s,
        "burst_s": limits.burst_s,
    }


DEFAULTS: dict[str, Any] = {
    key: int(value) if value.is_integer() else value for key, value in _document(LimitsConfig()).items()
}


def read(values: Values) -> LimitsConfig:
    """Return what the block says. Raises ConfigError."""
    values.object(BLOCK)
    burst_s = values.get(
        (BLOCK, "burst_s"), f"a number from {LEAST_BURST_S:g} to {MOST_BURST_S:g}", _is_burst, DEFAULTS["burst_s"]
    )
    return LimitsConfig(_rate(values, "client"), _rate(values, "address"), float(burst_s))


def _rate(values: Values, whose: str) -> Rate:
    def number(key: str) -> float:
        return float(values.get((BLOCK, key), "a number, zero or more", is_number, DEFAULTS[key]))

    return Rate(number(f"{whose}_messages_per_s"), number(f"{whose}_bytes_per_s"))


def _is_burst(value: Any) -> bool:
    return is_number(value) and LEAST_BURST_S <= value <= MOST_BURST_S
