"""The key that signs the visitors' cookies, in a file of its own, so that people are who they were after a restart."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from hivemind_bus_client.identity_file import make_private

KEY_BYTES = 32


class KeyFileError(Exception):
    """The key can be neither read nor made; the text says where and why."""


def state_dir() -> Path:
    """Return the folder of what the chatroom keeps for itself, as the environment has it now."""
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state") / "hivemind"


def default_path() -> Path:
    """Return where the key is."""
    return state_dir() / "chatroom" / "secret"


def read_or_create(path: Path) -> bytes:
    """Return the key in a file (64 hex characters), which is made if it is missing; two processes agree on one.

    Raises KeyFileError; a file that holds no key is left as it is.
    """
    try:
        if not path.exists():
            _create(path)
        make_private(path)
        key = bytes.fromhex(path.read_text("ascii"))
    except OSError as error:
        raise KeyFileError(f"The key that signs cookies cannot be read or made: {error}.") from None
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyFileError(
            f"{path} does not hold the key that signs cookies ({2 * KEY_BYTES} hex characters)."
            " Move it away to get a new one; then everybody has to come in anew."
        )
    return key


def _create(path: Path) -> None:
    """Write it whole beside its place, and put it there unless another process was faster."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".secret.", dir=path.parent)
    try:
        with open(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)
