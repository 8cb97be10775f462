"""Whether an address leads back to this hub."""

from __future__ import annotations

import socket

import pytest

from hivemind_bus_client.address import Address
from hivemind_core.own_address import Listener, is_own

HERE, ELSEWHERE = "127.0.0.1", "192.0.2.7"


@pytest.mark.parametrize(
    ("host", "listener", "own"),
    [
        (HERE, Listener("0.0.0.0", 5678), True),
        ("localhost", Listener("0.0.0.0", 5678), True),
        (HERE, Listener("localhost", 5678), True),
        (HERE, Listener(HERE, 5678), True),
        ("127.0.0.2", Listener(HERE, 5678), False),
        (HERE, Listener("0.0.0.0", 5679), False),
        ("no-such-host.invalid", Listener("0.0.0.0", 5678), False),
    ],
)
async def test_an_address_is_own_where_this_hub_listens_there(host: str, listener: Listener, own: bool) -> None:
    assert await is_own(Address(host, 5678), [Listener("127.0.0.9", 5678), listener]) is own


async def test_an_address_of_another_machine_is_not_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(host: str, port: int, *_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

    monkeypatch.setattr(socket, "getaddrinfo", known)
    assert not await is_own(Address(ELSEWHERE, 5678), [Listener("0.0.0.0", 5678), Listener(HERE, 5678)])
    assert await is_own(Address(ELSEWHERE, 5678), [Listener(ELSEWHERE, 5678)])


async def test_who_listens_nowhere_has_no_address() -> None:
    assert not await is_own(Address(HERE, 5678), [])
