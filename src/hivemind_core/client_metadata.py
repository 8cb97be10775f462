"""What a client's metadata holds: the keys that mean something to the hub, and the values that nobody should see.

Everything else in there belongs to policies and to whoever put it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

CRYPTO_KEY_CHARACTERS = 16
KEY_HEX = 64
HIDDEN = "********"
SECRET_WORDS = ("password", "passphrase", "secret", "token", "psk", "crypto_key", "private")


@dataclass(frozen=True)
class Known:
    """A key that the hub reads."""

    must_be: str
    fits: Callable[[Any], bool]
    by_hub: bool = False
    """The hub writes it itself."""


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item for item in value)


def _hex_key(value: Any) -> bool:
    return isinstance(value, str) and len(value) == KEY_HEX and all(digit in "0123456789abcdef" for digit in value)


def _crypto_key(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and len(value) == CRYPTO_KEY_CHARACTERS


def _time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


KNOWN: dict[str, Known] = {
    "skill_blacklist": Known("an array of skill ids", _names),
    "intent_blacklist": Known("an array of intent names", _names),
    "allow_weak_password": Known("true or false", lambda value: isinstance(value, bool)),
    "crypto_key": Known(f"a text of exactly {CRYPTO_KEY_CHARACTERS} ASCII characters", _crypto_key),
    "noise_pubkey": Known(f"{KEY_HEX} lower-case hex digits", _hex_key, by_hub=True),
    "noise_psk": Known(f"{KEY_HEX} lower-case hex digits", _hex_key, by_hub=True),
    "noise_psk_for": Known(f"{KEY_HEX} lower-case hex digits", _hex_key, by_hub=True),
    "intercom_pubkey": Known("a public key as PEM text", _text, by_hub=True),
    "previous_password": Known("a text", _text, by_hub=True),
    "previous_password_until": Known("a Unix time", _time, by_hub=True),
    "previous_password_used": Known("a Unix time", _time, by_hub=True),
    "previous_noise_psk": Known(f"{KEY_HEX} lower-case hex digits", _hex_key, by_hub=True),
    "previous_noise_psk_for": Known(f"{KEY_HEX} lower-case hex digits", _hex_key, by_hub=True),
    "previous_allow_weak_password": Known("true or false", lambda value: isinstance(value, bool), by_hub=True),
}
"""A value of the wrong kind would be read as none, and a list of what is barred that reads as none bars nothing."""


def problem_with(metadata: Mapping[str, Any]) -> str | None:
    """Say what of these keys the hub could not read."""
    for key, value in metadata.items():
        if key in KNOWN and not KNOWN[key].fits(value):
            return f"{key} must be {KNOWN[key].must_be}"
    return None


def written_by_hub(keys: Mapping[str, Any] | tuple[str, ...]) -> list[str]:
    """Return those of these keys that the hub writes itself."""
    return [key for key in keys if key in KNOWN and KNOWN[key].by_hub]


def is_secret(key: str) -> bool:
    """Tell whether what stands under a key is to be hidden, by the key's name."""
    return any(word in key.lower() for word in SECRET_WORDS)


def shown(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata for a person to see: what is secret in it masked, at any depth."""
    return {key: HIDDEN if _hides(key, value) else _inside(value, shown) for key, value in metadata.items()}


def without_secrets(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata for a program, which might take a mask for a value: what is secret in it left out."""
    return {key: _inside(value, without_secrets) for key, value in metadata.items() if not _hides(key, value)}


def _hides(key: str, value: Any) -> bool:
    return is_secret(key) and not (value is None or isinstance(value, bool))


def _inside(value: Any, cleaned: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Any:
    if isinstance(value, Mapping):
        return cleaned(value)
    return [_inside(item, cleaned) for item in value] if isinstance(value, list) else value
