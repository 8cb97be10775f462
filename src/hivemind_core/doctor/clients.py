"""Checks of the client database, which is only read: that it can be, who is in it, and who can never come in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hivemind_bus_client.doctor.files import private
from hivemind_bus_client.doctor.findings import Finding, fail, ok, warn

from ..clients import Client
from ..config import Config, ConfigError
from ..database import chosen_module
from ..database_places import KINDS, FilePlace, place_of
from ..passwords import is_strong
from ..storage import StorageError
from .case import HubCase
from .settings import unusable

NEW_ONE = "Make a new one: `hivemind-core delete-client {id}`, then `hivemind-core add-client`."
NEW_PASSWORD = "Give it a new one: `hivemind-core rotate-password {id}`."
SAY = "recognizer_loop:utterance"
ALLOW = f"Run `hivemind-core allow-msg {SAY} {{id}}`, or delete it if it is not used."
LET_SPEAK = f"Run `hivemind-core allow-msg {SAY} {{id}}`{{others}}, unless it is not meant to be spoken to."
MOST_NAMED, MOST_SILENT_NAMED = 5, 50
FULL_MB, LITTLE_MB = 20, 200
WHAT = "clients"


def look(case: HubCase) -> Iterator[Finding]:
    """Read the database, wherever it is."""
    config = case.config
    if config is None:
        return
    try:
        module = chosen_module(config)
        if module not in KINDS:
            yield fail(WHAT, f"`database.module` is {module[:60]!r}.", f"Name one of: {', '.join(KINDS)}.")
            return
        place = place_of(module, {} if config.database_is_open else config.database)
        if isinstance(place, FilePlace):
            yield from _space(place.path)
            if not place.is_there():
                yield warn(WHAT, f"There is no client database yet: {place}.", "Run `hivemind-core add-client`.")
                return
            yield from _files(place.path)
        rows = [row for row in place.read() if not row.is_revoked]
    except (ConfigError, StorageError) as error:
        yield unusable(WHAT, error, "Stop the hub and put back a backup, or move it away to begin without clients.")
        return
    yield from _who(rows, str(place), config)


def _files(path: Path) -> Iterator[Finding]:
    for suffix in ("", "-wal", "-shm"):
        file = Path(f"{path}{suffix}")
        if file.exists():
            yield from private(WHAT, file)


def _space(path: Path) -> Iterator[Finding]:
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    free_mb = shutil.disk_usage(folder).free / 1e6
    told = f"{free_mb:,.0f} MB are free where the client database is ({folder})."
    if free_mb < FULL_MB:
        yield fail("disk", told, "Make room: what changes can no longer be stored.")
    elif free_mb < LITTLE_MB:
        yield warn("disk", told, "Make room soon.")
    else:
        yield ok("disk", told)
    if not os.access(folder, os.W_OK):
        yield fail("disk", f"{folder} cannot be written.", "See whether the disk is mounted read-only (`mount`).")


def _who(rows: Sequence[Client], place: str, config: Config) -> Iterator[Finding]:
    if not rows:
        yield warn(WHAT, f"There are no clients in {place}.", "Run `hivemind-core add-client`.")
        return
    yield ok(WHAT, f"{len(rows)} in {place}.")
    oldest = config.min_protocol_version
    without = [row for row in rows if not row.password]
    old = [row for row in without if row.metadata.get("crypto_key")]
    yield from _told([row for row in without if row not in old], "no password, and can never connect", NEW_ONE, fail)
    if oldest > 0:
        yield from _told(old, f"no password but a key for protocol v0, which is refused below v{oldest}", NEW_ONE, fail)
    if config.runtime_password_strength_check and config.min_password_bits > 0:
        weak = [row for row in rows if row.password and not is_strong(row.password, config.min_password_bits)]
        yield from _told(weak, "a password that is too easy to guess, and cannot connect", NEW_PASSWORD, fail)
    mute = [row for row in rows if not row.allowed_types]
    yield from _told(mute, "no allowed message types: what it says is denied", ALLOW, warn)
    silent = [row for row in rows if row.allowed_types and SAY not in row.allowed_types]
    yield from _silent(silent)


def _silent(rows: Sequence[Client]) -> Iterator[Finding]:
    """Those that may say something, but nothing to the assistant: a sensor is meant so, a speaker in a room is not."""
    if rows:
        rest = ", ".join(str(row.client_id) for row in rows[1:MOST_SILENT_NAMED])
        others = f", and the same for {rest}" if rest else ""
        what = f"may not send {SAY}, so what is said to it reaches no assistant"
        cure = LET_SPEAK.format(id=rows[0].client_id, others=others)
        yield warn(WHAT, f"{_named(rows, MOST_SILENT_NAMED)}: {what}.", cure)


def _told(rows: Sequence[Client], what: str, cure: str, make: Callable[[str, str, str], Finding]) -> Iterator[Finding]:
    if rows:
        yield make(WHAT, f"{_named(rows, MOST_NAMED)}: {what}.", cure.format(id=rows[0].client_id))


def _named(rows: Sequence[Client], most: int) -> str:
    names = ", ".join(f"{row.name!r} (id {row.client_id})" for row in rows[:most])
    return names if len(rows) <= most else f"{names} and {len(rows) - most} more"
