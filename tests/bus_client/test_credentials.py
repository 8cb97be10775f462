"""Who a client is: also for objects made without the constructor, as embedding programs make them."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import pytest

from hivemind_bus_client.client import HiveMessageBusClient

NOTHING = dict.fromkeys(("access_key", "password", "site_id", "default_master", "default_port"))


def known(**identity: Any) -> HiveMessageBusClient:
    client = object.__new__(HiveMessageBusClient)
    client._password = client._access_key = client._name = client._port = client._host = None
    client.identity = SimpleNamespace(**{**NOTHING, **identity})
    return client


def test_what_is_not_given_comes_from_the_identity() -> None:
    client = known(access_key="k", password="p", default_master="wss://hub", default_port=1234, site_id="attic")
    client.init_identity()
    assert (client.key, client.password, client.site_id, client.useragent) == (
        "k",
        "p",
        "attic",
        "HiveMessageBusClientV0.0.1",
    )
    assert (client._host, client._port) == ("wss://hub", 1234)
    client.init_identity("cellar")
    assert client.site_id == "cellar"


@pytest.mark.parametrize("name", ["_password", "_access_key"])
def test_credentials_found_nowhere(name: str) -> None:
    client = known(access_key="k", password="p", default_master="h")
    setattr(client.identity, name.lstrip("_"), None)
    with pytest.raises(
        RuntimeError, match="NodeIdentity not set, please pass key and password or call 'hivemind-client"
    ):
        client.init_identity()


def test_a_host_found_nowhere_and_one_without_a_scheme() -> None:
    client = known(access_key="k", password="p")
    with pytest.raises(RuntimeError, match="host not set, please pass host and port or call 'hivemind-client"):
        client.init_identity()
    client._host = "hub  "
    client.init_identity()
    assert (client._host, client._port) == ("ws://hub", 5678)
    assert client.identity.default_master is None


def test_a_port_that_is_none_is_passed_over() -> None:
    client = known(access_key="k", password="p", default_master="h", default_port=object())
    client.init_identity()
    assert client.config == SimpleNamespace(host="h", port=5678, ssl=False, route="/")


def test_a_pre_shared_key_is_enough() -> None:
    client = known(access_key="k", default_master="h")
    client._pre_shared_key = "0123456789abcdef"
    client.init_identity()
    assert client.password is None


def test_what_may_be_assigned() -> None:
    client = known()
    client.key, client.password, client.useragent = "k", "p", "agent"
    client.site_id, client.session_id = "attic", "s1"
    assert (client.key, client.password, client.useragent) == ("k", "p", "agent")
    assert client.session.serialize() == {"session_id": "s1", "site_id": "attic"}
    with pytest.raises(ValueError, match="colon"):
        client.useragent = "a:b"


def test_another_session_begins_without_the_state_of_the_one_before() -> None:
    client = known()
    client.hub_session = {"active_handlers": ["a"]}
    client.session_id = "s2"
    assert client.hub_session == {}


def test_secrets_do_not_show() -> None:
    client = known(access_key="the key", password="secret", default_master="h")
    assert repr(client) == "HiveMessageBusClient('not set up')"
    client.init_identity()
    assert repr(client) == "HiveMessageBusClient('ws://h:5678')"


def test_the_url_is_the_released_one():
    url = HiveMessageBusClient.build_url("key", "localhost", 5678, "agent", ssl=True)
    assert url == "wss://localhost:5678?authorization=YWdlbnQ6a2V5"
    url = HiveMessageBusClient.build_url("+?\xff", "ws://h", useragent="b>", ssl=False)
    assert url == "ws://h:5678?authorization=" + base64.b64encode("b>:+?\xff".encode()).decode()
    assert HiveMessageBusClient.build_url("k").startswith("wss://127.0.0.1:5678?")
