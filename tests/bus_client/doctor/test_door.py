"""What answers at a port, on real sockets."""

from __future__ import annotations

import time
from email.utils import formatdate
from pathlib import Path

import pytest

from helpers.strangers import LOCAL, Manner, echoes, hangs_up, http, says, stranger
from hivemind_bus_client.address import Address
from hivemind_bus_client.doctor.door import look
from hivemind_bus_client.doctor.findings import Finding
from hivemind_core.config import CertificateFiles
from hivemind_core.transports.tls import server_context

NOW = 1_790_000_000.0


def found(port: int, *, secure: bool = False, now: float = NOW) -> list[Finding]:
    return list(look("port", Address(LOCAL, port, secure), lambda: now))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = CertificateFiles(tmp_path_factory.mktemp("tls"))
    server_context(files)
    return files.certificate


@pytest.mark.parametrize(
    ("manner", "said"),
    [
        (echoes, "GET /_healthz"),
        (hangs_up, "closed the connection"),
        (says(b"SSH-2.0-OpenSSH_9.9\r\n"), "SSH-2.0-OpenSSH_9.9"),
    ],
)
def test_something_else(manner: Manner, said: str) -> None:
    with stranger(manner) as port:
        (told,) = found(port)
    assert (told.verdict, told.code) == ("FAIL", "not_a_hub")
    assert said in told.reason


def test_something_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind_bus_client.doctor.door.ask.__kwdefaults__", {"timeout_s": 0.2})
    with stranger(lambda link: time.sleep(1)) as port:
        (told,) = found(port)
    assert (told.verdict, told.code) == ("FAIL", "not_a_hub")
    assert "nothing came in time" in told.reason


def test_a_web_server_passes_and_its_clock_is_compared() -> None:
    with stranger(http(f"Date: {formatdate(NOW, usegmt=True)}")) as port:
        assert [finding.verdict for finding in found(port)] == ["ok", "ok"]
        for off_s, told in ((7200, "2 hours ahead of"), (-90, "90 s behind"), (-5 * 86400, "5 days behind")):
            skew = found(port, now=NOW + off_s)[-1]
            assert (skew.verdict, told in skew.reason) == ("warn", True), skew


def test_without_a_date_nothing_is_said_of_clocks() -> None:
    for manner in (http(), http("Date: yesterday")):
        with stranger(manner) as port:
            assert [finding.what for finding in found(port)] == ["port"]


def test_tls_where_none_is_expected_and_the_other_way_round(certificate: Path) -> None:
    with stranger(http(), certificate=certificate) as port:
        (told,) = found(port)
        assert (told.verdict, told.code) == ("FAIL", "tls_mismatch")
    with stranger(http()) as port:
        (told,) = found(port, secure=True)
        assert (told.verdict, told.code) == ("FAIL", "tls_mismatch")


def test_a_certificate_of_the_hubs_own_is_no_fault(certificate: Path) -> None:
    with stranger(http(), certificate=certificate) as port:
        door, tls = found(port, secure=True)
    assert (door.verdict, tls.verdict, tls.what) == ("ok", "ok", "certificate")
    assert "accepted" in tls.reason
