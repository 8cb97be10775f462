"""How many files may be open."""

from __future__ import annotations

import logging
import resource

import pytest

from hivemind_core.descriptors import FEW, allow_files


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1024, 1_048_576), (65_536, 1_048_576)),
        ((1024, resource.RLIM_INFINITY), (65_536, resource.RLIM_INFINITY)),
        ((1024, 4096), (4096, 4096)),
        ((100_000, 1_048_576), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_it_may(
    before: tuple[int, int], after: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: before)
    monkeypatch.setattr(resource, "setrlimit", lambda _, to: told.append(to))
    allow_files()
    assert told == ([] if after is None else [after])


@pytest.mark.parametrize(("hard", "warns"), [(FEW - 1, True), (FEW, False)])
def test_few_are_told(
    hard: int, warns: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (hard, hard))
    with caplog.at_level(logging.WARNING):
        allow_files()
    assert bool(caplog.records) == warns


def test_a_system_that_refuses_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS does, whose own bound is below the one it tells."""

    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    allow_files()
