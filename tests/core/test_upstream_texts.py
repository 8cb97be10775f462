"""How the operator of a hub is told what stands between it and the one above."""

from __future__ import annotations

import pytest

from hivemind_bus_client.refusals import REFUSALS
from hivemind_core.upstream_texts import CURES, kicked_for, told

PLACES = {"server": "parent:5678", "identity": "/etc/_identity.json"}


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_no_cure_is_one_for_satellites(code: str) -> None:
    text = told(REFUSALS[code], "", **PLACES)
    assert text.startswith(REFUSALS[code].sentence)
    assert "hivemind-client" not in text
    assert "{" not in text


def test_every_cure_is_for_a_row_of_the_table() -> None:
    assert CURES.keys() <= REFUSALS.keys()


def test_a_changed_key_is_found_by_its_places() -> None:
    assert "take `parent:5678` out of `pinned_noise_keys` in /etc/_identity.json" in told(
        REFUSALS["key_mismatch"], "", **PLACES
    )


def test_what_was_heard_is_shown_on_one_line() -> None:
    text = told(REFUSALS["unreachable"], "refused\nERROR: all is lost", **PLACES)
    assert "address (refused?ERROR: all is lost). Check" in text


@pytest.mark.parametrize(
    ("detail", "verb"),
    [
        ("ESCALATE is not allowed for this client", "escalate"),
        ("PROPAGATE is not allowed for this client", "propagate"),
        ("is not allowed for this client", ""),
        ("invalid message", ""),
    ],
)
def test_a_kick_names_what_it_was_for(detail: str, verb: str) -> None:
    assert kicked_for(detail) == verb
