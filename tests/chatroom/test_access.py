"""Who may come in."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_chatroom.access import (
    forwarding_headers,
    household,
    is_local,
    is_trusted,
    refuse_address,
    refuse_forwarded,
    refuse_host,
    refuse_origin,
)
from hivemind_chatroom.settings import Access

CLOSED, OPEN, PASSWORD = Access(), Access(open=True), Access(room_password="sesame")
PROXIES = (ip_network("192.0.2.7/32"), ip_network("2001:db8::/64"))
BEHIND = Access(trusted_proxies=PROXIES)
OWN = "http://chat.example:8985"


@pytest.mark.parametrize(
    "address",
    """127.0.0.1 127.9.9.9 ::1 10.1.2.3 172.16.0.1 172.31.255.255 192.168.178.20 169.254.1.1 fe80::1 fe80::1%eth0
    fc00::1 fd12:3456::1 ::ffff:192.168.1.1 ::ffff:127.0.0.1 ::FFFF:a00:1""".split(),  # noqa: SIM905
)
def test_an_address_is_local(address: str) -> None:
    assert is_local(address)
    assert refuse_address(address, CLOSED, signed_in=False) is None


@pytest.mark.parametrize(
    "address",
    """8.8.8.8 172.15.0.1 172.32.0.1 192.0.2.1 100.64.0.1 11.0.0.1 0.0.0.0 :: 2001:db8::1 ::ffff:8.8.8.8 fec0::1
    64:ff9b::a00:1 localhost 10.0.0 010.0.0.1 0x7f.1 2130706433 127.0.0.1:80 [::1] 10.0.0.1/8 10.0.0.1,8.8.8.8
    unix: -""".split(),  # noqa: SIM905
)
def test_an_address_is_not_local(address: str) -> None:
    assert not is_local(address)
    refused = refuse_address(address, CLOSED, signed_in=False)
    assert refused is not None
    assert (refused.code, refused.status) == ("address_refused", 403)
    assert "--open" in refused.cure
    assert "--room-password" in refused.cure
    assert address not in refused.message + refused.cure or address == "-"


@given(st.text(max_size=50))
def test_no_text_is_local_by_accident(text: str) -> None:
    assert is_local(text) in (True, False)
    assert not is_local(text + "!")


@pytest.mark.parametrize(("access", "signed_in"), [(OPEN, False), (PASSWORD, False), (CLOSED, True)])
def test_anybody_may_come_where_it_is_open_or_needs_a_password(access: Access, signed_in: bool) -> None:
    assert refuse_address("8.8.8.8", access, signed_in) is None


def test_headers_that_say_forwarded() -> None:
    names = [
        "Host",
        "X-Forwarded-For",
        "forwarded",
        "X-REAL-IP",
        "X_FORWARDED_PROTO",
        "X-Forwarded",
        "X-Requested-With",
    ]
    assert forwarding_headers(names) == ["X-Forwarded-For", "forwarded", "X-REAL-IP", "X_FORWARDED_PROTO"]


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("2001:db8::5", True),
        ("192.0.2.8", False),
        ("2001:db8:1::5", False),
        ("127.0.0.1", False),
        ("", False),
        ("proxy", False),
    ],
)
def test_a_proxy_is_trusted_by_its_address(peer: str, trusted: bool) -> None:
    assert is_trusted(peer, PROXIES) is trusted
    assert not is_trusted(peer, ())
    assert (refuse_forwarded(peer, ["X-Forwarded-For"], BEHIND) is None) is trusted


def test_who_forwards_nothing_is_no_proxy() -> None:
    assert refuse_forwarded("192.0.2.8", ["Host", "Cookie"], BEHIND) is None
    refused = refuse_forwarded("127.0.0.1", ["Forwarded"], CLOSED)
    assert refused is not None
    assert (refused.code, refused.status) == ("forwarded_refused", 403)
    assert "--trusted-proxy" in refused.cure


@pytest.mark.parametrize(
    "host",
    """localhost localhost:8985 LOCALHOST. 127.0.0.1 127.0.0.1:8985 [::1] [::1]:8985 [fe80::1] 192.168.1.2:80 8.8.8.8
    raspberrypi raspberrypi:8985 hub.local hub.local.:8985 Hub.LAN hub.home hub.internal a.b.home.arpa hub.localdomain
    chat.localhost own.example own.example:8985 OWN.Example. named.example xn--kche-0ra.example""".split(),  # noqa: SIM905
)
def test_a_host_is_ours(host: str) -> None:
    access = Access(allowed_hosts=("Named.Example:8985", "küche.example"))
    assert refuse_host(host, access, {"own.example"}, through_proxy=False) is None


HOSTS_OF_OTHERS = [
    *"""evil.example evil.example:8985 own.example.evil.example evillocal.example local.evil home.arpa.evil
    x.own.example localhost.evil.example 127.0.0.1.evil.example [::1].evil.example [::1 ::1 [] : :80 local:80:80
    a@localhost localhost/evil localhost?x localhost#x localhost\\x localhost.. .localhost .local hub:x ..""".split(),  # noqa: SIM905
    "",
    " ",
    "local host",
    "localhost\x00",
    "lоcalhost",
    "localhost,evil.example",
]


