"""Every test has its own home, and reaches nothing but this machine unless it is marked as one that must."""

from __future__ import annotations

import errno
import ipaddress
import random
import signal
import socket
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from helpers.processes import Children

HERE = Path(__file__).parent
SUITES = ("browser", "deploy", "e2e", "interop", "ovos")
"""Folders whose tests are a suite of their own, marked by its name."""
LONGEST = ("deploy", "ovos", "fuzz", "interop", "browser", "e2e")
CHILDREN = pytest.StashKey[Children]()
NETWORKED = ("interop", "packaging")
INSTALLS_S = 400
"""For a test that may be the first to need released packages, which are fetched and installed then."""
# The same examples each time, however slow the machine is at the moment; `--hypothesis-profile default` draws others.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point HOME and the XDG folders into the test's own folder."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    return home


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    """Make `random` repeatable."""
    random.seed(5678)


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a unix socket
    host = address[0].decode() if isinstance(address[0], bytes) else str(address[0])
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback or host in ("0.0.0.0", "::")
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def only_this_machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to other machines, and questions to a name server."""
    if any(request.node.get_closest_marker(name) for name in NETWORKED):
        return
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.type == socket.SOCK_STREAM and not _is_local(address):
            raise OSError(errno.ENETUNREACH, f"tests reach only this machine, not {address}")
        connect(self, address)

    def guarded_resolve(host: Any, *rest: Any, **named: Any) -> Any:
        if host is not None and not _is_local((host,)):
            raise socket.gaierror(socket.EAI_NONAME, f"a test tried to look up {host!r}")
        return resolve(host, *rest, **named)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)


def pytest_configure() -> None:
    """Let no process that a test starts ignore a signal because the tests were started by `nohup` or with `&`."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # which no process inherits


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of a suite; those that take longest come first, so that two at a time end together."""
    for item in items:
        suite = _suite(item)
        if suite in SUITES:
            item.add_marker(suite)
        if suite == "interop" and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(INSTALLS_S))
    items.sort(key=lambda item: LONGEST.index(_suite(item)) if _suite(item) in LONGEST else len(LONGEST))


def _suite(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).parts[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes of a failed test printed."""
    report = yield
    scene = getattr(item, "funcargs", {}).get("scene")
    children = item.stash.get(CHILDREN, getattr(scene, "children", None))
    if report.failed and children is not None:
        report.sections.append(("processes", children.report()))
    return report


@pytest.fixture
def children(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Children]:
    """The processes of one test; all of them end with it."""
    with Children(tmp_path) as running:
        request.node.stash[CHILDREN] = running
        yield running
