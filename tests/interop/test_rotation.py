"""Released satellites at our hub while their password is changed; and a released hub on the database afterwards."""

from __future__ import annotations

import pytest

from helpers.hub_process import HubProcess
from helpers.pair import OURS, PASSWORD, Pair, programs, talk
from helpers.processes import Child, Children, Home, wait_until

XX, KK = "XXpsk2", "KKpsk0"
NEW = "cobalt meadow engine harvest 17"
SOON_S = 60


@pytest.fixture
def pair(children: Children) -> Pair:
    return Pair(children, "released-client", OURS)


def come_in(pair: Pair, home: Home, password: str) -> None:
    satellite = pair.satellite(home=home, password=password)
    satellite.expect("connected", SOON_S)
    talk(satellite)
    pair.close(satellite)


def is_kept_out(pair: Pair, home: Home, password: str) -> None:
    """Try to come in until the satellite says that it cannot, or has tried several times in vain."""
    before = len(pair.patterns())
    satellite = pair.satellite(home=home, password=password)

    def said() -> set[str]:
        return {event["event"] for event in satellite.events()}

    wait_until(lambda: said() & {"failed", "refused"} or len(pair.patterns()) >= before + 3, SOON_S, satellite.tail())
    assert "connected" not in said()
    satellite.kill()


def rotate(pair: Pair, *options: str) -> None:
    """Run the command, and have the hub go by the row as it is then."""
    pair.hub.command("rotate-password", "1", *options)
    pair.hub.take_in()


def still_uses(pair: Pair) -> int:
    assert pair.hub.child is not None
    return pair.hub.child.output().count("still uses its previous password")


def test_a_satellite_that_was_in_before_comes_in_with_either_and_then_with_the_new_one_alone(pair: Pair) -> None:
    home = pair.new_home()
    come_in(pair, home, PASSWORD)
    rotate(pair, "--password", NEW)
    come_in(pair, home, PASSWORD)
    wait_until(lambda: still_uses(pair) >= 1, SOON_S, "the hub says which password was used")
    pair.hub.stop()
    pair.hub.start()
    come_in(pair, home, PASSWORD)
    come_in(pair, home, NEW)
    rotate(pair, "--end-grace")
    assert pair.patterns()[:2] == [XX, KK]
    is_kept_out(pair, home, PASSWORD)
    come_in(pair, home, NEW)


def test_one_that_stays_connected_comes_back_after_a_cut(pair: Pair) -> None:
    satellite: Child = pair.satellite()
    satellite.expect("connected", SOON_S)
    talk(satellite)
    rotate(pair, "--password", NEW)
    talk(satellite, "still here")
    pair.cut()
    pair.wait_session_after(0)  # it sends in clear what it is given before
    talk(satellite, "back again", SOON_S)
    assert pair.patterns() == [KK]


@pytest.mark.parametrize("password", [PASSWORD, NEW])
def test_a_new_device_comes_in_with_either(pair: Pair, password: str) -> None:
    rotate(pair, "--password", NEW)
    come_in(pair, pair.new_home(), password)


@pytest.mark.parametrize("make", ["released-client-0.7.0a2"])
def test_an_old_satellite_comes_in_with_either_and_then_with_the_new_one_alone(children: Children, make: str) -> None:
    pair = Pair(children, make, OURS)
    home = pair.new_home()
    come_in(pair, home, PASSWORD)
    rotate(pair, "--password", NEW)
    come_in(pair, home, PASSWORD)
    come_in(pair, home, NEW)
    rotate(pair, "--end-grace")
    come_in(pair, home, NEW)


def test_a_released_hub_on_the_same_database_knows_the_new_password(children: Children) -> None:
    pair = Pair(children, "released-client", "released-hub")
    home = pair.new_home()
    come_in(pair, home, PASSWORD)
    replace_hub(pair, OURS)
    rotate(pair, "--password", NEW)
    come_in(pair, home, PASSWORD)
    replace_hub(pair, "released-hub")
    come_in(pair, home, NEW)
    replace_hub(pair, OURS)
    come_in(pair, home, NEW)
    come_in(pair, home, PASSWORD)
    assert pair.patterns()[:2] == [XX, KK]


def replace_hub(pair: Pair, make: str) -> None:
    """Run another make of hub on the files and at the port of the one that runs now."""
    pair.hub.stop()
    program = programs(make) / "hivemind-core"
    pair.hub = HubProcess(pair.children, program, pair.hub.bus_port, name=pair.hub.name, port=pair.hub.port)
    pair.hub.start()
