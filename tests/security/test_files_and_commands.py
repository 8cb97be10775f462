"""What happens around a hub: its files, its commands, its neighbours (`helpers.attacks_commands`)."""

from __future__ import annotations

import pytest

from helpers import attacks_commands as attacks
from helpers.attacks_outside import Attack, outcome
from helpers.processes import Children
from helpers.target import Target

TRIED = [
    attacks.w06_hub_above_is_gone,
    attacks.w09_broken_configuration,
    attacks.w10_client_added_in_a_gap,
    attacks.w15_readable_secrets,
    attacks.w19_end_without_a_word,
    attacks.w20_port_in_use,
    attacks.w26_hub_below_is_deaf,
    attacks.w28_bus_restarted,
    attacks.w32_commands_that_fail_in_silence,
    attacks.w36_weak_password_allowed,
]


@pytest.mark.parametrize("attack", TRIED, ids=lambda attack: attack.__name__)
async def test_nothing_comes_of(attack: Attack, target: Target) -> None:
    assert await outcome(attack, target) == ""


async def test_nothing_comes_of_w14_http_session_of_somebody_else(children: Children) -> None:
    over_http = Target(children, config=attacks.HTTP_ALONE)
    assert await attacks.w14_http_session_of_somebody_else(over_http) == ""
    over_http.close()
