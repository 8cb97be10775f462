"""What a person can do about a file that cannot be used; the errors of the system and of SQLite do not say."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

DAMAGED = "It was left as it is; put back a copy of it (docs/troubleshooting.md)."
FULL = "Make room on its disk."
LOCKED = "Another process keeps it locked: end that one."
READ_ONLY = "Its file system is read-only: it failed, or was mounted so."
FORBIDDEN = "This account may not write to it, or to its folder."
_SIGNS = {
    "malformed": DAMAGED,
    "not a database": DAMAGED,
    "is full": FULL,
    "No space left": FULL,
    "is locked": LOCKED,
    "kept it locked": LOCKED,
    "readonly": FORBIDDEN,
    "Permission denied": FORBIDDEN,
}


def told(error: Exception, path: Path | None) -> str:
    """Return the text of an error, a sentence, and the cure where there is one known."""
    text = str(error)
    cure = next((cure for sign, cure in _SIGNS.items() if sign in text), "")
    if path is not None and cure != DAMAGED and _is_read_only(path):
        cure = READ_ONLY
    return f"{text}. {cure}".rstrip()


def check_writable(path: Path | None) -> None:
    """Raise OSError where no file beside this one could be written, whatever SQLite has open already."""
    if path is not None and _is_read_only(path):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def _is_read_only(path: Path) -> bool:
    """Tell whether the system refuses every file there; one that failed does not say so when it is asked."""
    if sys.platform != "linux":
        return False
    try:
        os.close(os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError as error:
        return error.errno == errno.EROFS
    return False
