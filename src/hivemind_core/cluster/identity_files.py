"""The identity that a hub shares with its cluster, in the hub's own folder: read from there, and put there whole."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from hivemind_bus_client.exceptions import IdentityFileCorrupted
from hivemind_bus_client.identity import NodeIdentity, write_private
from hivemind_bus_client.psk_cache import PskCache

from ..config_values import ConfigError
from ..hub_identity import identity_path, load_identity
from .shared_identity import SharedIdentity, fingerprint

BACKUPS = "identity-backup"
NAME = "hivemind-core"


def own() -> SharedIdentity:
    """Return this hub's identity, made or adopted where there is none. Raises ConfigError."""
    identity = load_identity()
    if identity.rsa_key is None:
        raise ConfigError(
            f"The hub's RSA key is missing beside {identity_path()}. Put it back from a backup: the other hubs need it."
        )
    file = NodeIdentity(identity_file=identity_path())
    return SharedIdentity(
        identity.node_id,
        identity.rsa_key,
        identity.noise_key,
        identity.site_id,
        file.trusted_keys,
        file.pinned_noise_keys,
    )


def exists() -> bool:
    """Tell whether this hub has an identity."""
    return identity_path().exists()


def own_fingerprint() -> str | None:
    """Return whose identity is in the folder; None where there is none, and none is made. Raises ConfigError."""
    if not exists():
        return None
    identity = load_identity()
    return fingerprint(identity.node_id, identity.noise_key)


def put(identity: SharedIdentity, now: datetime) -> Path | None:
    """Make an identity this hub's own; return the folder in which the former one is kept, if there was one.

    The identity file is replaced last, in one step, and the keys it names are new files: whatever happens meanwhile,
    the folder holds either identity whole. Raises OSError.
    """
    path = identity_path()
    mark = identity.fingerprint[:8]
    rsa, noise = f"cluster-{mark}.pem", f"cluster-{mark}_noise.key"
    backup = _kept(path, now) if path.exists() else None
    former = _key_files(path)
    write_private(path.parent / rsa, identity.rsa_key)
    write_private(path.parent / noise, identity.noise_key.hex())
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    made = NodeIdentity(identity_file=fresh)
    made.name, made.site_id = NAME, identity.site_id
    made.public_key, made.private_key, made.noise_key = identity.node_id, rsa, noise
    made.trusted_keys, made.pinned_noise_keys = dict(identity.trusted_keys), dict(identity.pinned_keys)
    made.save()
    fresh.replace(path)
    for file in former - {path.parent / rsa, path.parent / noise}:
        file.unlink(missing_ok=True)
    return backup


def _kept(path: Path, now: datetime) -> Path:
    """Copy the files of an identity into a folder of their own beside it."""
    folder = path.parent / f"{BACKUPS}-{now:%Y%m%d-%H%M%S}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for file in {path, *_key_files(path)}:
        if file.is_file():
            write_private(folder / file.name, file.read_bytes())
    return folder


def _key_files(path: Path) -> set[Path]:
    """Return the files with secrets that an identity has beside it."""
    try:
        identity = NodeIdentity(identity_file=path)
    except IdentityFileCorrupted:
        return set()
    named = {Path(identity.private_key), Path(identity.noise_key), PskCache(identity.noise_key).path}
    return {file for file in named if file.parent == path.parent}
