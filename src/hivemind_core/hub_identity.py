"""The hub's own identity: its keys in its own folder, so that nothing done to a satellite here touches the hub.

The RSA public key is the hub's ``node_id`` and salts every key (docs/protocol.md 7.4, 18): it is made once, or taken
over from a released installation, which kept it in the folder it shared with satellites.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from hivemind_bus_client.exceptions import IdentityFileCorrupted
from hivemind_bus_client.identity import NodeIdentity, read_or_create_noise_key, write_private

from .config import ConfigError, config_dir, data_dir

log = logging.getLogger(__name__)

_RELEASED_FILES = ("server.json",)
_RELEASED_DATA = ("clients.db", "clients.json")


@dataclass(frozen=True)
class HubIdentity:
    """Who this hub is."""

    node_id: str
    """Its RSA public key as PEM; it salts every key and session namespace (docs/protocol.md 7.1)."""
    noise_key: bytes = field(repr=False)
    """Its X25519 private key, 32 raw bytes."""
    site_id: str | None = None
    rsa_key: str | None = field(default=None, repr=False)
    """Its RSA private key as PEM, for protocol v1 and INTERCOM; None where it cannot be read."""
    trusted_keys: tuple[str, ...] = ()
    """RSA public keys (PEM) whose sealed messages it takes, however they come."""


def identity_path() -> Path:
    """Return where the hub's identity is."""
    return config_dir() / "hivemind-core" / "_identity.json"


def load_identity() -> HubIdentity:
    """Return the hub's identity, made or adopted on the first start. Raises ConfigError."""
    path = identity_path()
    folder = path.parent
    try:
        identity = NodeIdentity(identity_file=path)
        if not path.exists():
            _begin(identity, folder)
        else:
            _warn_of_loss(identity, path)
        public, noise = identity.public_key, read_or_create_noise_key(Path(identity.noise_key))
    except IdentityFileCorrupted as error:
        raise ConfigError(
            f"The hub's identity cannot be read: {str(error).rstrip('.')}. It was left as it is."
        ) from None
    except OSError as error:
        raise ConfigError(f"The hub's identity in {folder} cannot be read or written: {error}.") from None
    if not public:
        raise ConfigError(
            f"The hub's identity {path} has no usable RSA key. Put back {identity.private_key}: without it every"
            " satellite would have to be joined anew."
        )
    trusted = tuple(identity.trusted_keys.values())
    return HubIdentity(public, noise, identity.site_id, _rsa_key(Path(identity.private_key)), trusted)


def _rsa_key(path: Path) -> str | None:
    """Return the private key; the hub needs it for protocol v1 only and starts without it."""
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        log.warning("the hub's RSA key %s cannot be read (%s): protocol v1 and INTERCOM cannot be served", path, error)
        return None


def _warn_of_loss(identity: NodeIdentity, path: Path) -> None:
    """Say loudly that devices will refuse this hub: they have pinned the key that is gone (docs/protocol.md 7.8)."""
    if not Path(identity.noise_key).exists():
        log.error(
            "The hub's key %s is gone and a new one is made, so every device refuses this hub until it has run"
            " `hivemind-client forget-server`. If there is a backup, stop the hub and put the file back beside %s.",
            identity.noise_key,
            path,
        )


def _begin(identity: NodeIdentity, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if _was_released_hub(folder):
        released = config_dir() / "hivemind" / "_identity.json"
        if released.exists() and _adopt(identity, NodeIdentity(identity_file=released), folder):
            log.info("took over the hub identity of the installation in %s", released.parent)
            return
    identity.name = "hivemind-core"
    identity.create_keys()
    identity.save()


def _was_released_hub(folder: Path) -> bool:
    """Tell whether a released hub ran here: it leaves its configuration or its clients."""
    data = data_dir() / "hivemind-core"
    return any((folder / name).exists() for name in _RELEASED_FILES) or any(
        (data / name).exists() for name in _RELEASED_DATA
    )


def _adopt(identity: NodeIdentity, released: NodeIdentity, folder: Path) -> bool:
    """Copy the keys of a released installation; False when it has no RSA key yet."""
    private = Path(released.private_key)
    if not private.exists() or not released.public_key:
        return False
    write_private(folder / "HiveMindComs.pem", private.read_bytes())
    identity.name = "hivemind-core"
    identity.site_id = released.site_id
    identity.private_key = "HiveMindComs.pem"
    identity.public_key = released.public_key
    noise = Path(released.noise_key)
    if noise.exists():
        write_private(Path(identity.noise_key), noise.read_bytes())
    identity.save()
    return True
