"""What a person is told: in one line that every terminal can show."""

from __future__ import annotations


def check_sentence(text: str) -> None:
    """Raise where an error's text cannot be shown as one line."""
    assert text.strip(), "an error without a word"
    text.encode("utf-8")
    assert len(text.splitlines()) == 1, f"an error of several lines: {text!r}"
