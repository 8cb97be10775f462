from __future__ import annotations

from pathlib import Path

import pytest

from hivemind_bus_client.http_client import HiveMindHTTPClient
from hivemind_bus_client.identity import NodeIdentity
from hivemind_chatroom.credentials import CredentialsError, Hub, make_client

GIVEN = Hub("key", "password", "ws://hub.lan", 5678)


def identity(app: str | None = None, **columns: object) -> NodeIdentity:
    made = NodeIdentity() if app is None else NodeIdentity(app_name=app, shared_fallback=False)
    stored = {"key": "stored-key", "password": "stored-password", "host": "ws://stored.lan", "port": 1234, **columns}
    made.access_key, made.password = str(stored["key"]), str(stored["password"])
    made.default_master, made.default_port = str(stored["host"]), int(str(stored["port"]))
    made.site_id = "attic"
    made.save()
    return made


def test_it_introduces_itself_as_the_released_one_does() -> None:
    client = make_client(GIVEN)
    assert client.useragent == "JarbasFlaskChatRoomV0.2"
    assert client.emit_timeout == 0
    assert not client.connected


def test_the_identity_is_used() -> None:
    identity()
    client = make_client(Hub())
    assert (client.key, client.password) == ("stored-key", "stored-password")
    assert (client.config.host, client.config.port) == ("stored.lan", 1234)


def test_what_is_given_goes_before_the_identity() -> None:
    identity()
    client = make_client(Hub(key="other", port=7))
    assert (client.key, client.password) == ("other", "stored-password")
    assert (client.config.host, client.config.port) == ("stored.lan", 7)


def test_the_site_is_the_one_given() -> None:
    identity()
    assert make_client(Hub()).site_id == "flask"
    assert make_client(Hub(site_id="hall")).site_id == "hall"


def test_an_application_has_an_identity_of_its_own() -> None:
    identity()
    identity("room", key="room-key")
    client = make_client(Hub(app="room"))
    assert client.key == "room-key"
    with pytest.raises(CredentialsError, match="hivemind-client --app other set-identity"):
        make_client(Hub(app="other"))


@pytest.mark.parametrize("app", [None, "room"])
def test_given_credentials_still_have_lasting_keys(app: str | None, own_home: Path) -> None:
    client = make_client(Hub("key", "password", "ws://hub.lan", 5678, app))
    folder = own_home / "config" / "hivemind"
    assert Path(client.identity.noise_key).parent == (folder if app is None else folder / app)


def test_credentials_alone_mean_a_hub_on_this_machine() -> None:
    assert make_client(Hub(key="key", password="password")).address.host == "127.0.0.1"


def test_nothing_is_written_before_it_connects(own_home: Path) -> None:
    make_client(GIVEN)
    assert list(own_home.rglob("*")) == []


@pytest.mark.parametrize(
    ("hub", "missing"),
    [
        (Hub(), "access key, password, hub"),
        (Hub(key="key"), "password"),
        (Hub(key="", password="", host="ws://hub.lan"), "access key, password"),
    ],
)
def test_without_an_identity_it_says_what_to_run(hub: Hub, missing: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        make_client(hub)
    text = str(caught.value)
    assert f"(missing: {missing})" in text
    assert "`hivemind-core add-client`" in text
    assert "`hivemind-client set-identity" in text


@pytest.mark.parametrize(
    "hub",
    [
        Hub("key", "password", "ftp://hub.lan"),
        Hub("key", "password", "ws://hub.lan", 99_999),
        Hub("key", "password", "ws://hub.lan", app="../elsewhere"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(hub: Hub) -> None:
    with pytest.raises(CredentialsError) as caught:
        make_client(hub)
    assert str(caught.value)


def test_an_identity_that_cannot_be_read_is_named() -> None:
    path = Path(NodeIdentity().IDENTITY_FILE.path)
    path.parent.mkdir(parents=True)
    path.write_text("{broken")
    with pytest.raises(CredentialsError, match=r"_identity\.json"):
        make_client(GIVEN)


def test_a_hub_may_speak_http() -> None:
    assert type(make_client(Hub("key", "password", "http://hub.lan"))) is HiveMindHTTPClient


def test_secrets_are_not_shown() -> None:
    assert "password" not in repr(GIVEN).lower()
    assert "'key'" not in repr(GIVEN)
