"""Names and ports, on this machine's own sockets."""

from __future__ import annotations

import socket

import pytest

from helpers.processes import free_port
from helpers.strangers import LOCAL, hangs_up, stranger
from hivemind_bus_client.doctor import network
from hivemind_bus_client.doctor.network import AWAY, OPEN, REFUSED, SILENT, Place, knock, places, reachable, resolved


def at(port: int, host: str = LOCAL) -> Place:
    return Place(socket.AF_INET, (host, port))


def test_a_port_that_takes_connections_and_one_that_refuses_them() -> None:
    with stranger(hangs_up) as port:
        assert knock(at(port)) == OPEN
    assert knock(at(free_port())) == REFUSED


def test_one_that_says_nothing() -> None:
    """A full backlog drops what comes, as a firewall does."""
    with socket.socket() as server:
        server.bind((LOCAL, 0))
        server.listen(0)
        where = server.getsockname()
        waiting = []
        for _ in range(4):
            link = socket.socket()
            link.setblocking(False)
            link.connect_ex(where)
            waiting.append(link)
        try:
            assert knock(at(where[1]), 0.3) == SILENT
        finally:
            for link in waiting:
                link.close()


def test_one_that_there_is_no_way_to() -> None:
    assert knock(at(9, "203.0.113.1")) == AWAY  # tests reach only this machine


def test_a_name_is_resolved() -> None:
    found, told = resolved("address", "localhost", 5678)
    assert LOCAL in {place.where[0] for place in found}
    assert [finding.verdict for finding in told] == ["ok"]
    assert resolved("address", LOCAL, 5678) == (places(LOCAL, 5678), [])


@pytest.mark.parametrize(("host", "cure"), [("nowhere.local", "mDNS"), ("nowhere.example", "name server")])
def test_a_name_that_is_not_known(host: str, cure: str) -> None:
    found, (told,) = resolved("address", host, 5678)
    assert (found, told.verdict, told.code) == ([], "FAIL", "unreachable")
    assert cure in told.cure


def test_all_addresses_are_tried() -> None:
    with stranger(hangs_up) as port:
        (told,) = reachable("port", [at(port)])
        assert told.verdict == "ok"
        good, silent = reachable("port", [at(port), at(port, "203.0.113.1")])
    assert (good.verdict, silent.verdict) == ("ok", "warn")
    assert "203.0.113.1" in silent.reason


@pytest.mark.parametrize(
    ("state", "reason", "cure"),
    [
        (REFUSED, "nothing listens at port 5678", "hivemind-core listen"),
        (SILENT, "a firewall drops", "ufw allow 5678/tcp"),
        (AWAY, "no way", "ip route"),
    ],
)
def test_what_a_closed_port_means(monkeypatch: pytest.MonkeyPatch, state: str, reason: str, cure: str) -> None:
    monkeypatch.setattr(network, "knock", lambda place, timeout_s: state)
    (told,) = reachable("port", [at(5678)])
    assert (told.verdict, told.code) == ("FAIL", "unreachable")
    assert reason in told.reason
    assert cure in told.cure
