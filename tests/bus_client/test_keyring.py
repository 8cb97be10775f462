import json

import pytest

from hivemind_bus_client.exceptions import IdentityFileCorrupted
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.keyring import Keyring
from hivemind_bus_client.noise import derive_psk
from hivemind_bus_client.psk_cache import PskCache

SERVER, NODE, HUB_KEY = "hub:5678", "node", bytes(range(32))
PSK = derive_psk("password", NODE)


@pytest.fixture
def identity(tmp_path):
    return NodeIdentity(tmp_path / "_identity.json")


def keyring(identity: NodeIdentity, password: str | None = "password") -> Keyring:
    return Keyring(identity, SERVER, "key", password)


def test_the_own_key_lasts_and_the_hubs_is_unknown_at_first(identity):
    keys = keyring(identity).load()
    assert keyring(identity).load().static == keys.static
    assert (keys.pinned, keys.public_pem) == (None, None)
    assert keys.static.hex() not in repr(keys)


def test_what_has_proved_right_is_kept(identity):
    ring = keyring(identity)
    assert ring.pre_shared(NODE, kept=True) == (PSK, False)
    assert ring.pre_shared(NODE, kept=True) == (PSK, True)
    ring.accepted(HUB_KEY)
    again = keyring(identity)
    assert again.pre_shared(NODE, kept=True) == (PSK, True)
    assert again.load().pinned == HUB_KEY


def test_a_pin_is_never_replaced(identity):
    keyring(identity).accepted(HUB_KEY)
    keyring(identity).accepted(bytes(32))
    assert keyring(identity).load().pinned == HUB_KEY


def test_what_a_hub_rejects_is_dropped(identity):
    ring = keyring(identity)
    ring.pre_shared(NODE, kept=True)
    ring.accepted(HUB_KEY)
    ring.rejected()
    assert keyring(identity).pre_shared(NODE, kept=True) == (PSK, False)


def test_another_password_neither_uses_nor_spoils_a_key(identity):
    """Else a wrong --password would seem to be right, or the right one be derived anew ever after."""
    right = keyring(identity)
    right.pre_shared(NODE, kept=True)
    right.accepted(HUB_KEY)
    wrong = keyring(identity, "other")
    assert wrong.pre_shared(NODE, kept=True) == (derive_psk("other", NODE), False)
    wrong.rejected()
    wrong.rejected()
    assert keyring(identity).pre_shared(NODE, kept=True) == (PSK, True)


def test_a_key_that_the_released_client_kept_is_used_for_the_stored_password(identity):
    identity.password = "password"
    cache = PskCache(identity.noise_key)
    cache.save("key", NODE, PSK, "password")
    entries = json.loads(cache.path.read_text())
    cache.path.write_text(json.dumps({name: entries[name] for name in entries if "check:" not in name}))
    assert keyring(identity).pre_shared(NODE, kept=True) == (PSK, True)
    assert keyring(identity, "other").pre_shared(NODE, kept=True)[1] is False


def test_without_a_password_there_is_no_key(identity):
    assert keyring(identity, None).pre_shared(NODE, kept=True) == (None, False)


@pytest.mark.parametrize("pin", ["zz", "ab"])
def test_a_damaged_pin_is_not_taken_for_none(identity, pin):
    identity.pin_noise_key(SERVER, pin)
    with pytest.raises(IdentityFileCorrupted, match="forget-server"):
        keyring(identity).load()


def test_where_nothing_can_be_written_the_pin_holds_in_this_process(identity, caplog):
    def no_space() -> None:
        raise OSError("no space left")

    identity.IDENTITY_FILE.store = no_space  # type: ignore[method-assign]
    ring = keyring(identity)
    ring.accepted(HUB_KEY)
    assert ring.load().pinned == HUB_KEY
    assert "no space left" in caplog.text
