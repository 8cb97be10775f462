"""The machine and its packages: clock, Python, versions, and released packages that bring the same modules as ours."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from importlib import metadata

from ..version import __version__
from .findings import Finding, fail, ok, warn

OURS = "hivemind-mesh"
LIBRARIES = ("websockets", "cryptography")
OPTIONAL = ("aiohttp", "msgspec", "redis", "ovos-bus-client")
MODULES = ("hivemind_bus_client", "hivemind_core", "hivemind_chatroom")
NAMES = ("hivemind-core", "hivemind-bus-client", "hivemind-flask-chatroom")
"""Released packages, whose later versions are ours and bring no modules of their own."""
OLDEST_YEAR, NEWEST_YEAR = 2025, 2080
SET_CLOCK = "Set it: `sudo timedatectl set-ntp true`, or `sudo date --set '2026-01-31 12:00'`."


def clock(now: float, oldest: int = OLDEST_YEAR) -> Finding:
    """Say whether a time (Unix time, seconds) can be true; boards without a battery begin in 1970."""
    when = datetime.fromtimestamp(now, timezone.utc)
    if oldest <= when.year <= NEWEST_YEAR:
        return ok("clock", f"The clock of this machine says {when:%Y-%m-%d %H:%M} UTC.")
    return fail("clock", f"The clock of this machine says {when:%Y-%m-%d}, which cannot be.", SET_CLOCK)


def version_of(name: str) -> str:
    """Return the version of an installed package; empty if there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def versions(libraries: Sequence[str] = LIBRARIES, optional: Sequence[str] = OPTIONAL) -> Iterator[Finding]:
    """Say what is installed, and fail for libraries that are not there."""
    there = {name: version_of(name) for name in (*libraries, *optional)}
    told = ", ".join(f"{name} {version}" for name, version in there.items() if version)
    python = f"Python {platform.python_version()} ({sys.executable})"
    yield ok("versions", f"{OURS} {__version__}, {python}; {told}.")
    missing = [name for name in libraries if not there[name]]
    if missing:
        yield fail("versions", f"Not installed: {', '.join(missing)}.", f"Run: {_pip()} install --upgrade {OURS}")
    yield from shadows(list(metadata.distributions()))


def shadows(distributions: Sequence[metadata.Distribution]) -> Iterator[Finding]:
    """Say which packages bring files of the same modules as ours: which of them count is chance."""
    others = dict.fromkeys(name for each in distributions if (name := _name(each)) in NAMES and _brings_modules(each))
    if others:
        names = " ".join(others)
        yield fail(
            "versions",
            f"Released packages in this environment bring the same modules as {OURS}: {names}.",
            f"Run: {_pip()} uninstall --yes {names} && {_pip()} install --force-reinstall --no-deps {OURS}",
        )
    doubled = [each for each in distributions if _name(each) == OURS]
    if len(doubled) > 1:
        yield warn("versions", f"{OURS} is installed {len(doubled)} times in this environment.", "Remove all but one.")


def _name(distribution: metadata.Distribution) -> str:
    return re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()


def _brings_modules(distribution: metadata.Distribution) -> bool:
    return any(file.parts[0] in MODULES and file.suffix == ".py" for file in distribution.files or ())


def _pip() -> str:
    return f"{sys.executable} -m pip"
