"""Certificates: made on demand, given, and wrong ones."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from hivemind_core.config import CertificateFiles
from hivemind_core.transports import BindError, tls
from hivemind_core.transports.tls import server_context


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    files = CertificateFiles(tmp_path_factory.mktemp("data") / "hivemind", "hub")
    server_context(files, "10.9.8.7")
    return files


@pytest.fixture
def files(made_once: CertificateFiles, tmp_path: Path) -> CertificateFiles:
    """A certificate and key of one's own."""
    own = CertificateFiles(tmp_path / "tls")
    own.folder.mkdir()
    own.certificate.write_bytes(made_once.certificate.read_bytes())
    own.key.write_bytes(made_once.key.read_bytes())
    own.key.chmod(0o600)
    return own


def certificate(files: CertificateFiles) -> x509.Certificate:
    return x509.load_pem_x509_certificate(files.certificate.read_bytes())


def wrong(files: CertificateFiles) -> str:
    with pytest.raises(BindError) as raised:
        server_context(files)
    return str(raised.value)


def give(files: CertificateFiles, *, ends_in: timedelta, password: bytes | None = None) -> None:
    """Put a certificate with this end there."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "given")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(days=99)).not_valid_after(now + ends_in)
    cipher = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    files.folder.mkdir(exist_ok=True)
    files.certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher))
    files.key.chmod(0o600)


def test_a_certificate_is_made_on_demand(made_once: CertificateFiles) -> None:
    made = certificate(made_once)
    key = made.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert (key.key_size, made.signature_hash_algorithm and made.signature_hash_algorithm.name) == (2048, "sha256")
    (name,) = made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == socket.gethostname()[:64]
    lasts = made.not_valid_after_utc - datetime.now(timezone.utc)
    assert timedelta(days=3649) < lasts <= timedelta(days=3650)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", socket.gethostname()} <= set(names.get_values_for_type(x509.DNSName))
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert {"127.0.0.1", "::1", "10.9.8.7"} <= addresses
    assert "0.0.0.0" not in addresses
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_only_its_owner_reads_the_key(made_once: CertificateFiles) -> None:
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (made_once.folder, made_once.key)]
    assert modes == [0o700, 0o600]
    assert sorted(path.name for path in made_once.folder.iterdir()) == ["hub.crt", "hub.key"]


def test_one_that_is_there_is_used_and_left_alone(files: CertificateFiles, caplog: pytest.LogCaptureFixture) -> None:
    before = files.certificate.read_bytes(), files.key.read_bytes()
    context = server_context(files)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert (files.certificate.read_bytes(), files.key.read_bytes()) == before
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_satellite_that_was_given_it_can_verify_it(made_once: CertificateFiles, name: str) -> None:
    strict = ssl.create_default_context(cafile=made_once.certificate)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()
    context = server_context(made_once)

    def serve() -> None:
        with context.wrap_socket(ours, server_side=True) as served:
            served.sendall(b"up")

    server = threading.Thread(target=serve)
    server.start()
    with strict.wrap_socket(theirs, server_hostname=name) as client:
        assert client.recv(2) == b"up"
    server.join(10)


@pytest.mark.parametrize("missing", ["certificate", "key"])
def test_one_of_the_two_is_missing(files: CertificateFiles, missing: str) -> None:
    path: Path = getattr(files, missing)
    path.unlink()
    sentence = wrong(files)
    assert f"{path.name} beside it is missing" in sentence
    assert not path.exists()


@pytest.mark.parametrize("kind", ["of another kind", "of the same kind"])
def test_two_that_do_not_belong_together(files: CertificateFiles, tmp_path: Path, kind: str) -> None:
    other = CertificateFiles(tmp_path / "other")
    if kind == "of another kind":
        give(other, ends_in=timedelta(days=99))
    else:
        server_context(other)
    files.key.write_bytes(other.key.read_bytes())
    assert "is not the key of" in wrong(files)


@pytest.mark.parametrize("broken", ["certificate", "key"])
def test_what_is_no_pem(files: CertificateFiles, broken: str) -> None:
    getattr(files, broken).write_text("nothing")
    assert "must be a certificate and its key as PEM" in wrong(files)


def test_a_key_behind_a_password(tmp_path: Path) -> None:
    files = CertificateFiles(tmp_path / "tls")
    give(files, ends_in=timedelta(days=99), password=b"secret")
    assert "is protected by a password" in wrong(files)


def test_a_folder_where_a_file_should_be(files: CertificateFiles) -> None:
    files.key.unlink()
    files.key.mkdir()
    assert f"{files.key} cannot be read" in wrong(files)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "could not be made in" in wrong(CertificateFiles(tmp_path / "file" / "tls"))


@pytest.mark.parametrize(
    ("ends_in", "said"),
    [(timedelta(days=-1), "ran out on"), (timedelta(days=3), "runs out on"), (timedelta(days=99), "")],
)
def test_one_that_has_run_out_serves_with_a_warning(
    tmp_path: Path, ends_in: timedelta, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = CertificateFiles(tmp_path / "tls")
    give(files, ends_in=ends_in)
    server_context(files)
    assert said in caplog.text
    assert bool(said) == bool(caplog.records)


def test_a_key_that_everybody_can_read_is_named(files: CertificateFiles, caplog: pytest.LogCaptureFixture) -> None:
    files.key.chmod(0o644)
    server_context(files)
    assert f"chmod 600 {files.key}" in caplog.text


def test_an_odd_host_name_still_gets_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls.socket, "gethostname", lambda: "küche-" + "x" * 70)
    files = CertificateFiles(tmp_path / "tls")
    server_context(files)
    assert certificate(files).subject.rfc4514_string().startswith("CN=küche-xxx")
