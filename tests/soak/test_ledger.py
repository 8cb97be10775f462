"""The ledger itself: what is no excuse, and what is."""

from __future__ import annotations

from typing import Any

import pytest

from soak.ledger import ASSISTANT, CUT, KILL, PAUSE, REDIS, Fault, Ledger, Report, Sent

AT = 1000.0
ALICE, BOB, CAROL = 0, 1, 2
WRONGS = ("twice", "after", "not for", "never sent")


@pytest.fixture
def ledger() -> Ledger:
    """Alice is at hub 0, Bob and Carol are at hub 1, all for long."""
    found = Ledger()
    for satellite, hub in ((ALICE, 0), (BOB, 1), (CAROL, 1)):
        found.up(satellite, hub, AT - 100)
    found.bus_up(0, AT - 100)
    return found


def speak(ledger: Ledger, number: int = 1, at: float = AT, **more: Any) -> None:
    ledger.note(Sent(number, "speak", at, "assistant 0", 0, (BOB,), **more))


def propagate(ledger: Ledger, number: int = 1, at: float = AT) -> None:
    ledger.note(Sent(number, "propagate", at, "satellite 0", 0, (), ALICE))


def fates(ledger: Ledger) -> dict[str, int]:
    counted, lost = ledger.account()
    found: dict[str, int] = {}
    for (_, fate), count in counted.items():
        found[fate] = found.get(fate, 0) + count
    assert len(lost) == found.get("LOST", 0)
    return found


def test_what_came_is_delivered_and_what_did_not_is_lost(ledger: Ledger) -> None:
    speak(ledger, 1)
    speak(ledger, 2)
    ledger.came(1, BOB, AT + 1)
    assert fates(ledger) == {"delivered": 1, "LOST": 1}
    assert ledger.failures == []


def test_what_came_twice_or_to_another_or_too_early_is_a_failure(ledger: Ledger) -> None:
    speak(ledger, 1)
    speak(ledger, 2)
    ledger.came(2, BOB, AT)
    ledger.came(2, BOB, AT + 1)
    ledger.came(1, BOB, AT + 2)
    ledger.came(1, CAROL, AT + 2)
    ledger.came(7, CAROL, AT + 2)
    assert [text.partition(" at hub ")[0] for text in ledger.failures[:1]] == ["speak 2 of assistant 0"]
    assert [part in text for part, text in zip(WRONGS, ledger.failures, strict=True)] == [True] * 4


def test_a_message_to_all_is_for_whoever_is_there_but_its_sender(ledger: Ledger) -> None:
    ledger.down(CAROL, AT - 10)
    propagate(ledger)
    ledger.came(1, BOB, AT)
    assert fates(ledger) == {"delivered": 1}
    ledger.came(1, ALICE, AT)
    assert "not for" in ledger.failures[0]


def test_a_denial_and_an_error_are_reports(ledger: Ledger) -> None:
    propagate(ledger, 1)
    speak(ledger, 2)
    ledger.denied(ALICE, "propagate")
    ledger.told(2)
    assert fates(ledger) == {"reported": 3}
    ledger.denied(ALICE, "broadcast")
    ledger.told(99)


def test_a_line_in_a_log_stands_for_one_message_to_one_hub(ledger: Ledger) -> None:
    ledger.reports = [Report(AT + 30, 0, 1, "mesh")]
    propagate(ledger, 1)
    assert fates(ledger) == {"logged": 2}
    propagate(ledger, 2, AT + 1)
    assert fates(ledger) == {"logged": 2, "LOST": 2}


@pytest.mark.parametrize(
    "report", [Report(AT + 30, 2, 1, "mesh"), Report(AT + 30, 0, 2, "mesh"), Report(AT + 99, 0, 1, "mesh")]
)
def test_a_line_of_another_hub_or_of_another_time_is_no_report(ledger: Ledger, report: Report) -> None:
    ledger.reports = [report]
    propagate(ledger)
    ledger.came(1, CAROL, AT)
    assert fates(ledger) == {"LOST": 1, "delivered": 1}


def test_who_left_soon_after_is_excused_and_who_left_later_is_not(ledger: Ledger) -> None:
    speak(ledger, 1, AT)
    speak(ledger, 2, AT - 20)
    ledger.down(BOB, AT + 1)
    assert fates(ledger) == {"receiver left": 1, "LOST": 1}


def test_who_just_came_is_excused(ledger: Ledger) -> None:
    ledger.down(BOB, AT - 5)
    ledger.up(BOB, 1, AT - 1)
    speak(ledger, 1, AT)
    speak(ledger, 2, AT - 3)
    assert fates(ledger) == {"receiver just came": 1, "receiver away": 1}


def test_what_goes_to_all_hubs_reaches_who_just_came(ledger: Ledger) -> None:
    ledger.down(BOB, AT - 5)
    ledger.up(BOB, 1, AT - 1)
    propagate(ledger)
    ledger.came(1, CAROL, AT)
    assert fates(ledger) == {"LOST": 1, "delivered": 1}


@pytest.mark.parametrize("kind", [CUT, PAUSE, REDIS])
def test_a_fault_by_itself_excuses_nothing(ledger: Ledger, kind: str) -> None:
    ledger.faults = [Fault(kind, frozenset() if kind == REDIS else frozenset({1}), AT - 1, AT + 3)]
    speak(ledger)
    assert fates(ledger) == {"LOST": 1}


def test_a_hub_that_was_cut_off_for_long_is_not_known_to_the_others(ledger: Ledger) -> None:
    ledger.faults = [Fault(CUT, frozenset({1}), AT - 5, AT + 1)]
    speak(ledger)
    assert fates(ledger) == {"its hub was struck off": 1}


def test_what_a_killed_hub_had_is_gone(ledger: Ledger) -> None:
    ledger.faults = [Fault(KILL, frozenset({0}), AT + 1, AT + 3)]
    speak(ledger)
    ledger.note(Sent(2, "speak", AT - 20, "assistant 0", 0, (BOB,)))
    assert fates(ledger) == {"its hub was killed": 1, "LOST": 1}


def test_an_utterance_is_for_the_assistant(ledger: Ledger) -> None:
    for number in (1, 2):
        ledger.note(Sent(number, "utterance", AT, "satellite 0", 0, (), ALICE))
    ledger.came(1, ASSISTANT, AT)
    assert fates(ledger) == {"delivered": 1, "LOST": 1}
    ledger.down(ALICE, AT + 1)
    assert fates(ledger) == {"delivered": 1, "sender left": 1}


def test_what_an_assistant_said_on_a_bus_that_broke_is_gone(ledger: Ledger) -> None:
    for number, at in ((1, AT - 20), (2, AT - 10), (3, AT - 5), (4, AT)):
        speak(ledger, number, at)
    ledger.came(2, BOB, AT)
    ledger.bus_up(0, AT + 1)
    assert fates(ledger) == {"LOST": 1, "delivered": 1, "assistant's bus broke": 2}


def test_a_hub_that_was_started_while_another_was_cut_off_does_not_know_of_it(ledger: Ledger) -> None:
    cut = Fault(CUT, frozenset({1}), AT - 2, AT + 5)
    ledger.faults = [Fault(KILL, frozenset({0}), AT - 9, AT - 5), cut]
    speak(ledger)
    assert fates(ledger) == {"LOST": 1}
    ledger.faults = [Fault(KILL, frozenset({0}), AT - 5, AT - 1), cut]
    assert fates(ledger) == {"its hub had just started": 1}
