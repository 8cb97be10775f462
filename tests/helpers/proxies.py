"""Reverse proxies set up as `deploy/` shows, with a certificate of one's own and the ports of the test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from .nginx import make_certificate
from .pair import cannot_run
from .processes import Child, Children, free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
HUB, HUB_HTTP, CHATROOM = "127.0.0.1:5678", "127.0.0.1:5679", "127.0.0.1:8985"
"""Where the examples expect them."""
NGINX = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    access_log {folder}/access.log;
{servers}
}}
"""


class Proxy:
    """A running proxy; `ports` says where each of its names listens, `logs` is what it wrote."""

    def __init__(self, children: Children, kind: str, backends: Mapping[str, int]) -> None:
        self.home = children.home(kind)
        self.ports = {name: free_port() for name in ("hub.example.org", "chat.example.org")}
        make_certificate(self.home.path)
        self._backends = {where: f"127.0.0.1:{port}" for where, port in backends.items()}
        argv = {"nginx": self._nginx, "caddy": self._caddy}[kind]()
        self.child: Child = children.spawn(kind, argv, self.home)
        for port in self.ports.values():
            self.child.wait_port(port)

    def logs(self) -> str:
        """Everything it wrote."""
        files = sorted(self.home.path.glob("*.log"))
        return self.child.output() + "".join(path.read_text("utf-8", "replace") for path in files)

    def _nginx(self) -> list[str | Path]:
        folder, servers = self.home.path, []
        for file, name in (("hivemind.conf", "hub.example.org"), ("chatroom.conf", "chat.example.org")):
            text = (DEPLOY / "nginx" / file).read_text("utf-8")
            live = f"/etc/letsencrypt/live/{name}"
            for old, new in {
                f"{live}/fullchain.pem": f"{folder}/cert.pem",
                f"{live}/privkey.pem": f"{folder}/key.pem",
                "    listen 443 ssl;\n    listen [::]:443 ssl;\n": f"    listen 127.0.0.1:{self.ports[name]} ssl;\n",
                f"server_name {name};": "server_name localhost;",
            }.items():
                assert old in text, (file, old)
                text = text.replace(old, new)
            servers.append(self._rewired(text.replace("/var/log/nginx/", f"{folder}/")))
        config = folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(NGINX.format(folder=folder, user=user, servers="".join(servers)), "utf-8")
        return [_program("nginx", "nginx-light"), "-p", folder, "-c", config, "-e", folder / "start.log"]

    def _caddy(self) -> list[str | Path]:
        folder = self.home.path
        text = (DEPLOY / "caddy" / "Caddyfile").read_text("utf-8")
        for name, port in self.ports.items():
            assert f"\n{name} {{\n" in text
            own = f"\nhttps://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {folder}/cert.pem {folder}/key.pem\n"
            text = text.replace(f"\n{name} {{\n", own)
        text = text.replace("\n{\n", "\n{\n\tadmin off\n\tauto_https disable_redirects\n", 1)
        config = folder / "Caddyfile"
        config.write_text(self._rewired(text), "utf-8")
        return [_program("caddy", "caddy"), "run", "--config", config, "--adapter", "caddyfile"]

    def _rewired(self, text: str) -> str:
        for documented, actual in self._backends.items():
            text = text.replace(documented, actual)
        return text


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if found is None:
        cannot_run(f"there is no {name} here (on Debian: apt install {package})")
    return found
