"""A JSON object in a file that several processes change: one at a time, each change whole or not at all."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hivemind_bus_client.identity_file import write_private

try:
    import fcntl
except ImportError:  # such a system has no locks of this kind
    fcntl = None  # type: ignore[assignment]

LOCK_TIMEOUT_S = 10.0
LOCK_POLL_S = 0.005
FILE_MODE = 0o600
Identity = tuple[int, ...]


class BrokenFile(ValueError):
    """The file holds something else than a JSON object."""


class JSONFile:
    """One file. Its calls may block, and raise OSError and, for what the file holds, BrokenFile."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.patience_s = LOCK_TIMEOUT_S
        """How long it waits for others to change it."""
        self._held = -1  # the file last seen stays open: else the system may give its number to the next one
        self._seen: Identity = ()
        self._read_as: Identity = ()
        self._changes = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing it, by a lock file that only its owner can open."""
        target = os.path.realpath(self.path)
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        descriptor = os.open(f"{target}.lock", os.O_CREAT | os.O_RDWR, FILE_MODE)
        try:
            _lock(descriptor, self.patience_s)
            yield
        finally:
            os.close(descriptor)

    def read(self) -> dict[str, Any]:
        """Return what it holds; lines that begin with ``//`` or ``#`` are comments. Raises FileNotFoundError."""
        data = self._look()
        self._read_as = self._seen
        return _parsed(data)

    def replace(self, document: dict[str, Any]) -> bool:
        """Put something else in the place of what was `read`; call it while `locked`. It is its owner's alone then.

        False, and nothing is written, where somebody who does not know the lock has changed it since.
        """
        data = json.dumps(document, indent=4, ensure_ascii=False).encode("utf-8")
        if _identity(os.stat(self.path)) != self._read_as:
            return False
        self._write(data)
        return True

    def create(self) -> None:
        """Make it, holding an empty object; call it while `locked`."""
        self._write(b"{}")

    def changes(self) -> int:
        """Return how often it was seen to have been changed by others. Raises FileNotFoundError."""
        if _identity(os.stat(self.path)) != self._seen:
            self._look()
        return self._changes

    def close(self) -> None:
        """Let go of it."""
        self._hold(-1)
        self._seen = ()

    def _write(self, data: bytes) -> None:
        write_private(self.path, data)
        before = self._changes
        if self._look() == data:
            self._changes = before

    def _look(self) -> bytes:
        """Return the bytes in it, and remember which file they were in."""
        with open(self.path, "rb") as file:
            identity = _identity(os.fstat(file.fileno()))
            self._changes += identity != self._seen
            self._seen = identity
            self._hold(os.dup(file.fileno()) if fcntl is not None else -1)
            return file.read()

    def _hold(self, descriptor: int) -> None:
        if self._held >= 0:
            os.close(self._held)
        self._held = descriptor


def _lock(descriptor: int, patience_s: float) -> None:
    if fcntl is None:
        return
    end = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise TimeoutError(f"another process has kept it locked for {patience_s:g} s") from None
            time.sleep(LOCK_POLL_S)
        else:
            return


def _identity(found: os.stat_result) -> Identity:
    """Tell contents of one file apart without reading them."""
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _parsed(data: bytes) -> dict[str, Any]:
    from hivemind_bus_client.codec import whole_characters  # `--help` needs none of it

    try:
        text = data.decode("utf-8-sig")
        lines = text.split("\n")
        document = json.loads("\n".join("" if line.lstrip().startswith(("//", "#")) else line for line in lines))
        whole_characters(text, document)
    except json.JSONDecodeError as error:
        raise BrokenFile(f"line {error.lineno} is not valid JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise BrokenFile(f"it is not valid JSON ({error})") from None
    if not isinstance(document, dict):
        raise BrokenFile("it holds no JSON object")
    return document
