"""Certificates for TLS: there, fitting, in time, for the right names."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from hivemind_bus_client.doctor.findings import Finding
from hivemind_core.config import CertificateFiles, data_dir, load_config
from hivemind_core.doctor.case import HubCase
from hivemind_core.doctor.certificates import look
from hivemind_core.transports.tls import server_context

DAY_S = 86400.0


def found(at: float | None = None, **more: Any) -> list[Finding]:
    document = {"network_protocol": {"hivemind-websocket-plugin": {"ssl": True, **more}}}
    case = HubCase(config=load_config(overrides=document), wall=lambda: at or time.time())
    told = list(look(case))
    assert all(bool(each.cure) == (each.verdict != "ok") for each in told), told
    return told


def made(folder: Path) -> CertificateFiles:
    files = CertificateFiles(folder)
    server_context(files)
    return files


@pytest.fixture
def files() -> CertificateFiles:
    return made(data_dir() / "hivemind")


def verdicts(at: float | None = None) -> list[str]:
    return [each.verdict for each in found(at)]


def test_without_tls_nothing_is_said() -> None:
    assert found(ssl=False) == list(look(HubCase())) == []


def test_none_is_made() -> None:
    assert verdicts() == ["ok"]
    assert not (data_dir() / "hivemind").exists()


def test_all_is_well(files: CertificateFiles) -> None:
    assert verdicts() == ["ok"]


@pytest.mark.parametrize(
    ("days", "verdict", "part"), [(4000, "FAIL", "ran out"), (3645, "warn", "soon"), (-30, "FAIL", "has not come")]
)
def test_its_time(files: CertificateFiles, days: float, verdict: str, part: str) -> None:
    (told,) = found(time.time() + days * DAY_S)
    assert (told.verdict, part in told.reason) == (verdict, True)


def test_a_key_that_is_missing(files: CertificateFiles) -> None:
    files.key.unlink()
    (told,) = found()
    assert (told.verdict, str(files.key) in told.reason) == ("FAIL", True)


def test_a_key_of_another(files: CertificateFiles, tmp_path: Path) -> None:
    files.key.write_bytes(made(tmp_path / "other").key.read_bytes())
    assert verdicts()[0] == "FAIL"


def test_a_key_that_others_can_read(files: CertificateFiles) -> None:
    files.key.chmod(0o644)
    assert verdicts() == ["warn", "ok"]


@pytest.mark.parametrize("content", [b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate(files: CertificateFiles, content: bytes) -> None:
    files.certificate.write_bytes(content)
    assert verdicts() == ["FAIL"]


def test_a_name_that_it_is_not_made_out_to(files: CertificateFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIVEMIND_ADVERTISED_HOST", "hub.example")
    _, told = found()
    assert (told.verdict, "hub.example" in told.reason) == ("warn", True)
