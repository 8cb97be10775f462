"""RSA as the wire uses it (docs/protocol.md 8.3, 14.1): reading keys, the two paddings, checking a signature.

`cryptography` is imported when a key is first used: most satellites never use one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.padding import OAEP, PSS
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

MAX_ANNOUNCED_BITS = 8192
MAX_ANNOUNCED_EXPONENT = 2**33
"""Everybody uses 65537; a long exponent makes one operation take 50 times as long, in which nothing else runs."""


def _pem(key: Any) -> bytes | None:
    """Return a key given as PEM, or as another library's object that exports it; None for one of ours."""
    exported = key.export_key() if hasattr(key, "export_key") else key
    if isinstance(exported, str):
        return exported.encode()
    return exported if isinstance(exported, bytes) else None


def load_public(key: Any) -> RSAPublicKey:
    """Return a public key, also the public half of a private one. Raises ValueError, TypeError."""
    pem = _pem(key)
    if pem is not None and b"PRIVATE KEY" not in pem:
        return load_announced(pem)
    loaded: Any = key if pem is None else load_private(pem)
    return loaded.public_key() if hasattr(loaded, "private_bytes") else loaded  # type: ignore[no-any-return]


def load_announced(key: Any) -> RSAPublicKey:
    """Return a public key that another node announced. Raises ValueError, TypeError.

    A private key is refused unread: checking a large one takes a second, in which nothing else runs. So is a public
    key that would be slow.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    pem = _pem(key)
    if pem is None:
        return load_public(key)
    try:
        loaded: Any = load_pem_public_key(pem)
    except UnsupportedAlgorithm as error:
        raise ValueError(f"a key of an unknown kind: {error}") from None
    if not isinstance(loaded, RSAPublicKey) or loaded.key_size > MAX_ANNOUNCED_BITS:
        raise ValueError("no RSA key, or one larger than any that is used")
    if loaded.public_numbers().e > MAX_ANNOUNCED_EXPONENT:
        raise ValueError("an RSA key with a long exponent")
    return loaded


def load_private(key: Any) -> RSAPrivateKey:
    """Return a private key, one of this node's own. Raises ValueError, TypeError."""
    pem = _pem(key)
    loaded: Any = key if pem is None else _checked(pem)
    return loaded  # type: ignore[no-any-return]


@lru_cache(maxsize=4)
def _checked(pem: bytes) -> Any:
    """Read a private key, once: checking it takes 30 ms, in which nothing else runs."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(pem, None)
    except UnsupportedAlgorithm as error:
        raise ValueError(f"a key of an unknown kind: {error}") from None


def oaep() -> OAEP:
    """Return the padding that secrets are sealed with."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    return padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)


def pss() -> tuple[PSS, Any]:
    """Return padding and hash of signatures, as `sign` and `verify` take them."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    return padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()


def verifies(key: Any, signature: bytes, data: bytes) -> bool:
    """Tell whether the owner of a public key signed some bytes; a key that is none signed nothing."""
    from cryptography.exceptions import InvalidSignature

    try:
        load_announced(key).verify(signature, data, *pss())
    except (InvalidSignature, TypeError, ValueError, AttributeError):
        return False
    return True
