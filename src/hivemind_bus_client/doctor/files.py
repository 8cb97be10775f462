"""Files that only their owner should be able to read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from .findings import Finding, fail, warn

OTHERS = 0o077


def private(what: str, path: Path) -> Iterator[Finding]:
    """Say what is wrong with the owner and mode of a file or folder that is there; nothing where all is well."""
    try:
        status = path.stat()
    except OSError as error:
        yield fail(what, f"{path} cannot be looked at: {error.strerror}.", f"Run: ls -ld {quote(str(path.parent))}")
        return
    if not hasattr(os, "geteuid"):
        return
    is_folder = stat.S_ISDIR(status.st_mode)
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid() and not os.access(path, os.R_OK | os.W_OK):
        yield fail(
            what,
            f"{path} belongs to uid {status.st_uid}, and this runs as uid {os.geteuid()}.",
            f"Run: sudo chown {'-R ' if is_folder else ''}{os.geteuid()}:{os.getegid()} {quote(str(path))}",
        )
    elif not os.access(path, os.R_OK | (os.W_OK | os.X_OK if is_folder else os.W_OK)):
        yield fail(
            what, f"{path} cannot be read and written (mode {mode:03o}).", f"Run: chmod u+rw{'x' * is_folder} {path}"
        )
    if is_folder and mode & 0o022:
        yield warn(what, f"Others can write into {path} (mode {mode:03o}).", f"Run: chmod go-w {quote(str(path))}")
    elif not is_folder and mode & OTHERS:
        yield warn(what, f"Others can get at {path} (mode {mode:03o}).", f"Run: chmod 600 {quote(str(path))}")
