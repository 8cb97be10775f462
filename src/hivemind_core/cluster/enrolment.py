"""How a cluster gets its identity from one hub, and other hubs get it from the cluster."""

from __future__ import annotations

import os
import secrets
import sys
from datetime import datetime

import click

from hivemind_bus_client.exceptions import IdentityFileCorrupted

from ..audit_log import note
from ..cluster_config import ClusterConfig
from ..config import Config, ConfigError
from ..console import Failure
from ..environment import CLUSTER_JOIN_CODE
from . import identity_files, join_code, local_clients, shared_identity, vault
from .reaching import NO_IDENTITY, NOT_MEMBER, fail, reached, settings_of
from .shared_identity import CannotOpen, SealedIdentity, SharedIdentity
from .vault import Overtaken, Vault

CREATED = """\
The cluster {name!r} at {url} has this hub's identity.

Join code, shown only now: whoever has it and can reach Redis can become this hub. Do not keep it.

    {code}

On each further hub, with the same `cluster` block in its server.json, run this and type the code when asked:

    hivemind-core cluster join

If this hub runs, restart it."""
OTHERS_IDENTITY = (
    "The cluster {name!r} at {url} has another hub's identity. To make this hub a member, run: hivemind-core cluster"
    " join. To give the cluster this hub's identity instead, run: hivemind-core cluster create --replace. The members"
    " that are there then must join anew, and devices that know their key refuse them until each has run"
    " `hivemind-client forget-server`."
)
OWN_IDENTITY = (
    "The cluster {name!r} at {url} has this hub's identity already. For another join code, run:"
    " hivemind-core cluster create --new-code"
)
REPLACED = (
    "WARNING: the cluster had another hub's identity. Its other members must join anew before they can start again, and"
    " devices that know their key refuse them until each has run `hivemind-client forget-server`."
)
IN_USE = (
    "This hub has an identity that {count} client(s) know, in {path}. As a member of the cluster it would have another:"
    " devices that have pinned its key refuse it until each has run `hivemind-client forget-server`, and clients that"
    " are not in the cluster's database are unknown to it. If this hub's devices are to stay, make the cluster of this"
    " hub's identity instead (hivemind-core cluster create). Else run: hivemind-core cluster join --replace"
)


def create(config: Config, *, new_code: bool, replace: bool) -> None:
    """Give the cluster this hub's identity. Raises ConfigError, Failure."""
    settings = settings_of(config)
    identity = identity_files.own()
    code = join_code.write(secrets.token_bytes(join_code.RANDOM_BYTES))
    with reached(settings) as opened:
        stored = opened.stored()
        _check_may_create(settings, stored, identity, new_code=new_code, replace=replace)
        sealed = shared_identity.seal(identity, join_code.read(code), settings.name)
        _put(opened, sealed, stored)
    action = "create --new-code" if new_code else "create --replace" if replace else "create"
    _note(action, settings, sealed.fingerprint, _former(settings, stored))
    click.echo(CREATED.format(name=settings.name, url=settings.url, code=code))
    if not new_code:
        _tell_of_local_clients(config)


def _check_may_create(
    settings: ClusterConfig, stored: bytes | None, identity: SharedIdentity, *, new_code: bool, replace: bool
) -> None:
    if stored is None:
        if new_code:
            fail(NO_IDENTITY, settings)
        return
    if replace:
        click.echo(REPLACED, err=True)
        return
    is_ours = vault.sealed_identity(settings, stored).fingerprint == identity.fingerprint
    if new_code and not is_ours:
        fail(NOT_MEMBER, settings)
    if not new_code:
        fail(OWN_IDENTITY if is_ours else OTHERS_IDENTITY, settings)


def _former(settings: ClusterConfig, stored: bytes | None) -> str | None:
    """Return whose identity the cluster had."""
    try:
        return None if stored is None else vault.sealed_identity(settings, stored).fingerprint
    except ConfigError:
        return "one that could not be read"


def _note(action: str, settings: ClusterConfig, identity: str, former: str | None) -> None:
    """Write into the audit log whose identity counts from now on: whoever has it is this hub."""
    details = {"cluster": settings.name, "identity": identity}
    note(f"cluster {action}", details if former in (None, identity) else {**details, "instead of": former})


def _put(opened: Vault, sealed: SealedIdentity, stored: bytes | None) -> None:
    try:
        opened.put(sealed, stored)
    except Overtaken:
        raise Failure("Somebody else has changed the cluster's identity meanwhile; look and try again.") from None


def _tell_of_local_clients(config: Config) -> None:
    for found in local_clients.count(config):
        click.echo(
            f"NOTE: {found.count} client(s) are in {found.path}; hubs of a cluster have theirs in Redis. Unless they"
            " are there already, stop this hub and copy them:"
            f" hivemind-core migrate-db --from {found.module} --to {config.database_module}",
            err=True,
        )


def join(config: Config, code: str | None, *, replace: bool) -> None:
    """Take over the cluster's identity. Raises ConfigError, Failure."""
    settings = settings_of(config)
    with reached(settings) as opened:
        stored = opened.stored()
    if stored is None:
        fail(NO_IDENTITY, settings)
    sealed = vault.sealed_identity(settings, stored)
    former = _present(replace)
    if former == sealed.fingerprint:
        click.echo(f"This hub is a member of the cluster {settings.name!r} already.")
        return
    if not replace:
        _check_not_in_use(config)
    try:
        identity = shared_identity.open_sealed(sealed, _secret(code), settings.name)
    except CannotOpen as error:
        raise Failure(f"The identity of the cluster {settings.name!r} cannot be opened: {error}") from None
    backup = identity_files.put(identity, datetime.now())
    _note("join --replace" if replace else "join", settings, sealed.fingerprint, former)
    click.echo(f"This hub has the identity of the cluster {settings.name!r} now. Start it, or restart it if it runs.")
    if backup is not None:
        click.echo(f"Its former identity is kept in {backup}.", err=True)


def _present(replace: bool) -> str | None:
    """Return whose identity this hub has; one that cannot be read counts as none where it is to be replaced."""
    try:
        return identity_files.own_fingerprint()
    except (ConfigError, IdentityFileCorrupted):
        if replace:
            return None
        raise


def _check_not_in_use(config: Config) -> None:
    if not identity_files.exists():
        return
    for found in local_clients.count(config):
        raise Failure(IN_USE.format(count=found.count, path=found.path))


def _secret(code: str | None) -> bytes:
    given = code or os.environ.get(CLUSTER_JOIN_CODE, "").strip()
    if given:
        return _read_code(given)
    if not sys.stdin.isatty():
        return _read_code(sys.stdin.readline())
    secret: bytes = click.prompt("Join code", hide_input=True, value_proc=_typed_code)
    return secret


def _read_code(text: str) -> bytes:
    if not text.strip():
        raise Failure(f"There is no join code: give --code CODE, or set {CLUSTER_JOIN_CODE}.")
    try:
        return join_code.read(text)
    except join_code.WrongCode as error:
        raise Failure(str(error)) from None


def _typed_code(text: str) -> bytes:
    """Read a code that was typed; a wrong one is asked for again."""
    try:
        return join_code.read(text)
    except join_code.WrongCode as error:
        raise click.BadParameter(str(error)) from None
