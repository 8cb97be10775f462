"""Access keys and passwords: making them, and judging those that people bring."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Mapping

SECRET_BYTES = 16
JUDGED_CHARACTERS = 72
"""How much of a password is judged; the estimate grows quickly slower beyond."""
DISABLE_CHECK = "HIVEMIND_DISABLE_PASSWORD_STRENGTH_CHECK"


def random_secret() -> str:
    """Return 32 random hex characters, for an access key or a password."""
    return secrets.token_hex(SECRET_BYTES)


def strength_bits(password: str) -> float:
    """Return the estimated resistance to guessing, in bits."""
    from zxcvbn import zxcvbn

    if not password:
        return 0.0
    guesses_log10: float = zxcvbn(password[:JUDGED_CHARACTERS])["guesses_log10"]
    return float(guesses_log10) * math.log2(10)


def is_strong(password: str, min_bits: float, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a password resists guessing well enough; the environment may switch the check off."""
    if environ.get(DISABLE_CHECK, "").lower() in {"1", "true", "yes", "on"}:
        return True
    return strength_bits(password) >= min_bits
