from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from hivemind_chatroom import sockets
from hivemind_chatroom.sockets import BindError, addresses, listen


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def connects(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=60).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", ""])
def test_it_listens(host: str) -> None:
    with listen(host, 0) as listener:
        assert connects("127.0.0.1", listener.getsockname()[1])


@needs_ipv6
def test_two_colons_mean_both_families() -> None:
    with listen("::", 0) as listener:
        port = listener.getsockname()[1]
        assert connects("::1", port)
        assert connects("127.0.0.1", port)
    with listen("::1", 0) as listener:
        port = listener.getsockname()[1]
        assert connects("::1", port)
        assert not connects("127.0.0.1", port)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use_is_said_with_the_cure(taken: int, host: str) -> None:
    with pytest.raises(BindError) as caught:
        listen(host, taken)
    assert str(caught.value) == (
        f"The chatroom cannot listen at {host}:{taken}: another program listens there."
        " Choose another --port, or stop that program."
    )


def test_a_foreign_address_is_said_with_the_cure() -> None:
    with pytest.raises(BindError, match="Choose another --host"):
        listen("203.0.113.7", 0)


@pytest.mark.parametrize("host", ["no such host", "x" * 70 + ".example"])
def test_a_name_that_is_none_is_said_with_the_cure(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(BindError, match="Choose another --host"):
        listen(host, 0)


def test_a_port_can_be_used_again_at_once() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        visitor = socket.create_connection(("127.0.0.1", port))
        listener.accept()[0].close()
        visitor.recv(1)
        visitor.close()
    listen("127.0.0.1", port).close()


@pytest.mark.parametrize(
    ("host", "prefix", "expected"),
    [
        ("0.0.0.0", "", ["http://localhost:8985", "http://192.168.1.7:8985"]),
        ("::", "/chat", ["http://localhost:8985/chat/", "http://192.168.1.7:8985/chat/"]),
        ("127.0.0.1", "", ["http://localhost:8985"]),
        ("192.168.1.9", "", ["http://192.168.1.9:8985"]),
        ("fd00::7", "", ["http://[fd00::7]:8985"]),
        ("::1", "", ["http://[::1]:8985"]),
    ],
)
def test_addresses_to_open(host: str, prefix: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "own_address", lambda: "192.168.1.7")
    assert addresses(host, 8985, prefix) == expected


def test_a_machine_alone_has_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert sockets.own_address() is None
    assert addresses("0.0.0.0", 8985) == ["http://localhost:8985"]


@pytest.mark.parametrize(
    ("host", "is_it"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False)]
)
def test_loopback(host: str, is_it: bool) -> None:
    assert sockets.is_loopback(host) is is_it
