"""The ledger of one hub: what is no excuse, and what is."""

from __future__ import annotations

import pytest

from soak.ledger import UTTERANCE, Sent
from soak_hub.ledger import AWAY_S, HubLedger

AT = 1000.0
ALICE, BOB, CAROL = 0, 1, 2


@pytest.fixture
def ledger() -> HubLedger:
    """All three are there for long."""
    found = HubLedger()
    for satellite in (ALICE, BOB, CAROL):
        found.up(satellite, 0, AT - 100)
    return found


def say(ledger: HubLedger, number: int = 1, kind: str = UTTERANCE) -> None:
    ledger.note(Sent(number, kind, AT, "satellite 0", 0, (), ALICE))


def fates(ledger: HubLedger) -> dict[str, int]:
    counted, lost = ledger.account()
    assert len(lost) == sum(count for (_, fate), count in counted.items() if fate == "LOST")
    return {fate: count for (_, fate), count in counted.items()}


def test_what_is_answered_and_what_is_not(ledger: HubLedger) -> None:
    say(ledger, 1)
    say(ledger, 2)
    ledger.came(1, ALICE, AT + 1)
    assert fates(ledger) == {"delivered": 1, "LOST": 1}
    assert not ledger.is_free(ALICE, UTTERANCE, AT + 1)
    ledger.denied(ALICE, UTTERANCE)
    assert fates(ledger) == {"delivered": 1, "reported": 1}
    assert ledger.is_free(ALICE, UTTERANCE, AT + 1)
    assert ledger.failures == []


def test_what_is_told_to_all_is_for_whoever_is_there(ledger: HubLedger) -> None:
    ledger.down(CAROL, AT - 10)
    say(ledger, kind="propagate")
    assert fates(ledger) == {"LOST": 1}
    ledger.came(1, BOB, AT)
    assert fates(ledger) == {"delivered": 1}


def test_what_came_wrongly_is_a_failure(ledger: HubLedger) -> None:
    say(ledger, 1)
    say(ledger, 2, "propagate")
    ledger.came(1, BOB, AT)
    ledger.came(2, ALICE, AT)
    ledger.came(2, BOB, AT)
    ledger.came(2, BOB, AT)
    ledger.came(3, BOB, AT)
    assert [
        part in text for part, text in zip(("not for", "not for", "twice", "never sent"), ledger.failures, strict=True)
    ]


def test_a_bus_that_is_lost_excuses_what_it_had(ledger: HubLedger) -> None:
    say(ledger, 1)
    say(ledger, 2, "propagate")
    ledger.came(2, BOB, AT)
    ledger.came(2, CAROL, AT)
    for lost, fate in ((AT - 1, "LOST"), (AT + AWAY_S + 1, "LOST"), (AT + 1, "bus lost")):
        ledger.bus_losses = [lost]
        assert fates(ledger)[fate] == 1


def test_who_leaves_or_just_came_is_excused_and_who_lost_its_connection_was_harmed(ledger: HubLedger) -> None:
    say(ledger, kind="propagate")
    ledger.down(BOB, AT + 1)
    ledger.down(CAROL, AT - 10)
    ledger.up(CAROL, 0, AT - 1)
    assert fates(ledger) == {"receiver left": 1, "receiver just came": 1}
    assert len(ledger.harm(AT + 100)) == 2
    assert len(ledger.harm(AT)) == 1
    ledger.pauses = [AT - 11]
    assert len(ledger.harm(AT + 100)) == 1
