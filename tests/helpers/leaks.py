"""Looks for secrets in what others may read. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping


def forms(secret: str) -> set[str]:
    """A secret as it is, and what its base64 has in common wherever it begins in a longer text."""
    coded = {b64encode(b"x" * shift + secret.encode()).decode()[4:-4] for shift in range(3)}
    return {secret, *coded}


def leaks(secrets: Mapping[str, str], texts: Mapping[str, str]) -> list[str]:
    """What is found where."""
    searched = {what: forms(secret) for what, secret in secrets.items()}
    return [
        f"{what} in {where}"
        for where, text in texts.items()
        for what, found in searched.items()
        if any(form in text for form in found)
    ]
