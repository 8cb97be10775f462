"""The port that the documentation names: a machine has one, and several workers run tests that need it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .released import cache_folder, locked

DEFAULT_PORT = 5678


@contextmanager
def alone_with_default_port() -> Iterator[int]:
    """Wait until no other test has the port, and keep it from them; whether other programs have it is not looked at."""
    with locked(cache_folder() / f"port-{DEFAULT_PORT}.lock"):
        yield DEFAULT_PORT
