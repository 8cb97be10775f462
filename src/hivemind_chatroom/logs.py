"""Where the log goes: a file of the user's own that does not grow for ever, or standard output.

Below INFO the log names requests and addresses; no level ever shows what people wrote, a key or a password.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from hivemind_bus_client.log_lines import AUTO, PlainLines, formatter

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
STDOUT = "stdout"
FILE_NAME = "flask-chat.log"
FILE_BYTES = 5 * 1024 * 1024
OLD_FILES = 3
OURS = ("hivemind_chatroom", "hivemind_bus_client")
"""Who may say more than INFO: others write down what they send and receive, the access key among it."""

LINK = "hivemind_chatroom.hive"

Environ = dict[str, Any]
Application = Callable[..., Iterable[bytes]]

log = logging.getLogger(f"{__package__}.requests")


class LogFileError(Exception):
    """The log file cannot be written; the text says which and why."""


class PrivateFile(RotatingFileHandler):
    """A log file that only its owner may read."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        if os.fstat(descriptor).st_mode & 0o077 and hasattr(os, "fchmod"):
            os.fchmod(descriptor, 0o600)
        return open(descriptor, "a", encoding="utf-8", errors="backslashreplace")


def start(level: str, where: str | Path, form: str = AUTO) -> None:
    """Send the log of this process to ``stdout`` or into a folder, in one of `FORMATS`. Raises LogFileError."""
    handler = _handler(where)
    handler.setFormatter(formatter(form, sys.stdout if str(where) == STDOUT else None))
    root = logging.getLogger()
    root.addHandler(handler)
    if str(where) != STDOUT:
        _also_on_stderr(logging.getLogger(LINK))
    root.setLevel(max(logging.INFO, logging.getLevelName(level)))
    for name in OURS:
        logging.getLogger(name).setLevel(level)


def _also_on_stderr(link: logging.Logger) -> None:
    """Let whoever started this see what is the matter with the hub, without looking for the log."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(PlainLines("%(message)s"))
    link.addHandler(handler)


def _handler(where: str | Path) -> logging.Handler:
    if str(where) == STDOUT:
        return logging.StreamHandler(sys.stdout)
    folder = Path(where)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return PrivateFile(folder / FILE_NAME, maxBytes=FILE_BYTES, backupCount=OLD_FILES)
    except OSError as error:
        raise LogFileError(f"The log {folder / FILE_NAME} cannot be written: {error}. See --log-path.") from None


def requests_logged(app: Application) -> Application:
    """Return the application with a line for each request, without query and body, at level DEBUG."""

    def logged(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, *rest: Any) -> Any:
            address, method, path = (environ.get(key, "") for key in ("REMOTE_ADDR", "REQUEST_METHOD", "PATH_INFO"))
            log.debug("%s %s %s %s", address, method, path, status.partition(" ")[0])
            return start_response(status, *rest)

        return app(environ, start)

    return logged
