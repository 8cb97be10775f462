"""Paths as people write them in the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def is_path(value: Any) -> bool:
    """Tell whether a value can be a path: a text, ``~`` a home folder that there is."""
    try:
        return isinstance(value, str) and value != "" and "\0" not in value and bool(Path(value).expanduser())
    except RuntimeError:
        return False
