"""Released satellites at the hubs of a cluster: they cannot tell."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest

from helpers import bus_stub
from helpers.hub_cluster import HubCluster, Seat
from helpers.pair import DRIVERS, PASSWORD, SLOW_S, programs, talk
from helpers.processes import Child, Children, free_port, wait_until
from helpers.redis_server import RedisServer
from helpers.released import OLDEST_CLIENTS
from hivemind_core.clients import Client
from hivemind_core.roles import DEFAULT_ROLE, ROLES

HOSTS = ("127.0.0.31", "127.0.0.32")
MAKES = ("released-client", *OLDEST_CLIENTS)


class Scene:
    """Two hubs over one assistant's bus."""

    def __init__(self, children: Children) -> None:
        self.children = children
        self.port = free_port()
        bus = children.spawn("bus", [sys.executable, bus_stub.__file__])
        bus_port = bus.expect("ready")["port"]
        seats = [Seat(f"hub-{number}", host, self.port, bus_port) for number, host in enumerate(HOSTS)]
        self.cluster = HubCluster(children, RedisServer(children), seats)
        types = ROLES[DEFAULT_ROLE].types
        self.cluster.add_clients([Client(0, make, make, allowed_types=types) for make in MAKES], PASSWORD)
        self.cluster.start()

    def satellite(self, make: str, host: str) -> Child:
        """A satellite that has been admitted; of each make there is one device."""
        argv = [programs(make) / "python", DRIVERS / "satellite.py", "--host", host, "--port", str(self.port)]
        home = self.children.home(f"device-{make}")
        child = self.children.spawn(f"at-{host}", [*argv, "--key", make, "--password", PASSWORD], home)
        child.expect("connected", SLOW_S)
        return child


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Children(tmp_path_factory.mktemp("cluster")) as children:
        yield Scene(children)


@pytest.fixture(scope="module")
def visits(scene: Scene) -> Iterator[dict[str, Future[None]]]:
    """One of each make goes from hub to hub, all at a time: the oldest wait many seconds between attempts."""
    with ThreadPoolExecutor(len(MAKES)) as pool:
        yield {make: pool.submit(visit_each_hub, scene, make) for make in MAKES}


def visit_each_hub(scene: Scene, make: str) -> None:
    for number, host in enumerate((*HOSTS, HOSTS[0])):
        satellite = scene.satellite(make, host)
        talk(satellite, f"is this {number}", SLOW_S)
        said = [event["utterance"] for event in satellite.events() if event["event"] == "speak"]
        assert said.count(f"you said: is this {number}") == 1
        satellite.kill()


@pytest.mark.parametrize("make", MAKES)
def test_a_released_satellite_is_served_by_each_hub(visits: dict[str, Future[None]], make: str) -> None:
    visits[make].result()


def test_all_hubs_know_of_it(scene: Scene, visits: dict[str, Future[None]]) -> None:
    wait(visits.values())
    satellite = scene.satellite(MAKES[0], HOSTS[0])
    talk(satellite)

    def satellites() -> list[int]:
        return sorted(each["satellites"] for each in scene.cluster.status())

    wait_until(lambda: satellites() == [0, 1], SLOW_S, f"one satellite at one hub, not {satellites()}")
    scene.cluster.hubs[1].kill()
    talk(satellite, "still there")
