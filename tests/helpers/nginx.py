"""nginx with TLS in front of the chatroom, set up as docs/usage.md says."""

from __future__ import annotations

import os
import re
import textwrap
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .browser import program
from .processes import Child, Children, free_port

USAGE = Path(__file__).parents[2] / "docs" / "usage.md"
DOCUMENTED_PORT = "8985"
CONFIG = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
{location}
    }}
}}
"""


class Nginx:
    """A running proxy."""

    def __init__(self, children: Children, chatroom_port: int) -> None:
        self.port = free_port()
        home = children.home("nginx")
        make_certificate(home.path)
        documented = re.search(
            r"^    location /chat/ \{$.*?^    \}$", USAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
        )
        assert documented, "docs/usage.md shows how to set up nginx"
        location = textwrap.indent(documented[0].replace(DOCUMENTED_PORT, str(chatroom_port)), "    ")
        user = "user root;" if os.geteuid() == 0 else ""
        config = home.path / "nginx.conf"
        config.write_text(CONFIG.format(folder=home.path, port=self.port, location=location, user=user), "utf-8")
        argv = [program("nginx"), "-p", home.path, "-c", config, "-e", "stderr"]
        self.child: Child = children.spawn("nginx", argv, home)
        self.child.wait_port(self.port)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


def make_certificate(folder: Path) -> None:
    """Write a certificate of one's own for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
