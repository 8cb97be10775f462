"""Folders that belong to somebody else, and the line that cures it.

The usual way there is a container: a folder of the host is bound into it, and who made it is not who runs here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote

from .config import config_dir, data_dir

OUTSIDE = {"config": "HIVEMIND_CONFIG_FOLDER", "data": "HIVEMIND_SHARE_FOLDER"}
"""Variables that name, inside a container, the host's folders which are bound into it."""
SUBFOLDER = "hivemind-core"


def explained(error: Exception, environ: Mapping[str, str] = os.environ) -> str:
    """Return what an error says, and where a folder's owner may be the reason, whose it is and what to run."""
    return "\n".join((str(error), *_cures(environ)))


def _cures(environ: Mapping[str, str]) -> Iterator[str]:
    if not hasattr(os, "geteuid"):
        return
    for variable, folder in ((OUTSIDE["config"], config_dir(environ)), (OUTSIDE["data"], data_dir(environ))):
        foreign = _foreign(folder / SUBFOLDER)
        if foreign is not None:
            outside = environ.get(variable, "").strip()
            yield (
                f"{foreign} belongs to uid {foreign.stat().st_uid}, and this runs as uid {os.geteuid()}. Run"
                f"{' on the host' if outside else ''}: sudo chown -R {os.geteuid()}:{os.getegid()}"
                f" {quote(outside or str(foreign))}"
            )


def _foreign(folder: Path) -> Path | None:
    """Return what cannot be written in a folder because it is somebody else's: the folder, or something in it."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if _is_foreign(folder):
        return folder
    return next(filter(_is_foreign, sorted(folder.iterdir())), None) if folder.name == SUBFOLDER else None


def _is_foreign(path: Path) -> bool:
    needed = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
    return not os.access(path, needed) and path.stat().st_uid != os.geteuid()
