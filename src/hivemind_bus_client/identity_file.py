"""Files that only their owner may read: how they are written, and the identity file as a mapping."""

from __future__ import annotations

import copy
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .exceptions import IdentityFileCorrupted

NOISE_KEY_BYTES = 32
_TEXTS = (
    *("name", "key", "access_key", "password", "site_id", "default_master"),
    *("public_key", "secret_key", "noise_key"),
)
_TABLES = ("trusted_keys", "pinned_noise_keys")


def write_private(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write a file as a whole or not at all, with mode 0600; missing folders are made with mode 0700."""
    target = Path(os.path.realpath(path))
    temporary = _private_copy(target, data)
    try:
        os.replace(temporary, target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _private_copy(target: Path, data: bytes | str) -> Path:
    """Write the data beside its target, on disk when this returns."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(handle, "wb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        os.unlink(name)  # else a full disk is filled further with every attempt
        raise
    return Path(name)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_private(path: str | os.PathLike[str]) -> None:
    """Take away what others may do with a file, where that is possible; a folder stays as it is."""
    with suppress(OSError):
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            os.chmod(path, 0o600)


def read_or_create_noise_key(path: str | os.PathLike[str]) -> bytes:
    """Return the X25519 private key in a file (64 hex characters), which is made if it is missing.

    Two processes that start at once get the same key. Raises IdentityFileCorrupted for a file that holds no
    key; it is left as it is.
    """
    target = Path(path)
    if not target.exists():
        _create_noise_key(target)
    make_private(target)
    try:
        key = bytes.fromhex(target.read_text(encoding="ascii").strip())
    except ValueError:
        key = b""
    if len(key) != NOISE_KEY_BYTES:
        raise IdentityFileCorrupted(
            f"{target} does not hold a Noise key (64 hex characters); move it away to get a new one"
        )
    return key


def _create_noise_key(target: Path) -> None:
    from .noise import generate_static_key

    temporary = _private_copy(target, generate_static_key().hex())
    try:
        with suppress(FileExistsError):
            os.link(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _merge(base: Any, mine: Any, theirs: Any) -> Any:
    """Apply what changed from base to mine onto theirs, key by key."""
    if not (isinstance(mine, dict) and isinstance(theirs, dict)):
        return theirs if mine == base else mine
    known = base if isinstance(base, dict) else {}
    merged = {key: value for key, value in theirs.items() if key in mine or key not in known}
    for key, value in mine.items():
        if key not in known or known[key] != value:
            merged[key] = _merge(known.get(key), value, theirs.get(key))
    return merged


def check_kinds(identity: Any) -> None:
    """Raise IdentityFileCorrupted where what an identity is kept in, a mapping, has a value of the wrong kind."""
    path = getattr(identity, "path", "the identity")
    for key, fits, kind in (
        *((key, _is_text, "a text") for key in _TEXTS),
        *((key, _is_table, "an object of texts") for key in _TABLES),
        ("default_port", _is_port, "a number"),
    ):
        value = identity.get(key)
        if value is not None and not fits(value):
            raise IdentityFileCorrupted(f"{path}: `{key}` must be {kind}; correct it or move the file away")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value.values()))


def _is_port(value: Any) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


class IdentityFile(dict[str, Any]):
    """The identity file: a dictionary that can be stored and read again. Making one never writes.

    Raises IdentityFileCorrupted where the file exists and holds no JSON object; it is left as it is.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = str(path)
        self._stored: dict[str, Any] = {}
        if os.path.exists(self.path):
            self.reload()

    def reload(self) -> None:
        """Forget what was not stored and read the file. Raises FileNotFoundError if it was never stored."""
        self._stored = self._read()
        self.clear()
        self.update(copy.deepcopy(self._stored))

    def store(self) -> None:
        """Write what was changed here since it was read; what others wrote meanwhile stays."""
        with _locked(Path(self.path).parent):
            theirs = self._read() if os.path.exists(self.path) else {}
            merged = _merge(self._stored, dict(self), theirs)
            if not isinstance(merged, dict):
                raise TypeError("an identity file holds one JSON object")
            write_private(self.path, json.dumps(merged, indent=4, ensure_ascii=False))
        self._stored = merged
        self.clear()
        self.update(copy.deepcopy(merged))

    def _read(self) -> dict[str, Any]:
        from .codec import loads_commented  # `hivemind-core --help` needs none of it

        try:
            value = loads_commented(Path(self.path).read_text(encoding="utf-8-sig"))
        except ValueError as error:
            raise IdentityFileCorrupted(
                f"{self.path} is not readable as JSON ({error}); correct it or move it away"
            ) from None
        if not isinstance(value, dict):
            raise IdentityFileCorrupted(f"{self.path} does not hold a JSON object; correct it or move it away")
        return value

    def __repr__(self) -> str:
        return f"IdentityFile({self.path!r})"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from storing at the same time, where the system can lock a folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
