"""Access keys and passwords: making them, and judging those that people bring."""

from __future__ import annotations

import math
import secrets

SECRET_BYTES = 16
JUDGED_CHARACTERS = 72
"""How much of a password is judged: estimating takes longer with every character, and nobody guesses more."""


def random_secret() -> str:
    """Return 32 random hex characters, for an access key or a password."""
    return secrets.token_hex(SECRET_BYTES)


def strength_bits(password: str) -> float:
    """Return the estimated resistance to guessing, in bits. Takes milliseconds: not for an event loop."""
    if not password:
        return 0.0
    from zxcvbn import zxcvbn

    return float(zxcvbn(password[:JUDGED_CHARACTERS])["guesses_log10"]) * math.log2(10)


def is_strong(password: str, min_bits: float) -> bool:
    """Tell whether a password resists guessing well enough; 0 bits accepts any."""
    return min_bits <= 0 or strength_bits(password) >= min_bits
