"""Where a target may write: one folder for the whole process, in the folder for temporary files."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def folder() -> Path:
    """Return a folder that goes when the process ends."""
    made = Path(tempfile.mkdtemp(prefix="hivemind-fuzz-place-")).resolve()
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def emptied(name: str) -> Path:
    """Return a folder with nothing in it."""
    path = folder() / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def write(path: Path, data: bytes) -> Path:
    """Write a file that only its owner may read."""
    path.write_bytes(data)
    os.chmod(path, 0o600)
    return path
