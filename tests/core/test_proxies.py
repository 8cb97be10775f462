"""Whose address a connection has behind reverse proxies."""

from __future__ import annotations

import pytest

from hivemind_core.proxies import TrustedProxies, networks, parts

TRUSTED = TrustedProxies(networks("10.0.0.0/8, 127.0.0.1, fd00::/8"))


def seen(peer: str, proxies: TrustedProxies = TRUSTED, **headers: str | list[str]) -> str:
    def header(name: str) -> list[str]:
        value = headers.get(name.replace("-", "_"), [])
        return [value] if isinstance(value, str) else value

    return proxies.client_address(peer, header)


@pytest.mark.parametrize("peer", ["192.0.2.7", "::1", "11.0.0.1", "?", ""])
def test_a_stranger_cannot_say_who_it_is(peer: str) -> None:
    assert seen(peer, x_forwarded_for="203.0.113.5", x_real_ip="203.0.113.5") == peer


def test_without_proxies_no_header_counts() -> None:
    assert seen("10.0.0.1", TrustedProxies(), x_forwarded_for="203.0.113.5") == "10.0.0.1"


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("198.51.100.1, 203.0.113.5", "203.0.113.5"),  # the left one is what the client itself wrote
        ("198.51.100.1, 203.0.113.5, 10.1.2.3 , 127.0.0.1", "203.0.113.5"),
        (["198.51.100.1", "203.0.113.5, 10.9.9.9"], "203.0.113.5"),
        ("10.0.0.7", "10.0.0.7"),  # all are proxies: the first of them began it
        ("10.0.0.7, 10.0.0.8", "10.0.0.7"),
        ("203.0.113.5:4711", "203.0.113.5"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
    ],
)
def test_a_proxy_names_the_client(value: str | list[str], client: str) -> None:
    assert seen("10.0.0.1", x_forwarded_for=value) == client


@pytest.mark.parametrize(
    "value", ["", "unknown", "kitchen, ", "1.2.3", "for=203.0.113.5", "203.0.113.5, bogus", ",", " "]
)
def test_what_cannot_be_read_leaves_the_proxy(value: str) -> None:
    assert seen("10.0.0.1", x_forwarded_for=value) == "10.0.0.1"


def test_the_first_header_that_is_there_counts() -> None:
    assert seen("127.0.0.1", x_real_ip="203.0.113.5") == "203.0.113.5"
    assert seen("127.0.0.1", x_forwarded_for="203.0.113.6", x_real_ip="203.0.113.5") == "203.0.113.6"
    cloud = TrustedProxies(TRUSTED.networks, ("cf-connecting-ip",))
    assert seen("127.0.0.1", cloud, x_forwarded_for="203.0.113.6", cf_connecting_ip="203.0.113.7") == "203.0.113.7"


def test_an_ipv4_proxy_of_a_socket_for_both_is_known() -> None:
    assert seen("::ffff:10.0.0.1", x_forwarded_for="203.0.113.5") == "203.0.113.5"
    assert seen("fd00::1", x_forwarded_for="2001:db8::5") == "2001:db8::5"


def test_networks_and_parts() -> None:
    assert parts(" a ,,b ") == parts(["a", " b", ""]) == ("a", "b")
    assert networks("") == networks([]) == ()
    assert [str(network) for network in networks(["10.1.2.3/8", "::1"])] == ["10.0.0.0/8", "::1/128"]
    with pytest.raises(ValueError, match="nope"):
        networks("10.0.0.0/8, nope")
