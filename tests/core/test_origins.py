"""Which web pages may reach a hub."""

from __future__ import annotations

import pytest

from hivemind_core.origins import ANY, AllowedOrigins, is_own, origins

NAMES = {"localhost", "hub", "hub.local"}


def admits(origin: str, host: str = "192.0.2.1:5678", *allowed: str) -> bool:
    return AllowedOrigins(origins(allowed)).admit([origin], host, NAMES)


def test_who_is_no_browser_sends_none() -> None:
    assert AllowedOrigins(()).admit([], "anything at all", NAMES)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://192.0.2.1", "192.0.2.1:5678"),
        ("https://192.0.2.1:8985", "192.0.2.1"),
        ("http://[2001:db8::1]:80", "[2001:DB8::1]:5678"),
        ("http://localhost:9090", "localhost:5678"),
        ("http://hub.local:8985", "Hub.local:5678"),
    ],
)
def test_pages_of_the_same_host_may_come(origin: str, host: str) -> None:
    assert admits(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "192.0.2.1:5678"),
        ("http://evil.example:5678", "evil.example:5678"),  # whose name leads here now
        ("http://192.0.2.2", "192.0.2.1:5678"),
        ("http://hub.local.evil.example", "hub.local:5678"),
        ("http://hub.local@evil.example", "hub.local:5678"),
        ("http://evil.example/hub.local", "hub.local:5678"),
        ("null", "hub.local"),
        ("", ""),
        ("file://", ""),
        ("http://", ""),
        ("http://hub:port", "hub"),
        ("http://hub.local", ""),
    ],
)
def test_others_may_not(origin: str, host: str) -> None:
    assert not admits(origin, host)


def test_those_that_are_listed_may() -> None:
    allowed = ("https://pages.example.org", "http://other.example:8080/", "null")
    assert admits("https://pages.example.org", "x", *allowed)
    assert admits("https://PAGES.example.org:443", "x", *allowed)
    assert admits("http://other.example:8080", "x", *allowed)
    assert admits("null", "x", *allowed)
    assert not admits("http://pages.example.org", "x", *allowed)
    assert not admits("https://pages.example.org:8443", "x", *allowed)
    assert not admits("http://other.example", "x", *allowed)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "nonsense"])
def test_with_a_star_all_may(origin: str) -> None:
    assert AllowedOrigins((ANY,)).admit([origin, origin], "x", NAMES)


def test_two_at_once_are_none() -> None:
    allowed = AllowedOrigins(("http://a.example", "http://b.example"))
    assert not allowed.admit(["http://a.example", "http://b.example"], "x", NAMES)


@pytest.mark.parametrize("wrong", ["pages.example.org", "http://", "https://a/b", "https://u@a", "http://a:b", "**"])
def test_what_is_no_origin_is_said(wrong: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        origins([wrong])


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1:9567", True),
        ("[::1]:9567", True),
        ("::1", True),
        ("localhost", True),
        ("HUB.local:9567", True),
        ("hub.evil.example:9567", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("[", False),
    ],
)
def test_a_machine_is_known_by_addresses_and_by_its_own_names(host: str, own: bool) -> None:
    assert is_own(host, NAMES) is own
