"""What the product logs while an input is tried: no failure of ours, no secret, and lines that can be written."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

MAX_LINES = 2000
MAX_LINE = 20_000


class _Watch(logging.Handler):
    def __init__(self, secrets: tuple[str, ...]) -> None:
        super().__init__(logging.INFO)
        self._secrets = secrets
        self._lines = 0
        self.problem: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._check(record)
        except Exception as error:  # noqa: BLE001 - whoever logs must not be disturbed
            self.problem = self.problem or error

    def _check(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            trace = "".join(traceback.format_exception(record.exc_info[1]))
            raise AssertionError(f"a failure went to the log: {text}\n{trace}") from record.exc_info[1]
        self._lines += 1
        assert self._lines <= MAX_LINES, "one input fills the log"
        assert len(text) <= MAX_LINE, "one line of the log is too long"
        assert not any(secret in text for secret in self._secrets), "a secret is in the log"


@contextmanager
def watched_log(*secrets: str) -> Iterator[None]:
    """Raise at the end what was wrong with the log."""
    watch, root = _Watch(secrets), logging.getLogger()
    before, raising = root.level, logging.raiseExceptions
    root.addHandler(watch)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(watch)
        root.setLevel(before)
        logging.raiseExceptions = raising
    if watch.problem is not None:
        raise watch.problem
