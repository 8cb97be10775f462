"""What a service manager hears of a process, over a real socket."""

from __future__ import annotations

import logging
import os
import select
import socket
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hivemind_bus_client.sd_notify import MAX_STATUS, Notifier


class ServiceManager:
    """Its end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.settimeout(60)

    def heard(self) -> list[str]:
        """The lines of the next datagram."""
        return self.socket.recv(4096).decode().split("\n")

    def heard_nothing(self) -> bool:
        return not select.select([self.socket], [], [], 0)[0]


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServiceManager]:
    address = str(tmp_path / "notify") if request.param == "file" else f"@hivemind-{uuid.uuid4().hex}"
    made = ServiceManager(address)
    with closing(made.socket):
        yield made


def test_the_life_of_a_process(manager: ServiceManager) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": manager.address})
    assert notifier.is_heard
    notifier.ready("serving")
    assert manager.heard() == ["READY=1", "STATUS=serving"]
    notifier.alive("serving")
    assert manager.heard_nothing(), "it knows that already"
    notifier.alive("two\nlines\tand  blanks")
    assert manager.heard() == ["STATUS=two lines and blanks"]
    notifier.stopping()
    assert manager.heard() == ["STOPPING=1"]


def test_a_watchdog_hears_each_time(manager: ServiceManager) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier.from_environment(environ)
    assert notifier.every_s == 0.5
    for _ in range(2):
        notifier.alive("serving")
    assert [manager.heard(), manager.heard()] == [["WATCHDOG=1", "STATUS=serving"], ["WATCHDOG=1"]]


@pytest.mark.parametrize(
    ("usec", "pid", "every_s"),
    [
        ("60000000", "", 1.0),
        ("60000000", "1", 1.0),
        ("300000", "1", 1.0),
        ("300000", "", 0.1),
        ("1", "", 0.05),
        ("0", "", 1.0),
        ("-1", "", 1.0),
        ("soon", "", 1.0),
        ("9" * 400, "", 1.0),
        ("9" * 5000, "", 1.0),
    ],
)
def test_how_often_it_has_to_speak(usec: str, pid: str, every_s: float) -> None:
    notifier = Notifier.from_environment({"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid})
    assert notifier.every_s == pytest.approx(every_s)


def test_children_do_not_inherit_it() -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "2", "HOME": "/"}
    Notifier.from_environment(environ)
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1", "tcp:1"])
def test_where_there_is_none_nothing_happens(address: str, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(address, 1.0)
    assert not notifier.is_heard
    notifier.ready("serving")
    notifier.stopping()
    assert caplog.records == []


def test_one_that_is_gone_is_mentioned_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(str(tmp_path / "nobody"), 1.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            notifier.alive("serving")
    (record,) = caplog.records
    assert "the service manager does not hear this process" in record.message


def test_one_that_does_not_read_holds_nobody_up(manager: ServiceManager, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    notifier = Notifier(manager.address, 1.0)
    settimeout = socket.socket.settimeout
    monkeypatch.setattr(socket.socket, "settimeout", lambda sock, s: (waits.append(s), settimeout(sock, s)))
    for number in range(2000):
        notifier.alive(str(number))
        if notifier._failed:
            break
    assert notifier._failed
    assert set(waits) == {0.0}
    while not manager.heard_nothing():
        manager.heard()
    notifier.alive(str(number))
    assert manager.heard() == ["WATCHDOG=1", f"STATUS={number}"], "it did not hear of that"


def test_a_status_steers_no_terminal(manager: ServiceManager) -> None:
    Notifier(manager.address).ready("the hub says \x1b[31mred\a")
    assert manager.heard()[1] == r"STATUS=the hub says \x1b[31mred\x07"


def test_a_status_is_one_short_line(manager: ServiceManager) -> None:
    Notifier(manager.address).ready("ü" * 1000 + "\nREADY=0")
    ready, status = manager.heard()
    assert (ready, status) == ("READY=1", "STATUS=" + "ü" * MAX_STATUS)
