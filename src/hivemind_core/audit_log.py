"""The audit log: one JSON object a line, in a file that only its owner can read, of bounded size.

What cannot be written is a warning; the change it tells of has been made.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import audit
from .audit import Author
from .clients import Client
from .config import data_dir

try:
    import fcntl
except ImportError:  # no POSIX
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

MAX_BYTES = 1024 * 1024
KEPT = 4
"""Full files beside the one that is written: ``audit.log.1`` is the newest of them."""
LOCK_WITHIN_S = 0.5
POLL_S = 0.02
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
Changed = Callable[[Client | None, Client | None], None]


def audit_path() -> Path:
    """Return where the log is."""
    return data_dir() / "hivemind-core" / "audit.log"


def this_account() -> str:
    """Return the name of the account that runs this, and of the one that became it by sudo."""
    try:
        import pwd

        name = pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        name = str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    by = os.environ.get("SUDO_USER", "") if name == "root" else ""
    return f"{name} (sudo: {by})" if by else name


def note(action: str, details: Mapping[str, Any]) -> None:
    """Write down what a command of this account has done that is no change of one client. It raises nothing."""
    AuditLog(audit_path()).write(audit.event(Author(audit.COMMAND, this_account(), action), details, time.time()))


class AuditLog:
    """See the module."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        """At `max_bytes` a file is full; `kept` full ones stay."""
        self.path = path
        self._max_bytes = max_bytes
        self._kept = kept

    def recorder(self, author: Author, wall: Callable[[], float] = time.time) -> Changed:
        """Return what is to be told of each change: the row before and after. It blocks, and raises nothing."""

        def record(before: Client | None, after: Client | None) -> None:
            line = audit.entry(author, before, after, wall())
            if line is not None:
                self.write(line)

        return record

    def write(self, line: Mapping[str, Any]) -> None:
        """Write a line. It blocks, and raises nothing."""
        try:
            self._append(json.dumps(line).encode() + b"\n")
        except (OSError, ValueError) as error:
            log.warning("The change was made, but it is not in the audit log %s: %s", self.path, error)

    def since(self, begin: float) -> list[dict[str, Any]]:
        """Return what was written since a time (Unix time), the newest first. It raises nothing."""
        found: list[dict[str, Any]] = []
        with contextlib.suppress(OSError):  # the same stands in the way of writing, and that is told
            for path in (self.path, *self._full()):
                for line in reversed(list(self._lines(path))):
                    if audit.when(line) < begin:
                        return found
                    found.append(line)
        return found

    def entries(self) -> Iterator[dict[str, Any]]:
        """Return what was written, the oldest first; lines that are none are passed over. Raises OSError."""
        for path in (*reversed(self._full()), self.path):
            yield from self._lines(path)

    @staticmethod
    def _lines(path: Path) -> Iterator[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError):
            for line in path.read_bytes().splitlines():
                with contextlib.suppress(ValueError):
                    value = json.loads(line)
                    if isinstance(value, dict):
                        yield value

    def _full(self) -> list[Path]:
        return [self.path.with_name(f"{self.path.name}.{number}") for number in range(1, self._kept + 1)]

    # writing

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, is_ours = self._opened()
        try:
            size = os.fstat(descriptor).st_size
            if is_ours and size and size + len(line) > self._max_bytes:
                self._rotate()
                os.close(descriptor)
                descriptor, size = self._open(), 0
            if size and not _ends_a_line(descriptor, size):
                line = b"\n" + line  # the one before was cut short
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)

    def _opened(self) -> tuple[int, bool]:
        """Return the open file, and whether nobody else writes to it; without that it is not to be rotated."""
        end = time.monotonic() + LOCK_WITHIN_S
        while True:
            descriptor = self._open()
            if fcntl is None:
                return descriptor, True
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_held = True
            except OSError:
                is_held = False
            if is_held and self._is_there(descriptor):
                return descriptor, True
            if time.monotonic() > end:
                return descriptor, False
            os.close(descriptor)
            time.sleep(POLL_S)

    def _open(self) -> int:
        descriptor = os.open(self.path, _FLAGS, 0o600)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            if mode & 0o077:
                os.chmod(self.path, 0o600)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _is_there(self, descriptor: int) -> bool:
        """Tell whether an open file is the one that is there now: it may have been rotated meanwhile."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        return False

    def _rotate(self) -> None:
        full = self._full()
        for older, newer in zip(reversed(full), [*reversed(full[:-1]), self.path], strict=True):
            with contextlib.suppress(FileNotFoundError):
                os.replace(newer, older)


def _ends_a_line(descriptor: int, size: int) -> bool:
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1) == b"\n"