@pytest.mark.parametrize("host", HOSTS_OF_OTHERS)
def test_a_host_is_not_ours(host: str) -> None:
    refused = refuse_host(host, CLOSED, {"own.example"}, through_proxy=False)
    assert refused is not None
    assert (refused.code, refused.status) == ("host_refused", 403)
    assert "--allowed-host" in refused.cure
    assert "own.example" not in refused.message + refused.cure


@pytest.mark.parametrize(("access", "through_proxy"), [(OPEN, False), (PASSWORD, False), (BEHIND, True)])
def test_any_name_will_do_where_names_protect_nothing(access: Access, through_proxy: bool) -> None:
    assert refuse_host("evil.example", access, (), through_proxy) is None


def test_a_trusted_proxy_somewhere_does_not_excuse_who_comes_directly() -> None:
    assert refuse_host("evil.example", BEHIND, (), through_proxy=False) is not None


def test_names_that_can_be_none_are_nobodys() -> None:
    access = Access(allowed_hosts=("", "[", "*.example", "x" * 300))
    assert refuse_host("evil.example", access, ("", "::1"), through_proxy=False) is not None
    assert refuse_host("x" * 300, access, (), through_proxy=False) is None  # a single label anyway


@given(st.text(max_size=30))
def test_any_host_header_can_be_read(host: str) -> None:
    assert refuse_host(host + ".evil.example", CLOSED, (), through_proxy=False) is not None


@pytest.mark.parametrize(
    ("own", "origin"),
    [
        (OWN, "http://chat.example:8985"),
        (OWN, "HTTP://Chat.Example:8985"),
        ("http://chat.example", "http://chat.example:80"),
        ("https://chat.example:443", "https://chat.example"),
        ("http://[::1]:8985", "http://[::1]:8985"),
    ],
)
def test_our_own_page_may_send(own: str, origin: str) -> None:
    assert refuse_origin("POST", {"Origin": origin}, own) is None
    assert refuse_origin("POST", {"origin": origin, "Sec-Fetch-Site": "cross-site"}, own) is None


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://chat.example",
        "http://chat.example:8986",
        "https://chat.example:8985",
        "http://chat.example:8985.evil.example",
        "http://evil.example@chat.example:8985",
        "http://chat.example:8985/x",
        "http://chat.example:8985, http://evil.example",
        "http://chat.example:port",
        "http://[chat.example:8985",
        "ftp://chat.example:8985",
        "chat.example:8985",
        "//chat.example:8985",
    ],
)
@pytest.mark.parametrize("method", ["POST", "post", "PUT", "DELETE", "PATCH", ""])
def test_the_page_of_another_site_may_not(method: str, origin: str) -> None:
    refused = refuse_origin(method, {"Origin": origin, "Sec-Fetch-Site": "same-origin"}, OWN)
    assert refused is not None
    assert (refused.code, refused.status) == ("cross_site", 403)
    assert "--trusted-proxy" in refused.cure


def test_two_origins_that_are_none_are_not_the_same() -> None:
    assert refuse_origin("POST", {"Origin": "null"}, "null") is not None


@pytest.mark.parametrize(
    ("site", "passes"),
    [
        ("same-origin", True),
        ("none", True),
        ("Same-Origin ", True),
        ("same-site", False),
        ("cross-site", False),
        ("", False),
    ],
)
def test_without_an_origin_the_browser_says_from_where(site: str, passes: bool) -> None:
    assert (refuse_origin("POST", {"sec-fetch-site": site}, OWN) is None) is passes


def test_a_script_that_says_nothing_may_send() -> None:
    assert refuse_origin("POST", {"Host": "chat.example:8985"}, OWN) is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "get"])
def test_reading_changes_nothing(method: str) -> None:
    assert refuse_origin(method, {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}, OWN) is None


@given(st.text(max_size=60))
def test_no_origin_but_our_own_passes(origin: str) -> None:
    assert refuse_origin("POST", {"Origin": f"http://evil.example/{origin}"}, OWN) is not None
    assert refuse_origin("POST", {"Origin": origin}, OWN) is not None


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.168.1.2", "192.168.1.2"),
        ("::ffff:192.168.1.2", "192.168.1.2"),
        ("2a00:1:2:3:4:5:6:7", "2a00:1:2:3::/64"),
        ("2a00:1:2:3::1", "2a00:1:2:3::/64"),
        ("fe80::1", "fe80::1"),
        ("fd00::1", "fd00::1"),
        ("::1", "::1"),
        ("192.0.2.1:5678", "192.0.2.1"),
        ("[2a00:1:2:3::1]:5678", "2a00:1:2:3::/64"),
        ("nonsense", "nonsense"),
        ("", ""),
    ],
)
def test_limits_go_by_household(address: str, counted: str) -> None:
    assert household(address) == counted
