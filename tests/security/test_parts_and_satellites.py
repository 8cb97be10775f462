"""What is tried through parts of a hub, by what the protocol leaves open, and on satellites: ours stand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers import attacks_parts, attacks_protocol, attacks_satellite
from helpers.attacks_outside import Attack, outcome
from helpers.attacks_parts import equipped
from helpers.attacks_satellite import Satellites
from helpers.processes import Children, free_port
from helpers.target import Target
from hivemind_core.agents.busclient import BusAddress, BusTuning
from hivemind_core.agents.busserver import BusServer

ON_A_HUB = [
    attacks_protocol.p04_frame_sent_again,
    attacks_protocol.p05_sealed_message_sent_again,
    attacks_protocol.p09_access_keys_on_the_bus,
    attacks_protocol.p14_plus_in_the_token,
    attacks_protocol.p16_session_of_the_house,
    attacks_protocol.p17_broadcast_that_comes_round,
    attacks_protocol.p18_message_without_its_envelope,
    attacks_protocol.w23_newcomer_at_a_locked_database,
    attacks_protocol.w37_id_that_somebody_else_used,
]
ON_ITS_PARTS = [
    attacks_parts.w22_policy_that_takes_its_time,
    attacks_parts.w31_one_depositor_fills_a_mailbox,
    attacks_parts.p10_question_over_a_binarized_link,
    attacks_parts.p11_address_on_a_binarized_link,
]
ON_SATELLITES = [
    attacks_satellite.p02_older_protocol_after_the_newest,
    attacks_satellite.p03_another_hub_with_the_password,
    attacks_satellite.p12_message_over_http_without_its_source,
    attacks_satellite.p13_long_messages_by_asyncio,
    attacks_satellite.c09_device_that_is_not_the_pinned_one,
    attacks_satellite.c10_wrong_password,
    attacks_satellite.c12_handler_that_fails,
    attacks_satellite.c15_word_of_somebody_trusted,
    attacks_satellite.c22_logging_of_the_program,
    attacks_satellite.c23_clear_text_in_a_session,
    attacks_satellite.c23_readable_private_keys,
    attacks_satellite.c23_route_that_is_none,
    attacks_satellite.c23_secrets_in_the_log,
]


@pytest.fixture(scope="module")
def with_parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with Children(tmp_path_factory.mktemp("with-parts")) as children:
        made = equipped(children)
        yield made
        made.close()


@pytest.fixture(scope="module")
def satellites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Satellites]:
    with Children(tmp_path_factory.mktemp("satellites")) as children:
        yield Satellites(children)


@pytest.mark.parametrize("attack", ON_A_HUB, ids=lambda attack: attack.__name__)
async def test_nothing_comes_at_a_hub_of(attack: Attack, target: Target) -> None:
    assert await outcome(attack, target) == ""


@pytest.mark.parametrize("attack", ON_ITS_PARTS, ids=lambda attack: attack.__name__)
async def test_nothing_comes_through_parts_of(attack: Attack, with_parts: Target) -> None:
    assert await outcome(attack, with_parts) == ""


@pytest.mark.parametrize("attack", ON_SATELLITES, ids=lambda attack: attack.__name__)
async def test_nothing_comes_at_a_satellite_of(attack: attacks_satellite.Attack, satellites: Satellites) -> None:
    assert await attack(satellites) == ""


async def test_nothing_comes_of_w34_bus_client_that_dies() -> None:
    """On the bus that the hub itself offers, where there is no assistant."""
    port = free_port()
    server = BusServer(BusAddress(port=port), BusTuning(), lambda message: None)
    await server.start()
    try:
        assert await attacks_parts.w34_bus_client_that_dies(f"ws://127.0.0.1:{port}/core") == ""
    finally:
        await server.stop()
