"""A node's identity: its credentials, its keys and the keys it has pinned, in one file and its siblings."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Protocol, cast

from .identity_file import IdentityFile, check_kinds, make_private, read_or_create_noise_key, write_private

__all__ = [
    "JsonConfigXDG",
    "NodeIdentity",
    "create_RSA_key",
    "export_RSA_key",
    "read_or_create_noise_key",
    "shared_identity_for",
    "write_private",
]

LOG = logging.getLogger(__name__)

IDENTITY_STEM = "_identity"
IDENTITY_NAME = f"{IDENTITY_STEM}.json"
FOLDER = "hivemind"
RSA_KEY_NAME = "HiveMindComs.pem"
DEFAULT_NAME = "unnamed-node"
RSA_BITS = 2048

_APP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class IdentityStore(Protocol):
    """What an identity needs of the mapping that it keeps everything in."""

    path: str

    def get(self, key: str, default: Any = None, /) -> Any: ...
    def __getitem__(self, key: str, /) -> Any: ...
    def __setitem__(self, key: str, value: Any, /) -> None: ...
    def store(self) -> None: ...
    def reload(self) -> None: ...


def create_RSA_key(key_size: int = RSA_BITS) -> tuple[str, str]:  # noqa: N802
    """Return a new RSA pair as PEM text, public and private (docs/protocol.md 18)."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=key_size)
    return _public_pem(key), _private_pem(key)


def export_RSA_key(key: Any, path: str | os.PathLike[str]) -> None:  # noqa: N802
    """Write an RSA private key, PEM or another library's object that exports it, where only its owner may read it."""
    write_private(path, key.export_key() if hasattr(key, "export_key") else key)


def JsonConfigXDG(  # noqa: N802
    name: str, subfolder: str = FOLDER, xdg_folder: str | os.PathLike[str] | None = None
) -> IdentityFile:
    """Return the JSON file of that name in a folder of the user's configuration. Raises IdentityFileCorrupted."""
    return IdentityFile(Path(xdg_folder or xdg_config_home(), subfolder, f"{name}.json"))


def _private_pem(key: Any) -> str:
    from cryptography.hazmat.primitives import serialization as form

    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption())
    return cast("bytes", pem).decode("ascii").strip()


def _public_pem(key: Any) -> str:
    from cryptography.hazmat.primitives import serialization as form

    pem = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    return cast("bytes", pem).decode("ascii").strip()


def _public_pem_of(private_path: str) -> str | None:
    """The public half of a private key file; None if there is no readable key in it."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        make_private(private_path)
        return _public_pem(load_pem_private_key(Path(private_path).read_bytes(), password=None))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        LOG.warning("no RSA key could be read from %s: %s", private_path, error)
        return None


def xdg_config_home() -> Path:
    """Return the folder of the user's configuration, as the environment has it now."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(home) if os.path.isabs(home) else Path.home() / ".config"


def _locate(app_name: str | None, shared_fallback: bool, home: Path) -> tuple[str, bool]:
    """Return the folder of an application's identity, and whether the shared one stands in for it."""
    if app_name is None:
        return FOLDER, False
    if not _APP_NAME.fullmatch(app_name):
        raise ValueError(f"app_name {app_name!r}: letters, digits, '.', '_' and '-', at most 64, no leading '.'")
    own, shared = home / FOLDER / app_name / IDENTITY_NAME, home / FOLDER / IDENTITY_NAME
    if shared_fallback and not own.exists() and shared.exists():
        LOG.warning(f"{own} does not exist; {app_name} uses the shared identity {shared}")
        return FOLDER, True
    return f"{FOLDER}/{app_name}", False


def identity_path(app_name: str | None = None, shared_fallback: bool = True) -> Path:
    """Return where an identity is, or would be. Raises ValueError for a name that no application can have."""
    home = xdg_config_home()
    return home / _locate(app_name, shared_fallback, home)[0] / IDENTITY_NAME


def _opened(identity_file: Any) -> IdentityStore:
    """Return what an identity is kept in: a mapping as it is, or the file at a path.

    Such a mapping may be empty because it could not read its file: IdentityFileCorrupted, or it would be overwritten.
    """
    if not hasattr(identity_file, "get"):
        return IdentityFile(identity_file)
    path = getattr(identity_file, "path", None)
    if not identity_file and isinstance(path, (str, os.PathLike)) and os.path.isfile(path):
        IdentityFile(path)
    return cast("IdentityStore", identity_file)


