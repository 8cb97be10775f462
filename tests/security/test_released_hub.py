"""The same attacks on the released hub: each does its harm there, so that it proves something here.

What the table of docs/security.md says of the released hub is what these find.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers import attacks_commands, attacks_outside
from helpers.attacks_outside import Attack, outcome
from helpers.processes import Children
from helpers.target import Target

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


ROUNDS = 5
"""Some harm needs a moment that is not met each time."""


@pytest.fixture(scope="module")
def prey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The released hub as a process of its own."""
    with Children(tmp_path_factory.mktemp("prey")) as children:
        made = Target(children, "released-hub")
        yield made
        made.close()


@pytest.mark.parametrize("attack", HARMFUL, ids=lambda attack: attack.__name__)
async def test_the_released_hub_is_harmed_by(attack: Attack, prey: Target) -> None:
    for _ in range(ROUNDS):
        if await outcome(attack, prey):
            return
    pytest.fail("it did no harm")


async def test_the_released_hub_is_harmed_by_w14_http_session_of_somebody_else(children: Children) -> None:
    over_http = Target(children, "released-hub-http", attacks_commands.HTTP_ALONE)
    assert await attacks_commands.w14_http_session_of_somebody_else(over_http) != ""
    over_http.close()
