from types import SimpleNamespace

import pytest

from hivemind_bus_client.session import Session, own_session_id


def test_a_session_as_it_is_sent() -> None:
    assert Session("s1").serialize() == {"session_id": "s1", "site_id": "unknown"}


@pytest.mark.parametrize("bus", [None, SimpleNamespace(session_id="default"), SimpleNamespace(session_id=None)])
def test_a_bus_without_a_session_of_its_own_gives_a_new_one_each_time(bus: object) -> None:
    assert own_session_id(bus) != own_session_id(bus)


def test_the_session_of_a_bus() -> None:
    assert own_session_id(SimpleNamespace(session_id="s1")) == "s1"
