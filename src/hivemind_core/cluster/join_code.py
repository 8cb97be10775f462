"""The join code of a cluster, which one types once at each further hub. Pure.

130 random bits in 30 symbols that are hard to confuse, in groups of five: one for the version, 26 for the secret, and
three that tell a typing error from a wrong code.
"""

from __future__ import annotations

import hashlib

RANDOM_BYTES = 17
"""How much randomness `write` wants; of its 136 bits 130 are used."""
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
VERSION = "1"
SECRET_SYMBOLS, CHECK_SYMBOLS, GROUP = 26, 3, 5
SYMBOLS = len(VERSION) + SECRET_SYMBOLS + CHECK_SYMBOLS

_BITS = 5
_LOOK_ALIKES = str.maketrans("OIL", "011")
_PASSED_OVER = str.maketrans("", "", " \t\r\n-\u00a0\u2010\u2011\u2013")


class WrongCode(ValueError):
    """What was typed is no join code; the text says why and never shows it."""


def write(random: bytes) -> str:
    """Return a code with this secret (`RANDOM_BYTES` bytes)."""
    body = VERSION + _symbols(int.from_bytes(random[:RANDOM_BYTES], "big"), SECRET_SYMBOLS)
    code = body + _check(body)
    return "-".join(code[start : start + GROUP] for start in range(0, SYMBOLS, GROUP))


def read(typed: str) -> bytes:
    """Return the secret in a code, however it was typed: in any case, with or without separators. Raises WrongCode."""
    code = typed.translate(_PASSED_OVER).upper().translate(_LOOK_ALIKES)
    if any(symbol not in ALPHABET for symbol in code):
        raise WrongCode("A join code has only digits and the letters A to Z without U.")
    if len(code) != SYMBOLS:
        raise WrongCode(
            f"A join code has {SYMBOLS} digits and letters, in groups of {GROUP}; this one has {len(code)}."
        )
    body = code[:-CHECK_SYMBOLS]
    if _check(body) != code[-CHECK_SYMBOLS:]:
        raise WrongCode("There is a typing error in this join code; compare it with the one that was shown.")
    if body[0] != VERSION:
        raise WrongCode("This join code is of a newer HiveMind; install the same release on all hubs of the cluster.")
    return body[1:].encode("ascii")


def _check(body: str) -> str:
    digest = hashlib.sha256(b"hivemind join code" + body.encode("ascii")).digest()
    return _symbols(int.from_bytes(digest, "big"), CHECK_SYMBOLS)


def _symbols(number: int, count: int) -> str:
    """Write the lowest bits of a number, five in each symbol."""
    return "".join(ALPHABET[number >> _BITS * place & 31] for place in reversed(range(count)))
