"""How many files the process may have open: each connection is one."""

from __future__ import annotations

import logging
import sys

log = logging.getLogger(__name__)

WANTED = 65_536
FEW = 4096
"""Strangers that say nothing may take a thousand (transports/intake.py), and handshakes two thousand."""


def allow_files(wanted: int = WANTED) -> None:
    """Raise the soft limit that many systems begin with, 1024, as far as this process may."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    most = wanted if hard == unlimited else min(hard, wanted)
    if soft != unlimited and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (ValueError, OSError):  # macOS has another limit, which `hard` does not tell
            log.debug("no more than %d files are allowed", soft, exc_info=True)
        else:
            soft = most
    if soft != unlimited and soft < FEW:
        log.warning("only %d files may be open at once, and each connection is one; raise it (ulimit -n)", soft)
