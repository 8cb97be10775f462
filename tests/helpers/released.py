"""Environments of released packages, which are the other side in interop tests and measurements.

Each is made once from an exact pin list, kept under `~/.cache/hivemind-mesh/` (or `$HIVEMIND_MESH_CACHE`) and
only ever run as processes of their own: nothing of them is imported here. Changed pins: another environment.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

OLDEST_CLIENTS = ("released-client-0.7.0a2", "released-client-0.4.4")
PINS = Path(__file__).parents[1] / "interop" / "peers"
INSTALL_TIMEOUT_S = 600
TRIES = 3
"""A package index does not always answer."""
MARKER = "complete"
CALLER = dict(os.environ)  # a test's own HOME would be one without the installer's cache


class EnvironmentFailed(Exception):
    """An environment could not be made; the text ends with what the installer said."""


def cache_folder() -> Path:
    """Where environments live: by the account, not by $HOME, which a test may have set to its own."""
    if chosen := os.environ.get("HIVEMIND_MESH_CACHE"):
        return Path(chosen)
    try:
        home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        home = Path.home()
    return home / ".cache" / "hivemind-mesh"


def released(name: str) -> Path:
    """The folder of programs (`bin`) of the environment pinned by `tests/interop/peers/<name>.txt`."""
    pins = PINS / f"{name}.txt"
    return environment(name, ["--no-deps", "-r", str(pins)], pins.read_bytes())


def environment(name: str, requirements: Sequence[str], identity: bytes) -> Path:
    """The `bin` folder of an environment holding `requirements` (installer arguments), made unless it exists.

    Environments of one name with another `identity` are others. Two processes never install into one at once.
    """
    digest = hashlib.sha256(sys.version.encode() + identity).hexdigest()[:12]
    folder = cache_folder() / f"{name}-{digest}"
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not (folder / MARKER).exists():
            shutil.rmtree(folder, ignore_errors=True)
            make_environment(folder, requirements)
            (folder / MARKER).touch()
    return folder / "bin"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's lock: one process at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_environment(folder: Path, requirements: Sequence[str]) -> Path:
    """Make an environment in a folder that is not there yet; its `bin` folder."""
    python = folder / "bin" / "python"
    if uv := _uv():
        _run(uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(folder))
        _install(uv, "pip", "install", "--quiet", "--python", str(python), *requirements)
    else:
        _run(sys.executable, "-m", "venv", str(folder))
        _install(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
    return python.parent


def build_wheels(projects: Sequence[Path], folder: Path) -> None:
    """Build the wheel of each project into a folder."""
    uv = _uv()
    builder = [uv, "build", "--quiet"] if uv else [sys.executable, "-m", "build"]
    for project in projects:
        _run(*builder, "--wheel", str(project), "--out" + ("-dir" if uv else "dir"), str(folder))


def _uv() -> str | None:
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return shutil.which("uv", path=programs)


def _install(*argv: str) -> None:
    for _ in range(TRIES - 1):
        with suppress(EnvironmentFailed):
            _run(*argv)
            return
    _run(*argv)


def _run(*argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, env=CALLER, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFailed(f"{' '.join(argv)}: {error}") from error
    if done.returncode:
        raise EnvironmentFailed(f"{' '.join(argv)}\n{done.stdout}{done.stderr}")
