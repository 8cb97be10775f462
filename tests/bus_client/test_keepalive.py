import pytest

from hivemind_bus_client.keepalive import (
    CLIENT_PING_INTERVAL_ENVS,
    CLIENT_PING_TIMEOUT_ENVS,
    websocket_keepalive_options,
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in (*CLIENT_PING_INTERVAL_ENVS, *CLIENT_PING_TIMEOUT_ENVS):
        monkeypatch.delenv(name, raising=False)


def test_defaults():
    assert websocket_keepalive_options() == {"ping_interval": 25.0, "ping_timeout": 10.0}


def test_arguments_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("HIVEMIND_WEBSOCKET_CLIENT_PING_INTERVAL", "50")
    assert websocket_keepalive_options(12, 3) == {"ping_interval": 12.0, "ping_timeout": 3.0}


def test_the_clients_own_variable_wins_over_the_common_one(monkeypatch):
    monkeypatch.setenv("HIVEMIND_WEBSOCKET_PING_INTERVAL", "40")
    monkeypatch.setenv("HIVEMIND_WEBSOCKET_PING_TIMEOUT", "4")
    assert websocket_keepalive_options() == {"ping_interval": 40.0, "ping_timeout": 4.0}
    monkeypatch.setenv("HIVEMIND_WEBSOCKET_CLIENT_PING_INTERVAL", "50")
    assert websocket_keepalive_options()["ping_interval"] == 50.0


@pytest.mark.parametrize("value", ["soon", "nan", "inf"])
def test_what_is_no_number_is_reported_and_the_default_used(monkeypatch, caplog, value):
    monkeypatch.setenv("HIVEMIND_WEBSOCKET_PING_INTERVAL", value)
    assert websocket_keepalive_options()["ping_interval"] == 25.0
    assert value in caplog.text


def test_zero_disables_pings():
    assert websocket_keepalive_options(0) == {"ping_interval": 0}
    assert websocket_keepalive_options(-1, disabled_interval_value=None) == {"ping_interval": None}


def test_the_answer_must_be_due_before_the_next_ping():
    assert websocket_keepalive_options(8, 9) == {"ping_interval": 8.0, "ping_timeout": 4.0}
    assert websocket_keepalive_options(0.1, 9) == {"ping_interval": 0.1, "ping_timeout": 0.1}
    assert websocket_keepalive_options(8, 0) == {"ping_interval": 8.0, "ping_timeout": None}
