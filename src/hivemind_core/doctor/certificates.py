"""Checks of the TLS certificates that the hub serves with."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from shlex import quote

from hivemind_bus_client.doctor.files import private
from hivemind_bus_client.doctor.findings import Finding, fail, ok, warn

from ..config import CertificateFiles
from ..environment import ADVERTISED_HOST
from .case import HubCase
from .ports import fronts

SOON = timedelta(days=14)
WHAT = "certificate"


def look(case: HubCase) -> Iterator[Finding]:
    """Each pair of files that a transport names."""
    if case.config is None:
        return
    for files in dict.fromkeys(front.tls for front in fronts(case.config) if front.tls is not None):
        yield from _pair(files, datetime.fromtimestamp(case.wall(), timezone.utc))


def _pair(files: CertificateFiles, now: datetime) -> Iterator[Finding]:
    there = [file for file in (files.certificate, files.key) if file.exists()]
    if not there:
        yield ok(WHAT, f"There is none yet; the hub makes {files.certificate} when it starts.")
        return
    if len(there) == 1:
        missing = files.key if there == [files.certificate] else files.certificate
        yield fail(WHAT, f"{missing} is missing beside {there[0].name}.", f"Put it there, or move {there[0]} away.")
        return
    yield from private(WHAT, files.key)
    yield from _contents(files, now)


def _contents(files: CertificateFiles, now: datetime) -> Iterator[Finding]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    again = f"Put a fitting pair there, or run: rm {quote(str(files.certificate))} {quote(str(files.key))}"
    try:
        certificate = x509.load_pem_x509_certificates(files.certificate.read_bytes())[0]
        fits = load_pem_private_key(files.key.read_bytes(), None).public_key() == certificate.public_key()
    except (ValueError, TypeError, OSError, IndexError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no PEM, or has a password"
        yield fail(WHAT, f"{files.certificate} and its key cannot be used: {why}.", again)
        return
    if not fits:
        yield fail(WHAT, f"{files.key} is not the key of {files.certificate}.", again)
    yield from _dates(files, certificate.not_valid_before_utc, certificate.not_valid_after_utc, now)
    yield from _names(files, certificate)


def _dates(files: CertificateFiles, begins: datetime, ends: datetime, now: datetime) -> Iterator[Finding]:
    told = f"{files.certificate} is valid from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}"
    renew = "Renew it, and restart the hub; devices that check it stay away."
    if now < begins:
        yield fail(WHAT, f"{told}, which has not come by the clock of this machine.", "Set the clock, or renew it.")
    elif now > ends:
        yield fail(WHAT, f"{told}: it ran out.", renew)
    elif ends - now < SOON:
        yield warn(WHAT, f"{told}: it runs out soon.", renew)
    else:
        yield ok(WHAT, f"{told}.")


def _names(files: CertificateFiles, certificate: object) -> Iterator[Finding]:
    from cryptography import x509

    assert isinstance(certificate, x509.Certificate)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        yield warn(WHAT, f"{files.certificate} names no host, so whoever checks it refuses it.", "Make a new one.")
        return
    made_for = {str(each.value).lower() for each in names}
    wanted = os.environ.get(ADVERTISED_HOST, "").strip() or socket.gethostname()
    if not any(_covers(name, wanted.lower()) for name in made_for):
        shown = ", ".join(sorted(made_for)[:5])
        yield warn(
            WHAT,
            f"{files.certificate} is made out to {shown}, not to {wanted}.",
            "Let devices use one of these names, or make a new certificate; only those that check it mind.",
        )


def _covers(name: str, host: str) -> bool:
    return name == host or name == f"{host}.local" or (name.startswith("*.") and host.partition(".")[2] == name[2:])
