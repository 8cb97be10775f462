"""How a line of the log looks: for people, for the journal of systemd, or for programs that read JSON.

Nothing but time, level, logger, message and traceback is ever written, and of a refusal its code, who is refused and
the cure; what else a record carries stays out.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, TextIO

AUTO, PLAIN, JSON, JOURNAL = "auto", "plain", "json", "journal"
FORMATS = (AUTO, PLAIN, JSON, JOURNAL)
"""`auto` is `journal` where the log goes to the journal, else `plain`."""
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7
INDENT = "    "
REFUSAL = ("code", "peer", "cure")
_REFUSAL = "hivemind_refusal"


def refusal_fields(code: str, peer: str, cure: str) -> dict[str, dict[str, str]]:
    """Return the `extra` of a line that tells of a refusal; the message of the line says the same for people."""
    return {_REFUSAL: dict(zip(REFUSAL, (code, peer, cure), strict=True))}


class PlainLines(logging.Formatter):
    """Time, level, logger and message. Whatever a stranger brought into a message stays within its line, and steers
    no terminal; a traceback follows, indented, so that no line of it can be taken for another entry."""

    def __init__(self, pattern: str = "%(asctime)s %(levelname)s %(name)s: %(message)s") -> None:
        super().__init__(pattern)

    def format(self, record: logging.LogRecord) -> str:
        kept, record.exc_text = record.exc_text, None  # other formatters leave theirs for the next
        try:
            return super().format(record)
        finally:
            record.exc_text = kept

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "\n".join(f"{INDENT}{printable(line)}" for line in super().formatException(ei).split("\n"))


class JournalLines(PlainLines):
    """No time, which the journal knows, and before each line the priority that sd-daemon(3) describes."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_priority(record.levelno)}>"
        return "\n".join(prefix + line for line in super().format(record).split("\n"))


class JSONLines(logging.Formatter):
    """One object a line: time (UTC), level, logger, message; exception with its traceback, where there was one; code,
    peer and cure of a refusal.
    """

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        entry = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        refusal = getattr(record, _REFUSAL, None)
        if isinstance(refusal, dict):
            entry |= {name: str(refusal[name]) for name in REFUSAL if name in refusal}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps({key: _text(value) for key, value in entry.items()})


def printable(text: str) -> str:
    """Return a text as one line that steers no terminal: what cannot be printed is written as Python would."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def formatter(wanted: str, stream: TextIO | None, environ: Mapping[str, str] = os.environ) -> logging.Formatter:
    """Return what makes the lines of one of `FORMATS` for a stream; None: a file."""
    name = wanted if wanted != AUTO else JOURNAL if goes_to_journal(stream, environ) else PLAIN
    makers: dict[str, Callable[[], logging.Formatter]] = {PLAIN: PlainLines, JSON: JSONLines, JOURNAL: JournalLines}
    return makers[name]()


def goes_to_journal(stream: TextIO | None, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a stream is the one that systemd connected to its journal."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    if stream is None or not inode:
        return False
    try:
        there = os.fstat(stream.fileno())
    except (OSError, ValueError):  # it is no file of the operating system, or closed
        return False
    return (device, inode) == (str(there.st_dev), str(there.st_ino))


def _text(text: str) -> str:
    """Half a surrogate pair, as in the name of a file that is no text, is none to most readers of JSON."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _priority(level: int) -> int:
    return next((priority for least, priority in _PRIORITIES if level >= least), _DEBUG)
