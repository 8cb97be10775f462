"""A real redis-server of a test's own: its folder, its port, its password, certificate, log file and faults.

with Children(folder) as children:
    server = RedisServer(children, RedisSetup(password="secret", appendonly=True))
    server.client().set("key", "value")
    server.kill(); server.start()      # with `appendonly` what was acknowledged is there again
    server.pause(); server.resume()    # it accepts connections and answers nothing meanwhile
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .pair import cannot_run
from .processes import PATIENCE_S, Child, ChildError, Children, free_port, wait_until

ANSWER_S = 30.0
LAST_SLOT = 16383


@dataclass(frozen=True)
class RedisSetup:
    """How a server is set up."""

    host: str = "127.0.0.1"
    """The address it listens at."""
    password: str = ""
    """What its default user needs; empty: nothing."""
    tls: bool = False
    """It speaks TLS alone, with a certificate for `host` and localhost made for it."""
    client_certificates: bool = False
    """With TLS it wants one from its clients, too; the one it has itself will do."""
    appendonly: bool = False
    """Every write is on the disk before it is acknowledged: it survives `kill`. Else each start is with nothing."""
    cluster: bool = False
    """It is a Redis Cluster of one node, which has all slots."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """More of redis.conf, like ``{"maxmemory": "3mb"}``; words of a value have spaces between them."""
    run_in: Sequence[str] = ()
    """Words before its command line, as to run it in a network namespace."""


class RedisServer:
    """A running server, which ends with `children` if not before. It can be started again on its port and folder."""

    def __init__(self, children: Children, setup: RedisSetup | None = None, *, name: str = "redis") -> None:
        self.setup = setup or RedisSetup()
        self.name = name
        self.home = children.home(name)
        self.port = free_port()
        self.child: Child
        self._children = children
        self._bus_port = free_port()
        self._clients: list[redis.Redis] = []
        if self.setup.tls:
            make_certificate(self.home.path, self.setup.host)
        self.start()

    # who it is

    @property
    def certificate(self) -> Path:
        """Its certificate, which vouches for itself."""
        return self.home.path / "redis.crt"

    @property
    def key(self) -> Path:
        """The key of its certificate."""
        return self.home.path / "redis.key"

    @property
    def url(self) -> str:
        """Its address with the password in it, as redis-py reads it; TLS wants `ssl_ca_certs` beside it."""
        credentials = f":{self.setup.password}@" if self.setup.password else ""
        return f"{'rediss' if self.setup.tls else 'redis'}://{credentials}{self.setup.host}:{self.port}/0"

    def options(self, **more: Any) -> dict[str, Any]:
        """What the `hivemind-redis-db-plugin` block of a server.json says to reach it."""
        options: dict[str, Any] = {"host": self.setup.host, "port": self.port}
        if self.setup.password:
            options["password"] = self.setup.password
        if self.setup.tls:
            options |= {"ssl": True, "ssl_ca_certs": str(self.certificate)}
        if self.setup.client_certificates:
            options |= {"ssl_certfile": str(self.certificate), "ssl_keyfile": str(self.key)}
        return options | more

    def client(self, **more: Any) -> redis.Redis:
        """A connection of the test's own, with text instead of bytes; it is closed when the server ends."""
        client = redis.Redis(**{**self._reached(), "decode_responses": True, **more})
        self._clients.append(client)
        return client

    def _reached(self) -> dict[str, Any]:
        return {"socket_timeout": ANSWER_S, "socket_connect_timeout": ANSWER_S, "retry": None, **self.options()}

    # its life

    def start(self, *, loaded: bool = True, **settings: str) -> None:
        """Start it, and wait until it answers; with `loaded` off, until it listens. `settings`: see `RedisSetup`."""
        self.child = self._children.spawn(self.name, self._command_line(settings), self.home)
        if not loaded:
            self.child.wait_port(self.port)
            return
        wait_until(self._answers, PATIENCE_S, f"{self.name} answers")
        if self.setup.cluster and "cluster_slots_assigned:0" in str(self.call("CLUSTER", "INFO")):
            self.call("CLUSTER", "ADDSLOTSRANGE", 0, LAST_SLOT)
        if self.setup.cluster:
            wait_until(lambda: "cluster_state:ok" in str(self.call("CLUSTER", "INFO")), PATIENCE_S, "a whole cluster")

    def kill(self) -> None:
        """End it as a power cut does (SIGKILL)."""
        self._let_go()
        self.child.kill()

    def stop(self) -> None:
        """End it as a service manager does (SIGTERM)."""
        self._let_go()
        self.child.stop()

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Make it deaf (SIGSTOP): the system still accepts connections for it, and nothing is answered."""
        self.child.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT) with everything that came meanwhile."""
        self.child.process.send_signal(signal.SIGCONT)

    # what is said to it

    def call(self, *words: Any) -> Any:
        """Run a command over a connection of its own; what the server answered. Raises redis.RedisError."""
        with redis.Redis(**self._reached(), decode_responses=True) as client:
            return client.execute_command(*words)

    def configure(self, setting: str, value: str) -> None:
        """Change a setting of redis.conf while it runs."""
        self.call("CONFIG", "SET", setting, value)

    def _answers(self) -> bool:
        if not self.child.running:
            raise ChildError(f"{self.name} ended at once\n{self.child.tail()}")
        try:
            return bool(self.call("PING"))
        except (redis.ConnectionError, redis.TimeoutError):  # LOADING is one, too
            return False

    def _let_go(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

    def _command_line(self, more: Mapping[str, str]) -> list[str | Path]:
        setup, here = self.setup, self.home.path
        settings: dict[str, Any] = {
            "bind": setup.host,
            "port": 0 if setup.tls else self.port,
            "dir": here,
            "save": "",
            "appendonly": "yes" if setup.appendonly else "no",
            "appendfsync": "always",
            "enable-debug-command": "local",
        }
        if setup.password:
            settings |= {"requirepass": setup.password, "masterauth": setup.password}
        if setup.tls:
            wanted = "yes" if setup.client_certificates else "no"
            settings |= {"tls-port": self.port, "tls-auth-clients": wanted, "tls-replication": "yes"}
            settings |= {"tls-cert-file": self.certificate, "tls-key-file": self.key}
            settings |= {"tls-ca-cert-file": self.certificate}
        if setup.cluster:
            settings |= {"cluster-enabled": "yes", "cluster-port": self._bus_port, "cluster-config-file": "nodes.conf"}
            settings |= {"cluster-announce-ip": setup.host}
        given = {name: value.split(" ") for name, value in {**setup.settings, **more}.items()}
        words = {name: [str(value)] for name, value in settings.items()} | given
        return [*setup.run_in, _program(), *(part for name, value in words.items() for part in (f"--{name}", *value))]


def _program() -> str:
    found = shutil.which("redis-server") or shutil.which("redis-server", path="/usr/bin:/usr/sbin:/usr/local/bin")
    return found or cannot_run("there is no redis-server; on Debian: apt install redis-server")


def make_certificate(folder: Path, host: str, name: str = "redis") -> None:
    """Write `<name>.crt`, a certificate for an address and for localhost that vouches for itself, and `<name>.key`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address(host))]
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / f"{name}.crt").write_bytes(made.public_bytes(pem))
    key_file = folder / f"{name}.key"
    key_file.touch(mode=0o600)
    key_file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
