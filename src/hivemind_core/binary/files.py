"""Keeps the files that satellites send, in one folder that server.json names; without one, nothing is ever written.

A name loses its folders, an existing file is never touched, and a file is there whole or not at all. How many there
are, how large one may be, and how much all of them take is bounded; who reads them also takes them away.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..config_values import Values, is_whole
from ..paths import is_path
from . import BinaryHandler, Declined
from .callbacks import MAX_NAME_BYTES

if TYPE_CHECKING:
    from .sender import Sender

log = logging.getLogger(__name__)

MIB = 1024 * 1024
MOST_BYTES, MOST_FILES = 1024 * 1024 * MIB, 1_000_000
HIDDEN = "."
"""How the names begin of files that are being written; a satellite's file cannot be called so."""
TRIES = 1000


@dataclass(frozen=True)
class FileSettings:
    """Where files go, and how many."""

    folder: Path
    max_file_bytes: int = 10 * MIB
    max_files: int = 1000
    """In the folder, whoever put them there."""
    max_total_bytes: int = 256 * MIB

    @classmethod
    def read(cls, values: Values, block: tuple[str, ...]) -> FileSettings:
        """Read them from server.json. Raises ConfigError, also where no folder is named."""

        def limit(key: str, most: int, default: int) -> int:
            return int(values.get((*block, key), f"a whole number up to {most}", partial(is_whole, most=most), default))

        return cls(
            Path(values.get((*block, "folder"), "the folder for files of satellites", is_path)).expanduser(),
            limit("max_file_bytes", MOST_BYTES, cls.max_file_bytes),
            limit("max_files", MOST_FILES, cls.max_files),
            limit("max_total_bytes", MOST_BYTES, cls.max_total_bytes),
        )


class FileHandler(BinaryHandler):
    """See the module."""

    def __init__(self, settings: FileSettings) -> None:
        super().__init__()
        self._settings = settings
        self._one_at_a_time = threading.Lock()

    def handle_receive_file(self, bin_data: bytes, file_name: str, client: Sender) -> None:
        """Keep a file, under another name where there is one of this name."""
        if file_name.startswith(HIDDEN):
            raise Declined("file_not_kept", "its name begins with a dot")
        if len(bin_data) > self._settings.max_file_bytes:
            raise Declined("file_not_kept", f"it is larger than {self._settings.max_file_bytes} bytes")
        with self._one_at_a_time:
            self._settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_room(len(bin_data))
            kept = self._keep(bin_data, file_name)
        log.info("kept %s of %s (%d bytes)", kept, client.peer, len(bin_data))

    def _check_room(self, size: int) -> None:
        sizes = [entry.stat(follow_symlinks=False).st_size for entry in os.scandir(self._settings.folder)]
        if len(sizes) >= self._settings.max_files or sum(sizes) + size > self._settings.max_total_bytes:
            raise Declined("file_not_kept", "the folder for files is full")

    def _keep(self, data: bytes, name: str) -> Path:
        """Write a file of our own, then give it the first name that is free: a link never replaces anything."""
        folder = self._settings.folder
        handle, draft = tempfile.mkstemp(prefix=HIDDEN, dir=folder)  # readable by the owner alone
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            for candidate in _names(name):
                with suppress(FileExistsError):
                    os.link(draft, folder / candidate)
                    return folder / candidate
        finally:
            os.unlink(draft)
        raise Declined("file_not_kept", "there are too many of this name")


def _names(name: str) -> Iterator[str]:
    """Yield a name, then it with numbers: ``a.tar.gz``, ``a-2.tar.gz`` and so on, no longer than names may be."""
    stem, dot, ending = name.partition(".")
    yield name
    for number in range(2, TRIES):
        rest = f"-{number}{dot}{ending}"
        room = max(1, MAX_NAME_BYTES - len(rest.encode()))
        yield (stem.encode()[:room].decode(errors="ignore") + rest).encode()[:MAX_NAME_BYTES].decode(errors="ignore")
