"""Checks of a satellite's identity: the file, its secrets and keys, and the address in it. Nothing is changed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from ..address import known_port, parse_address
from ..exceptions import IdentityFileCorrupted
from .door import look
from .files import private
from .findings import Finding, fail, ok, warn
from .network import reachable, resolved
from .visit import Visit

SET_BOTH = (
    "Run `hivemind-core add-client` on the hub, and here what it prints: `hivemind-client set-identity --key KEY"
    " --password PASSWORD --host HOST`."
)
SET_HOST = "Run `hivemind-client set-identity --host HOST`."
PLACEHOLDERS = frozenset({"key", "password", "access-key", "accesskey", "secret", "changeme", "none", "your-password"})
GUESSABLE = frozenset({*PLACEHOLDERS, "hivemind", "mycroft", "ovos", "admin", "test", "qwerty", "letmein", "12345678"})
LEAST_BITS = 40.0
KEY_HEX = 64
HEX = frozenset("0123456789abcdef")


def identity(visit: Visit) -> Iterator[Finding]:
    """The identity file: there, readable, private; the access key and password in it or on the command line."""
    path = visit.identity_path
    if not path.exists():
        yield _no_file(visit)
    try:
        visit.identity = found = visit.open_identity()
    except IdentityFileCorrupted as error:
        cure = f"Correct it, or move it away (mv {quote(str(path))} {quote(str(path))}.broken). {SET_BOTH}"
        yield fail("identity", f"{str(error).partition(';')[0]}.", cure)
        return
    except OSError as error:
        yield fail("identity", f"{path} cannot be read: {error.strerror}.", f"Run: ls -l {quote(str(path))}")
        return
    visit.key, visit.password = (
        visit.target.key or _text(found.access_key),
        visit.target.password or _text(found.password),
    )
    problems = list(private("identity", path)) if path.exists() else []
    yield from problems
    if path.exists() and not problems:
        yield ok("identity", f"{path} is there, and for its owner alone.")
    yield from _secrets(visit)


def _no_file(visit: Visit) -> Finding:
    if visit.target.key and visit.target.password:
        return ok("identity", "There is no identity file; access key and password are those of the command line.")
    return fail("identity", f"There is no identity file {visit.identity_path}.", SET_BOTH)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _secrets(visit: Visit) -> Iterator[Finding]:
    missing = [name for name, value in (("access key", visit.key), ("password", visit.password)) if not value]
    if missing and (visit.identity_path.exists() or len(missing) == 1):
        yield fail("identity", f"It has no {' and no '.join(missing)}.", SET_BOTH)
    for name, option, value in (("access key", "--key", visit.key), ("password", "--password", visit.password)):
        if value != value.strip():
            yield warn(
                "identity",
                f"The {name} begins or ends with a blank.",
                f"Copy it without: `hivemind-client set-identity {option} …`.",
            )
        if value.strip().lower() in PLACEHOLDERS:
            yield fail("identity", f"The {name} is the word of the instructions, not what the hub printed.", SET_BOTH)
    if visit.password and is_weak(visit.password, visit.key) and visit.password.lower() not in PLACEHOLDERS:
        yield warn(
            "identity",
            "The password is easy to guess; a hub refuses such ones.",
            "Let the hub make one: `hivemind-core rotate-password`, or `hivemind-core add-client` without --password.",
        )


def is_weak(password: str, key: str = "") -> bool:
    """Tell whether a password is a usual word, the access key, or has little in it; the hub judges more thoroughly."""
    text = password.lower()
    bits = len(set(text)) and len(text) * math.log2(max(2, len(set(text))))
    return text in GUESSABLE or password == key or bits < LEAST_BITS or text.isdecimal()


def keys(visit: Visit) -> Iterator[Finding]:
    """The device's keys, and the hub's that is pinned."""
    found = visit.identity
    if found is None:
        return
    noise = Path(found.noise_key)
    if not noise.exists():
        yield ok("keys", f"This device has no key yet; it is made on the first connection: {noise}.")
    else:
        yield from private("keys", noise)
        try:
            fits = _is_key(noise.read_text("ascii").strip())
        except (OSError, UnicodeError):
            fits = False
        if fits:
            yield ok("keys", f"The key of this device is there: {noise}.")
        else:
            yield fail(
                "keys", f"{noise} holds no key.", f"Put it back from a backup, or run: mv {quote(str(noise))} /tmp"
            )
    if Path(found.private_key).exists():
        yield from private("keys", Path(found.private_key))
    for server, pin in found.pinned_noise_keys.items():
        if not _is_key(str(pin)):
            yield fail(
                "keys", f"What is pinned for {server} is no key.", f"Run: hivemind-client forget-server --host {server}"
            )


def _is_key(text: str) -> bool:
    return len(text) == KEY_HEX and set(text.lower()) <= HEX


def address(visit: Visit) -> Iterator[Finding]:
    """Where the hub is: written in a way that can be dialled, and a name that is known here."""
    found, target = visit.identity, visit.target
    host = target.host or (_text(found.default_master) if found else "")
    if not host:
        yield fail("address", "It is not known where the hub is.", SET_HOST)
        return
    stored = found.default_port if found and isinstance(found.default_port, (int, str)) else None
    try:
        usual = known_port(stored, found.default_master if found else None, host.lower().startswith("http"))
        visit.address = parse_address(host, target.port, usual, http=None)
    except ValueError as error:
        yield fail("address", f"{str(error)[:1].upper()}{str(error)[1:]}.", SET_HOST)
        return
    yield ok("address", f"The hub is to be at {visit.address}.")


def network(visit: Visit) -> Iterator[Finding]:
    """The hub's port: its name resolved, every address tried."""
    if visit.address is None:
        return
    found, told = resolved("address", visit.address.host, visit.address.port)
    yield from told
    told = list(reachable("port", found)) if found else told
    yield from told if found else ()
    if any(finding.verdict == "FAIL" for finding in told):
        visit.address = None


def door(visit: Visit) -> Iterator[Finding]:
    """What answers there, with which certificate, and what time it has."""
    if visit.address is None:
        return
    for finding in look("port", visit.address, visit.wall):
        yield finding
        if finding.verdict == "FAIL":
            visit.address = None
