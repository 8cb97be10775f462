"""A program in this process that can reach one folder and nobody: what it tries beyond that fails, and is told."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

PATHS = {
    "os.mkdir": 1,
    "os.rename": 2,
    "os.remove": 1,
    "os.rmdir": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.chmod": 1,
    "os.chown": 1,
    "os.truncate": 1,
    "sqlite3.connect": 1,
}
"""Events whose first arguments are paths of what is changed."""
OUTSIDE = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto")
PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
HARMLESS = ("/dev/null", "/dev/tty", ":memory:")


class _Fence:
    """Where the program may write now; nothing is watched while `home` is None."""

    def __init__(self) -> None:
        self.home: Path | None = None
        self.named: Sequence[str] = ()
        self.strayed: list[str] = []

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.home is None:
            return
        if event in OUTSIDE:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        if event in PROCESSES:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        if event == "open" and _writes(*args):
            self._touch(args[0])
        for path in args[: PATHS.get(event, 0)]:
            self._touch(path)

    def _touch(self, path: Any) -> None:
        if isinstance(path, int) or path is None or self.home is None:
            return
        text = os.fsdecode(path)
        where = os.path.realpath(text.removeprefix("file:").partition("?")[0])
        if text in HARMLESS or where in HARMLESS or Path(where).is_relative_to(self.home):
            return
        if not any(name and name in where for name in self.named):
            self.strayed.append(text)
        raise PermissionError(errno.EACCES, "Permission denied", text)


def _writes(path: Any, mode: Any = None, flags: Any = 0) -> bool:
    by_mode = isinstance(mode, str) and any(letter in mode for letter in "wax+")
    return by_mode or bool(isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


@cache
def _fence() -> _Fence:
    fence = _Fence()
    sys.addaudithook(fence.hear)
    return fence


@contextmanager
def sandbox(home: Path, named: Sequence[str]) -> Iterator[Callable[[], list[str]]]:
    """While it lasts only `home` can be written to; what `named` names may be tried, and all else is told."""
    fence = _fence()
    fence.strayed, fence.named, fence.home = [], named, home
    try:
        yield lambda: fence.strayed
    finally:
        fence.home = None
