"""The two handshakes of protocol versions 1 and 2 as objects that keep their state, for programs that run the client's
side themselves (docs/protocol.md 8.2, 8.3).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from .exceptions import HiveMindException
from .identity import create_RSA_key
from .identity_file import make_private, write_private
from .legacy_crypto import (
    IV_BYTES,
    SECRET_BYTES,
    envelope_iv,
    open_secret,
    password_envelope,
    seal_secret,
    session_key,
    xor,
)
from .rsa_keys import load_public


class PasswordHandShake:
    """One side of a password handshake. ``min_bits`` is accepted and not used: the hub judges passwords."""

    def __init__(self, password: str, min_bits: float = 0) -> None:
        self._password = password
        self._iv = secrets.token_bytes(IV_BYTES)
        self._salt = b""

    def generate_handshake(self) -> str:
        """Return the envelope to send."""
        return password_envelope(self._password, self._iv)

    def receive_handshake(self, envelope: str) -> bool:
        """Take the other side's envelope; False, and nothing changes, if it does not show the same password."""
        theirs = envelope_iv(envelope, self._password, self._iv)
        if theirs is None:
            return False
        self._salt = xor(self._iv, theirs)
        return True

    receive_and_verify = receive_handshake

    @property
    def secret(self) -> bytes:
        """The session key; slow to make. Raises HiveMindException before an envelope was accepted."""
        if not self._salt:
            raise HiveMindException("no envelope has been accepted yet")
        return session_key(self._password, self._salt)


class HandShake:
    """One side of an RSA handshake. The private key is read from ``path`` when it is first needed, and made there if
    it is missing; without a path it is kept in memory.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = Path(path) if isinstance(path, (str, os.PathLike)) else None
        self._private = ""
        self._own = bytes(SECRET_BYTES)
        self._theirs = bytes(SECRET_BYTES)
        self._peer: str | None = None

    @property
    def private_key(self) -> str:
        """The private key as PEM text."""
        if not self._private:
            self._private = self._read() or self._create()
        return self._private

    def _read(self) -> str:
        if self._path is None or not self._path.exists():
            return ""
        make_private(self._path)
        return self._path.read_text(encoding="ascii")

    def _create(self) -> str:
        _, private = create_RSA_key()
        if self._path is not None:
            write_private(self._path, private)
        return private

    @property
    def pubkey(self) -> str:
        """The public key as PEM text."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public: Any = load_public(self.private_key)
        pem: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem.decode("ascii").strip()

    @property
    def secret(self) -> bytes:
        """The session key: what both sides sent, combined; a side that sent nothing counts as zeros."""
        return xor(self._own, self._theirs)

    def load_public(self, pub: str) -> None:
        """Name the other side's public key (PEM), which its envelopes must be signed with."""
        self._peer = pub

    def generate_handshake(self, pub: str | None = None) -> str:
        """Return an envelope with a fresh secret for the owner of a public key (PEM). Raises HiveMindException."""
        self._peer = pub or self._peer
        if not self._peer:
            raise HiveMindException("the other side's public key is not known")
        self._own = secrets.token_bytes(SECRET_BYTES)
        return seal_secret(self._own, self._peer, self.private_key)

    def receive_and_verify(self, envelope: str, pub: str | None = None) -> bool:
        """Take the other side's envelope; False, and nothing changes, if its signature or content is not sound."""
        self._peer = pub or self._peer
        try:
            self._theirs = open_secret(envelope, self.private_key, self._peer or "")
        except HiveMindException:
            return False
        return True

    receive_handshake = receive_and_verify
