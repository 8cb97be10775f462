"""What answers at an address: HTTP as a hub's transports speak it, with or without TLS, or something else."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from http.client import BadStatusLine, HTTPConnection, HTTPException, HTTPSConnection, RemoteDisconnected
from typing import NamedTuple

from ..address import Address
from ..refusals import REFUSALS
from .findings import Finding, fail, ok, warn
from .machine import SET_CLOCK

ASK_S = 4.0
SKEW_S = 60.0
"""How far two clocks may be apart before it is told."""
MOST_SHOWN = 40
SELF_SIGNED = frozenset({18, 19, 20, 21})
"""OpenSSL's codes for certificates that nobody known has signed."""
EXPIRED, NOT_YET, OTHER_NAME = 10, 9, (62, 64)


class Answer(NamedTuple):
    """What came."""

    is_http: bool
    date: float | None = None
    """What its clock says (Unix time, seconds), where it tells."""
    said: str = ""
    """How that begins which is not HTTP."""
    tls_failed: bool = False


def ask(address: Address, *, secure: bool, timeout_s: float = ASK_S) -> Answer:
    """Send an HTTP request. Raises OSError where the connection is lost or nothing comes in time."""
    host = address.host.strip("[]")
    connection: HTTPConnection = HTTPConnection(host, address.port, timeout=timeout_s)
    if secure:
        connection = HTTPSConnection(host, address.port, timeout=timeout_s, context=any_certificate())
    try:
        connection.request("GET", "/_healthz")
        response = connection.getresponse()
        return Answer(True, _date(response.getheader("Date")))
    except RemoteDisconnected:
        return Answer(False)
    except BadStatusLine as error:
        return Answer(False, said=str(error.args[0]).strip(" '\""))
    except HTTPException:
        return Answer(False)
    except ssl.SSLError:
        return Answer(False, tls_failed=True)
    finally:
        connection.close()


def any_certificate() -> ssl.SSLContext:
    """Noise proves who the hub is, so any certificate will do."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _date(header: str | None) -> float | None:
    try:
        return parsedate_to_datetime(header).timestamp() if header else None
    except (ValueError, TypeError, OverflowError):
        return None


def look(what: str, address: Address, wall: Callable[[], float]) -> Iterator[Finding]:
    """Say whether it speaks HTTP there, and TLS as the address says, and whether its clock agrees with ours."""
    try:
        answer = ask(address, secure=address.secure)
    except OSError as error:
        why = "nothing came in time" if isinstance(error, TimeoutError) else (error.strerror or type(error).__name__)
        answer = Answer(False, said=why)
    if not answer.is_http:
        yield _other(what, address, answer)
        return
    yield ok(what, f"A server for {'HTTP' if address.http else 'WebSockets'} answers there.")
    if address.secure:
        yield certificate(address)
    if answer.date is not None:
        yield from _skew(answer.date, wall())


def _other(what: str, address: Address, answer: Answer) -> Finding:
    if answer.tls_failed or (not address.secure and _speaks_tls(address)):
        row = REFUSALS["tls_mismatch"]
        return fail(what, row.sentence, row.cure, row.code)
    row = REFUSALS["not_a_hub"]
    said = f" What came: {answer.said[:MOST_SHOWN]}" if answer.said else " It closed the connection."
    return fail(what, row.sentence + said, row.cure, row.code)


def _speaks_tls(address: Address) -> bool:
    try:
        return ask(address, secure=True).is_http
    except OSError:
        return False


def certificate(address: Address, timeout_s: float = ASK_S) -> Finding:
    """Say what a program that checks TLS certificates would say of the one that the hub shows."""
    host = address.host.strip("[]")
    context = ssl.create_default_context()
    connection = HTTPSConnection(host, address.port, timeout=timeout_s, context=context)
    try:
        connection.connect()
    except ssl.SSLCertVerificationError as error:
        return _unverified(error)
    except OSError as error:
        return warn("certificate", f"The TLS certificate could not be looked at: {error.strerror or error}.")
    finally:
        connection.close()
    return ok("certificate", "The TLS certificate is valid and made out to this name.")


def _unverified(error: ssl.SSLCertVerificationError) -> Finding:
    if error.verify_code in (EXPIRED, NOT_YET):
        row = REFUSALS["clock_wrong"]
        return warn("certificate", row.sentence, row.cure)
    if error.verify_code in SELF_SIGNED:
        return ok(
            "certificate",
            "The TLS certificate is the hub's own. It is accepted: the session inside proves who the hub is.",
        )
    if error.verify_code in OTHER_NAME:
        return warn(
            "certificate",
            "The TLS certificate is made out to another name. It is accepted here; browsers refuse it.",
            "Use the name in the certificate, or make a new one on the hub.",
        )
    return warn("certificate", f"The TLS certificate is not trusted: {error.verify_message}.", "Make a new one.")


def _skew(theirs: float, ours: float) -> Iterator[Finding]:
    ahead_s = ours - theirs
    if abs(ahead_s) <= SKEW_S:
        yield ok("clock", "The hub's clock agrees with this one.")
        return
    how = "ahead of" if ahead_s > 0 else "behind"
    yield warn("clock", f"The clock of this machine is {_span(abs(ahead_s))} {how} the hub's.", SET_CLOCK)


def _span(seconds: float) -> str:
    for name, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name}"
    return f"{seconds:.0f} s"
