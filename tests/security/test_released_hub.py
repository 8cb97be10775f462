"""The same attacks on the released hub: each does its harm there, so that it proves something here.

What the table of docs/security.md says of the released hub is what these find.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from helpers import attacks_commands, attacks_outside, attacks_parts, attacks_protocol
from helpers.attacks_outside import Attack, outcome
from helpers.hub_process import HOST
from helpers.ovos import STABLE, Ovos
from helpers.processes import Children
from helpers.target import Target
from hivemind_bus_client.sides import HANDSHAKE_TIMEOUT_S

pytestmark = [pytest.mark.interop, pytest.mark.timeout(400)]
HARMFUL = [
    attacks_outside.w13_slow_reader,  # before others have had it take memory that it uses again
    attacks_outside.w01_unauthenticated_registration,
    attacks_outside.w02_foreign_intercom_pin,
    attacks_outside.w03_deleted_client_stays,
    attacks_outside.w04_deleted_client_comes_back,
    attacks_outside.w05_bomb_before_the_session,
    attacks_outside.w07_stalled_bus,
    attacks_outside.w08_database_fault,
    attacks_outside.w11_lock_anybody_can_hold,
    attacks_outside.w12_what_travels_tells_on_its_sender,
    attacks_outside.w16_events_before_the_session,
    attacks_outside.w17_sealed_for_somebody_else,
    attacks_outside.w18_denial_tells_the_list,
    attacks_outside.w21_connections_without_end,
    attacks_outside.w25_questions_that_nobody_answers,
    attacks_outside.w27_ping_storm,
    attacks_protocol.w23_newcomer_at_a_locked_database,
    attacks_protocol.w37_id_that_somebody_else_used,
    attacks_protocol.p05_sealed_message_sent_again,
    attacks_protocol.p09_access_keys_on_the_bus,
    attacks_protocol.p14_plus_in_the_token,
    attacks_protocol.p17_broadcast_that_comes_round,
    attacks_commands.w06_hub_above_is_gone,
    attacks_commands.w09_broken_configuration,
    attacks_commands.w10_client_added_in_a_gap,
    attacks_commands.w15_readable_secrets,
    attacks_commands.w19_end_without_a_word,
    attacks_commands.w20_port_in_use,
    attacks_commands.w26_hub_below_is_deaf,
    attacks_commands.w28_bus_restarted,
    attacks_commands.w32_commands_that_fail_in_silence,
    attacks_commands.w36_weak_password_allowed,
]

HARMFUL_TO_PARTS = [
    attacks_parts.w22_policy_that_takes_its_time,
    attacks_parts.w31_one_depositor_fills_a_mailbox,
    attacks_parts.p10_question_over_a_binarized_link,
    attacks_parts.p11_address_on_a_binarized_link,
]
HARMLESS = [
    attacks_outside.w24_unknown_keys,
    attacks_outside.w30_answer_after_a_reconnect,
    attacks_protocol.p04_frame_sent_again,
    attacks_protocol.p16_session_of_the_house,
    attacks_protocol.p18_message_without_its_envelope,
]
"""What the released hub stands as ours does; docs/security.md says why."""
KEPT_S = HANDSHAKE_TIMEOUT_S + 5

ROUNDS = 5
"""Some harm needs a moment that is not met each time."""


@pytest.fixture(scope="module")
def prey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The released hub as a process of its own."""
    with Children(tmp_path_factory.mktemp("prey")) as children:
        made = Target(children, "released-hub")
        yield made
        made.close()


@pytest.fixture(scope="module")
def with_parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Another, with a policy, a mailbox and binarized links."""
    with Children(tmp_path_factory.mktemp("with-parts")) as children:
        made = attacks_parts.equipped(children, "released-hub")
        yield made
        made.close()


@pytest.fixture(scope="module")
def silent(with_parts: Target) -> Iterator[tuple[ClientConnection, float]]:
    """Somebody who says nothing, and since when."""
    token = attacks_protocol.token_of(with_parts.key())
    with connect(f"ws://{HOST}:{with_parts.hub.port}/?authorization={token}", compression=None) as socket:
        yield socket, time.monotonic()


@pytest.mark.parametrize("attack", HARMFUL_TO_PARTS, ids=lambda attack: attack.__name__)
@pytest.mark.usefixtures("silent")
async def test_the_released_hub_is_harmed_through_its_parts_by(attack: Attack, with_parts: Target) -> None:
    assert await outcome(attack, with_parts) != ""


@pytest.mark.parametrize("attack", HARMFUL, ids=lambda attack: attack.__name__)
async def test_the_released_hub_is_harmed_by(attack: Attack, prey: Target) -> None:
    for _ in range(ROUNDS):
        if await outcome(attack, prey):
            return
    pytest.fail("it did no harm")


@pytest.mark.parametrize("attack", HARMLESS, ids=lambda attack: attack.__name__)
async def test_the_released_hub_stands_as_ours_does(attack: Attack, prey: Target) -> None:
    for _ in range(ROUNDS):
        if not await outcome(attack, prey):
            return
    pytest.fail("it did harm each time")


async def test_the_released_hub_is_harmed_by_w14_http_session_of_somebody_else(children: Children) -> None:
    over_http = Target(children, "released-hub-http", attacks_commands.HTTP_ALONE)
    assert await attacks_commands.w14_http_session_of_somebody_else(over_http) != ""
    over_http.close()


@pytest.mark.ovos
@pytest.mark.timeout(600)
async def test_the_released_bus_is_harmed_by_w34_bus_client_that_dies(children: Children) -> None:
    ovos = Ovos(children, STABLE)
    ovos.start_bus()
    for _ in range(10 * ROUNDS):  # somebody has to die while it passes something on
        if await attacks_parts.w34_bus_client_that_dies(f"ws://{HOST}:{ovos.port}/core"):
            return
    pytest.fail("it did no harm")


def test_the_released_hub_is_harmed_by_p07_handshake_without_end(silent: tuple[ClientConnection, float]) -> None:
    """Ours ends who has said nothing for the time that a handshake may take; this one still answers pings."""
    socket, since = silent
    time.sleep(max(0.0, since + KEPT_S - time.monotonic()))
    try:
        while True:
            socket.recv(0)
    except TimeoutError:
        assert socket.ping().wait(60)
    except ConnectionClosed:
        pytest.fail("it did no harm")
