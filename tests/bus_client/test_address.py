import base64

import pytest

from hivemind_bus_client.address import (
    Address,
    authorization,
    check_useragent,
    is_http,
    known_port,
    parse_address,
)


@pytest.mark.parametrize(
    ("host", "port", "default_port", "origin"),
    [
        ("localhost", None, None, "ws://localhost:5678"),
        ("ws://localhost", 5700, 5800, "ws://localhost:5700"),
        ("wss://hub.example ", "", 5800, "wss://hub.example:5800"),
        ("ws://hub:1234/", None, 5800, "ws://hub:1234"),
        ("hub:1234", "99", None, "ws://hub:99"),
        ("::1", None, None, "ws://[::1]:5678"),
        ("wss://[fe80::1]:70", None, None, "wss://[fe80::1]:70"),
        ("192.168.1.7", None, None, "ws://192.168.1.7:5678"),
    ],
)
def test_hosts_are_read_as_people_write_them(host, port, default_port, origin):
    assert str(parse_address(host, port, default_port)) == origin


@pytest.mark.parametrize(
    "host", ["", "ws://", "http://hub", "hub/path", "ws://a b", "ws://u@hub", "hub:0x", "hub:70000"]
)
def test_a_host_that_cannot_be_dialled_is_refused(host):
    with pytest.raises(ValueError, match=r"host|port"):
        parse_address(host)


@pytest.mark.parametrize("port", [-1, 65536, "many"])
def test_a_port_out_of_range_is_refused(port):
    with pytest.raises(ValueError, match="port"):
        parse_address("hub", port)


@pytest.mark.parametrize(
    ("host", "port", "http", "origin"),
    [
        ("http://hub", None, None, "http://hub:5679"),
        ("https://hub:8443", None, None, "https://hub:8443"),
        ("HTTPS://hub", 1, True, "https://hub:1"),
        ("hub", None, True, "http://hub:5679"),
        ("wss://hub", None, True, "https://hub:5679"),
        ("wss://hub", None, None, "wss://hub:5678"),
    ],
)
def test_hosts_to_speak_http_with(host, port, http, origin):
    assert str(parse_address(host, port, http=http)) == origin


def test_a_scheme_of_neither_is_refused():
    with pytest.raises(ValueError, match="https://name"):
        parse_address("ftp://hub", http=None)


@pytest.mark.parametrize(
    ("port", "host", "http", "worth"),
    [
        (5678, "ws://hub", True, None),
        ("5678", None, True, None),
        (5678, "http://hub", True, 5678),
        (8000, "hub", True, 8000),
        (5679, "https://hub", False, None),
        (5679, "wss://hub", False, 5679),
        (None, "hub", False, None),
    ],
)
def test_a_stored_port_may_be_of_the_other_transport(port, host, http, worth):
    assert known_port(port, host, http) == worth


def test_how_a_host_is_written_says_what_it_speaks():
    assert [is_http(host) for host in (" HTTP://hub", "https://hub", "ws://hub", "httphub", "", None)] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def test_the_pin_is_named_as_dialled():
    assert parse_address("ws://127.0.0.1", 15678).pin_id == "127.0.0.1:15678"


def test_the_token_is_useragent_and_key():
    token = authorization("agent", "key")
    assert base64.b64decode(token) == b"agent:key"
    assert Address("hub").url(token) == f"ws://hub:5678/?authorization={token}"


def test_the_token_holds_no_plus_where_padding_can_avoid_it():
    """docs/protocol.md 5.1: newer hubs read a raw plus as a blank, older ones do not decode %2B."""
    plain = base64.b64encode(b"agent:k~").decode()
    for key in ("k~", "kk~", "kkk~", "k>", "kk>"):
        token = authorization("agent", key)
        assert "+" not in token
        assert base64.b64decode(token).decode().split(":", 1)[1] == key
    assert "+" in {*plain, *base64.b64encode(b"agent:kk~").decode(), *base64.b64encode(b"agent:kkk~").decode()}


def test_a_plus_that_cannot_be_avoided_is_encoded():
    token = authorization("agent", "~~~~~~")
    assert "+" not in token
    assert base64.b64decode(token.replace("%2B", "+")) == b"agent:~~~~~~"


def test_a_useragent_with_a_colon_is_refused():
    assert check_useragent("me") == "me"
    with pytest.raises(ValueError, match="colon"):
        check_useragent("a:b")
