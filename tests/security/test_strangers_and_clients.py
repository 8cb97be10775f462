"""What strangers, clients and neighbours try over sockets (`helpers.attacks_outside`): our hub stands."""

from __future__ import annotations

import pytest

from helpers import attacks_outside as attacks
from helpers.attacks_outside import outcome
from helpers.target import Target

TRIED = [
    attacks.w01_unauthenticated_registration,
    attacks.w02_foreign_intercom_pin,
    attacks.w03_deleted_client_stays,
    attacks.w04_deleted_client_comes_back,
    attacks.w05_bomb_before_the_session,
    attacks.w07_stalled_bus,
    attacks.w08_database_fault,
    attacks.w11_lock_anybody_can_hold,
    attacks.w12_what_travels_tells_on_its_sender,
    attacks.w13_slow_reader,
    attacks.w16_events_before_the_session,
    attacks.w17_sealed_for_somebody_else,
    attacks.w18_denial_tells_the_list,
    attacks.w21_connections_without_end,
    attacks.w23_locked_database,
    attacks.w24_unknown_keys,
    attacks.w25_questions_that_nobody_answers,
    attacks.w27_ping_storm,
    attacks.w30_answer_after_a_reconnect,
    attacks.w37_question_id_used_again,
]


@pytest.mark.parametrize("attack", TRIED, ids=lambda attack: attack.__name__)
async def test_nothing_comes_of(attack: attacks.Attack, target: Target) -> None:
    assert await outcome(attack, target) == ""
