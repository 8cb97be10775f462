"""TLS for transports (docs/protocol.md 5.4): the operator's certificate, or a self-signed one made on demand.

Satellites do not verify it unless told to: the sessions inside are encrypted and authenticated all the same.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import stat
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hivemind_bus_client.identity_file import write_private

from ..config import CertificateFiles
from . import BindError

log = logging.getLogger(__name__)

KEY_BITS = 2048
VALID_FOR = timedelta(days=3650)
MAX_NAME = 64
"""Bytes that a certificate's common name holds."""
SOON = timedelta(days=14)


def server_context(files: CertificateFiles, host: str = "") -> ssl.SSLContext:
    """Return what to serve TLS with; a certificate is made where there is neither certificate nor key.

    `host` is the address that is listened at, for the names in a new certificate. Blocks: making a key takes up to a
    few seconds. Raises BindError saying which file is wrong, and what to do.
    """
    there = files.certificate.exists(), files.key.exists()
    if there == (False, False):
        _make(files, host)
    elif there != (True, True):
        missing, other = (files.key, files.certificate) if there[0] else (files.certificate, files.key)
        raise BindError(
            f"TLS needs a certificate and its key: there is {other}, and {missing.name} beside it is missing. Put it"
            f" there, or move {other.name} away to have both made."
        )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, files)
    _check_dates(files.certificate)
    _check_mode(files.key)
    return context


def _load(context: ssl.SSLContext, files: CertificateFiles) -> None:
    try:
        # The password is asked for only where the key has one; nobody is there to type it.
        context.load_cert_chain(files.certificate, files.key, password=lambda: "")
    except ssl.SSLError as error:
        raise BindError(_why(error, files)) from None
    except OSError as error:
        unreadable = next((file for file in (files.certificate, files.key) if not os.access(file, os.R_OK)), files.key)
        raise BindError(
            f"{unreadable} cannot be read: {error.strerror or error}. TLS needs it; give the hub's account the right"
            " to read it."
        ) from None


def _why(error: ssl.SSLError, files: CertificateFiles) -> str:
    try:
        key = serialization.load_pem_private_key(files.key.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        if key.public_key() != certificate.public_key():
            return f"{files.key} is not the key of {files.certificate}. Put the two that belong together there."
    except TypeError:  # it wants a password
        return f"{files.key} is protected by a password. Store it without one, readable by the hub's account only."
    except ValueError:
        log.debug("a certificate or its key cannot be read", exc_info=True)
    return (
        f"{files.certificate} and {files.key.name} cannot be used for TLS: they must be a certificate and its key as"
        f" PEM, strong enough for this machine ({error.reason or error})."
    )


def _check_dates(certificate: Path) -> None:
    """Warn of a certificate that has run out or will soon: satellites that verify it cannot come then."""
    try:
        ends = x509.load_pem_x509_certificates(certificate.read_bytes())[0].not_valid_after_utc
    except ValueError:  # OpenSSL, which serves with it, is less particular
        return
    left = ends - datetime.now(timezone.utc)
    if left < timedelta():
        log.warning("the certificate %s ran out on %s; satellites that verify it stay away", certificate, ends.date())
    elif left < SOON:
        log.warning("the certificate %s runs out on %s", certificate, ends.date())


def _check_mode(key: Path) -> None:
    if stat.S_IMODE(key.stat().st_mode) & stat.S_IROTH:
        log.warning("everybody on this machine can read the TLS key %s; run: chmod 600 %s", key, key)


def _make(files: CertificateFiles, host: str) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        write_private(files.certificate, _self_signed(key, host).public_bytes(serialization.Encoding.PEM))
        write_private(files.key, pem)
    except OSError as error:
        raise BindError(
            f"A certificate for TLS could not be made in {files.folder}: {error.strerror or error}."
        ) from None
    log.info("made a self-signed certificate for TLS: %s", files.certificate)


def _self_signed(key: rsa.RSAPrivateKey, host: str) -> x509.Certificate:
    hostname = socket.gethostname().encode()[:MAX_NAME].decode(errors="ignore") or "localhost"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname)])
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # satellites whose clocks run late take it, too
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)  # vouches for nobody else
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _names(host: str) -> list[x509.GeneralName]:
    """Return the names and addresses a satellite may dial."""
    hostname = socket.gethostname()
    names = dict.fromkeys((hostname, f"{hostname}.local", "localhost", "127.0.0.1", "::1", host, *_own_addresses()))
    return [general for name in names if (general := _general_name(name)) is not None]


def _general_name(name: str) -> x509.GeneralName | None:
    try:
        address = ip_address(name.partition("%")[0])
    except ValueError:
        return x509.DNSName(name) if name and name.isascii() else None
    return None if address.is_unspecified else x509.IPAddress(address)


def _own_addresses() -> list[str]:
    """Return the addresses of the routes out of this machine; nothing is sent to find them."""
    found = []
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):  # for documentation
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((elsewhere, 9))
                found.append(probe.getsockname()[0])
            except OSError:
                continue
    return found
