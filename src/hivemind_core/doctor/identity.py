"""Checks of the hub's identity and of the folders it lives in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hivemind_bus_client.doctor.files import private
from hivemind_bus_client.doctor.findings import Finding, fail, ok
from hivemind_bus_client.exceptions import IdentityFileCorrupted
from hivemind_bus_client.identity import NodeIdentity

from ..config import ConfigError, config_dir, data_dir
from ..hub_identity import identity_path
from ..ownership import explained
from .case import HubCase

BACKUP = "Put it back from a backup, with the hub stopped; without it every device must be joined anew."
KEY_HEX = 64


def look(case: HubCase) -> Iterator[Finding]:
    """The identity file, its two keys, and who may read them."""
    path = identity_path()
    if not path.exists():
        yield ok("identity", f"The hub has no identity yet; it is made on its first start: {path}.")
        return
    try:
        identity = NodeIdentity(identity_file=path)
    except (IdentityFileCorrupted, OSError) as error:
        yield fail("identity", f"{str(error).partition(';')[0].rstrip('.')}.", BACKUP)
        return
    files = [path, Path(identity.private_key), Path(identity.noise_key)]
    found = [finding for file in files if file.exists() for finding in private("identity", file)]
    found += [fail("identity", f"{file} is gone.", BACKUP) for file in files if not file.exists()]
    if files[2].exists() and not _holds_key(files[2]):
        found.append(fail("identity", f"{files[2]} holds no key.", BACKUP))
    yield from found or [ok("identity", f"{path} and its two keys are there, and for their owner alone.")]


def _holds_key(path: Path) -> bool:
    try:
        return len(bytes.fromhex(path.read_text("ascii").strip())) * 2 == KEY_HEX
    except (OSError, ValueError):
        return False


def folders(case: HubCase) -> Iterator[Finding]:
    """The folders of configuration and data: there, ours, and not for others to write."""
    try:
        there = [config_dir() / "hivemind-core", data_dir() / "hivemind-core"]
    except ConfigError as error:
        yield fail("folders", str(error))
        return
    found = [finding for folder in there if folder.exists() for finding in private("folders", folder)]
    for line in explained(Exception()).splitlines()[1:]:
        reason, _, cure = line.partition(". ")
        found.append(fail("folders", f"{reason}.", cure))
    yield from found or [ok("folders", f"{there[0]} and {there[1]} can be used.")]