def _is_creatable(path: str) -> bool:
    """Tell whether a file could be made here, its folders with it."""
    parent = os.path.dirname(path)
    while not os.path.exists(parent):
        parent = os.path.dirname(parent)
    return os.path.isdir(parent) and os.access(parent, os.W_OK)


class NodeIdentity:
    """Who this node is. Making one reads the file and never writes; `save` does.

    ``identity_file`` is a path, or a mapping with ``path``, ``store()`` and ``reload()``; without one it is
    ``hivemind/_identity.json`` in the user's configuration folder, or in the folder there named ``app_name``.
    Raises IdentityFileCorrupted for a file that holds no identity, ValueError for arguments that make no
    sense.
    """

    def __init__(
        self,
        identity_file: str | os.PathLike[str] | MutableMapping[str, Any] | None = None,
        app_name: str | None = None,
        shared_fallback: bool = True,
    ) -> None:
        if identity_file is not None and app_name is not None:
            raise ValueError("give identity_file or app_name, not both")
        self.app_name = app_name
        self.uses_shared_fallback = False
        self.IDENTITY_FILE: IdentityStore
        if identity_file is not None:
            self.IDENTITY_FILE = _opened(identity_file)
            check_kinds(self.IDENTITY_FILE)
            return
        home = xdg_config_home()
        folder, self.uses_shared_fallback = _locate(app_name, shared_fallback, home)
        self.IDENTITY_FILE = JsonConfigXDG(IDENTITY_STEM, subfolder=folder, xdg_folder=str(home))
        check_kinds(self.IDENTITY_FILE)

    def __repr__(self) -> str:
        return f"NodeIdentity({self.IDENTITY_FILE.path!r})"

    def _beside(self, name: str) -> str:
        return os.path.join(os.path.dirname(self.IDENTITY_FILE.path), name)

    def _located(self, stored: str) -> str:
        """A stored path: relative ones lie beside the identity file, absolute ones of another machine too."""
        path = os.path.expanduser(stored)
        if not os.path.isabs(path):
            return self._beside(path)
        if os.path.exists(path) or _is_creatable(path):
            return path
        LOG.warning("%s is out of reach; %s beside the identity file is used", path, os.path.basename(path))
        return self._beside(os.path.basename(path))

    def save(self) -> None:
        """Write what was changed to the file, whole or not at all."""
        self.IDENTITY_FILE.store()

    def reload(self) -> None:
        """Read the file again. Raises FileNotFoundError if there is none, IdentityFileCorrupted as at first."""
        self.IDENTITY_FILE.reload()
        check_kinds(self.IDENTITY_FILE)

    @property
    def name(self) -> str:
        """A label for people; key files are named after it."""
        store = self.IDENTITY_FILE
        if not store.get("name") and store.get("key"):
            store["name"] = os.path.basename(store["key"])
        return store.get("name") or DEFAULT_NAME

    @name.setter
    def name(self, value: str) -> None:
        self.IDENTITY_FILE["name"] = value

    @property
    def access_key(self) -> str | None:
        """Which client of the hub this is. Not a secret, but do not show it around."""
        return cast("str | None", self.IDENTITY_FILE.get("access_key"))

    @access_key.setter
    def access_key(self, value: str | None) -> None:
        self.IDENTITY_FILE["access_key"] = value

    @property
    def password(self) -> str | None:
        """The secret shared with the hub."""
        return cast("str | None", self.IDENTITY_FILE.get("password"))

    @password.setter
    def password(self, value: str | None) -> None:
        self.IDENTITY_FILE["password"] = value

    @property
    def site_id(self) -> str | None:
        """Where this node stands, such as a room's name."""
        return cast("str | None", self.IDENTITY_FILE.get("site_id"))

    @site_id.setter
    def site_id(self, value: str | None) -> None:
        self.IDENTITY_FILE["site_id"] = value

    @property
    def default_master(self) -> str | None:
        """The hub's host, with its scheme."""
        return cast("str | None", self.IDENTITY_FILE.get("default_master"))

    @default_master.setter
    def default_master(self, value: str | None) -> None:
        self.IDENTITY_FILE["default_master"] = value

    @property
    def default_port(self) -> int | None:
        """The hub's port."""
        return cast("int | None", self.IDENTITY_FILE.get("default_port"))

    @default_port.setter
    def default_port(self, value: int | None) -> None:
        self.IDENTITY_FILE["default_port"] = value

    @property
    def public_key(self) -> str | None:
        """The node's RSA public key as PEM text; taken from the private key's file where it is not stored."""
        stored = self.IDENTITY_FILE.get("public_key")
        return cast("str", stored) if stored else _public_pem_of(self.private_key)

    @public_key.setter
    def public_key(self, value: str | None) -> None:
        self.IDENTITY_FILE["public_key"] = value

    @property
    def private_key(self) -> str:
        """Path of the file with the node's RSA private key."""
        return self._located(self.IDENTITY_FILE.get("secret_key") or f"{self.name}.pem")

    @private_key.setter
    def private_key(self, path: str) -> None:
        self.IDENTITY_FILE["secret_key"] = path

    def create_keys(self) -> None:
        """Make a new RSA pair beside the identity file. The file itself is not saved."""
        public_pem, private_pem = create_RSA_key()
        export_RSA_key(private_pem, self._beside(RSA_KEY_NAME))
        self.private_key = RSA_KEY_NAME
        self.public_key = public_pem

    @property
    def noise_key(self) -> str:
        """Path of the file with the node's Noise private key (see `read_or_create_noise_key`)."""
        return self._located(self.IDENTITY_FILE.get("noise_key") or f"{self.name}_noise.key")

    @noise_key.setter
    def noise_key(self, path: str) -> None:
        self.IDENTITY_FILE["noise_key"] = path

    @property
    def trusted_keys(self) -> dict[str, str]:
        """Public keys of nodes whose messages may act here, by alias. A copy."""
        return dict(self.IDENTITY_FILE.get("trusted_keys") or {})

    @trusted_keys.setter
    def trusted_keys(self, value: dict[str, str]) -> None:
        self.IDENTITY_FILE["trusted_keys"] = dict(value)

    def add_trusted_key(self, alias: str, pubkey: str) -> bool:
        """Trust a public key under a new alias; False if the alias is taken, which changes nothing."""
        known = self.trusted_keys
        if alias in known:
            return False
        self.trusted_keys = {**known, alias: pubkey}
        return True

    def remove_trusted_key(self, alias: str) -> bool:
        """Trust an alias no more; False if it is unknown."""
        known = self.trusted_keys
        if known.pop(alias, None) is None:
            return False
        self.trusted_keys = known
        return True

    def is_trusted_key(self, pubkey: str) -> bool:
        """Tell whether exactly this public key is trusted."""
        return pubkey in self.trusted_keys.values()

    def get_trusted_alias(self, pubkey: str) -> str | None:
        """Return the alias of a trusted public key."""
        return next((alias for alias, key in self.trusted_keys.items() if key == pubkey), None)

    @property
    def pinned_noise_keys(self) -> dict[str, str]:
        """The Noise key of each hub met before, as hex, by ``host:port``. A copy."""
        return dict(self.IDENTITY_FILE.get("pinned_noise_keys") or {})

    @pinned_noise_keys.setter
    def pinned_noise_keys(self, value: dict[str, str]) -> None:
        self.IDENTITY_FILE["pinned_noise_keys"] = dict(value)

    def get_pinned_noise_key(self, server: str) -> str | None:
        """Return the key pinned for a hub, as hex."""
        return self.pinned_noise_keys.get(server)

    def pin_noise_key(self, server: str, key_hex: str) -> None:
        """Pin a hub's key and save."""
        self.pinned_noise_keys = {**self.pinned_noise_keys, server: key_hex}
        self.save()

    def forget_noise_key(self, server: str) -> bool:
        """Forget a hub's key and save; False if none was pinned."""
        pins = self.pinned_noise_keys
        if pins.pop(server, None) is None:
            return False
        self.pinned_noise_keys = pins
        self.save()
        return True


def shared_identity_for(owner: str) -> NodeIdentity:
    """Return the shared identity for a component that was given none, saying so in the log."""
    LOG.warning(f"{owner} was given no identity; the shared one is used")
    return NodeIdentity()
