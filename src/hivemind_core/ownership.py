"""Folders that belong to somebody else, and the line that cures it.

The usual way there is a container: a folder of the host is bound into it, and who made it is not who runs here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from shlex import quote

from .config import config_dir, data_dir

OUTSIDE = {"config": "HIVEMIND_CONFIG_FOLDER", "data": "HIVEMIND_SHARE_FOLDER"}
"""Variables that name, inside a container, the host's folders which are bound into it."""
SUBFOLDER = "hivemind-core"
ROOTLESS = "Without root, Podman must give this account its uid: set PODMAN_USERNS as .env.example shows"


def explained(error: Exception, environ: Mapping[str, str] = os.environ) -> str:
    """Return what an error says, and where a folder's owner may be the reason, whose it is and what to run."""
    return "\n".join((str(error), *_cures(environ)))


def rootless(uid_map: str) -> bool:
    """Tell by /proc/self/uid_map whether root in here is another account outside."""
    inside, outside, _ = (uid_map.split() or ["0", "0", ""])[:3]
    return (inside, outside) != ("0", "0")


def _cures(environ: Mapping[str, str]) -> Iterator[str]:
    if not hasattr(os, "geteuid"):
        return
    for variable, folder in ((OUTSIDE["config"], config_dir(environ)), (OUTSIDE["data"], data_dir(environ))):
        with suppress(OSError):  # it is not even to be looked at
            yield from _cure(folder / SUBFOLDER, environ.get(variable, "").strip())


def _cure(folder: Path, outside: str) -> Iterator[str]:
    foreign = _foreign(folder)
    if foreign is None:
        return
    uid, gid = os.geteuid(), os.getegid()
    run = f"sudo chown -R {uid}:{gid} {quote(outside or str(foreign))}"
    if foreign == folder.parent and not outside:  # there is more in it, which is to stay whose it is
        run = f"sudo install -d -m 700 -o {uid} -g {gid} {quote(str(folder))}"
    owner = _owner(foreign)
    cure = f"Run on the host: {run}" if outside else f"Run: {run}"
    if outside and owner == 0 and rootless(_uid_map()):
        cure = ROOTLESS
    yield f"{foreign} belongs to uid {owner}, and this runs as uid {uid}. {cure}"


def _owner(path: Path) -> int:
    return path.stat().st_uid


def _uid_map() -> str:
    with suppress(OSError):
        return Path("/proc/self/uid_map").read_text("ascii")
    return ""


def _foreign(folder: Path) -> Path | None:
    """Return what is somebody else's and cannot be written: the folder, something in it, or where it is to be."""
    if not folder.exists():
        return folder.parent if folder.parent.exists() and _is_foreign(folder.parent) else None
    if _is_foreign(folder):
        return folder
    return next(filter(_is_foreign, sorted(folder.iterdir())), None)


def _is_foreign(path: Path) -> bool:
    if path.is_symlink():  # it may lead to what is none of ours
        return False
    needed = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
    return not os.access(path, needed) and path.stat().st_uid != os.geteuid()
