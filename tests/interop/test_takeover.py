"""Our hub in the place of a released one: same files, same keys, and back again."""

from __future__ import annotations

from helpers.hub_process import HubProcess
from helpers.pair import KEY, OTHER_KEY, OTHER_PASSWORD, OURS, PASSWORD, Pair, programs, talk
from helpers.processes import Child, Children, Home

XX, KK = "XXpsk2", "KKpsk0"


def say_hello(pair: Pair, home: Home, key: str = KEY, password: str = PASSWORD) -> None:
    satellite: Child = pair.satellite(key=key, password=password, home=home)
    satellite.expect("connected")
    talk(satellite)
    pair.close(satellite)


def replace_hub(pair: Pair, make: str) -> None:
    """Run another make of hub on the files and at the port of the one that runs now."""
    pair.hub.stop()
    program = programs(make) / "hivemind-core"
    pair.hub = HubProcess(pair.children, program, pair.hub.bus_port, name=pair.hub.name, port=pair.hub.port)


def test_a_released_installation_is_taken_over_and_given_back(children: Children) -> None:
    pair = Pair(children, "released-client", "released-hub")
    kitchen, bedroom = pair.new_home(), children.home("bedroom")
    say_hello(pair, kitchen)

    replace_hub(pair, OURS)
    pair.hub.add_client(OTHER_KEY, OTHER_PASSWORD, name="bedroom")
    pair.hub.start()
    say_hello(pair, kitchen)
    say_hello(pair, bedroom, OTHER_KEY, OTHER_PASSWORD)

    replace_hub(pair, "released-hub")
    pair.hub.start()
    say_hello(pair, kitchen)
    say_hello(pair, bedroom, OTHER_KEY, OTHER_PASSWORD)
    assert pair.patterns() == [XX, KK, XX, KK, KK]
