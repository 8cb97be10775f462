"""The same attacks on the released satellite: each does its harm, or the table of docs/security.md says why not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from helpers import attacks_satellite
from helpers.attacks_parts import extras
from helpers.attacks_satellite import KEY, Attack, Mute, Satellites
from helpers.processes import Children
from helpers.target import PASSWORD
from hivemind_bus_client.sides import HANDSHAKE_TIMEOUT_S

pytestmark = [pytest.mark.interop, pytest.mark.timeout(400)]
HARMFUL = [
    attacks_satellite.p02_older_protocol_after_the_newest,
    attacks_satellite.p12_message_over_http_without_its_source,
    attacks_satellite.p13_long_messages_by_asyncio,
    attacks_satellite.c09_device_that_is_not_the_pinned_one,
    attacks_satellite.c10_wrong_password,
    attacks_satellite.c12_handler_that_fails,
    attacks_satellite.c15_word_of_somebody_trusted,
    attacks_satellite.c22_logging_of_the_program,
    attacks_satellite.c23_readable_private_keys,
]
HARMLESS = [
    attacks_satellite.p03_another_hub_with_the_password,
    attacks_satellite.c23_clear_text_in_a_session,
    attacks_satellite.c23_route_that_is_none,
    attacks_satellite.c23_secrets_in_the_log,
]
WAITED_S = HANDSHAKE_TIMEOUT_S + 5


@pytest.fixture(scope="module")
def prey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Satellites]:
    """Released satellites as a process of their own."""
    with Children(tmp_path_factory.mktemp("prey")) as children:
        yield Satellites(children, "released-client", {"PYTHONPATH": str(extras())})


@pytest.fixture(scope="module")
def waiting(prey: Satellites) -> Iterator[tuple[Mute, float]]:
    """A hub that has gone silent towards one of them, and since when."""
    hub, loop = Mute({KEY: PASSWORD}), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(hub.start(), loop).result(60)
    prey.do("open", "p15", port=hub.port, key=KEY, password=PASSWORD)
    yield hub, time.monotonic()
    asyncio.run_coroutine_threadsafe(hub.kill(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(60)
    loop.close()


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize("attack", HARMFUL, ids=lambda attack: attack.__name__)
async def test_the_released_satellite_is_harmed_by(attack: Attack, prey: Satellites) -> None:
    assert await attack(prey) != ""


@pytest.mark.parametrize("attack", HARMLESS, ids=lambda attack: attack.__name__)
async def test_the_released_satellite_stands_as_ours_does(attack: Attack, prey: Satellites) -> None:
    assert await attack(prey) == ""


def test_the_released_satellite_is_harmed_by_p15_hub_that_goes_silent(
    prey: Satellites, waiting: tuple[Mute, float]
) -> None:
    """Ours gives up when a handshake may take no longer, and says so."""
    hub, since = waiting
    time.sleep(max(0.0, since + WAITED_S - time.monotonic()))
    assert not prey.told("failed", "p15")
    assert (hub.connections, len(hub.peers)) == (1, 1)
