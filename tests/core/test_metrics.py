"""Counters, histograms and the text that Prometheus reads."""

from __future__ import annotations

import math

import pytest

from hivemind_core.metrics import MAX_SERIES, OTHER, Counter, Histogram, gauge, render, total


def test_a_counter_counts_by_its_labels() -> None:
    counter = Counter("messages_total", "Messages", ("type", "verdict"))
    counter.count("bus", "accepted")
    counter.count("bus", "accepted", by=2)
    counter.count("bus", "denied")
    assert (counter.of("bus", "accepted"), counter.of("bus", "denied"), counter.of("x", "y")) == (3, 1, 0)
    assert render([counter.family()]) == (
        "# HELP messages_total Messages\n"
        "# TYPE messages_total counter\n"
        'messages_total{type="bus",verdict="accepted"} 3\n'
        'messages_total{type="bus",verdict="denied"} 1\n'
    )


def test_one_without_labels_begins_at_zero() -> None:
    counter = Counter("frames_total", "Frames")
    assert render([counter.family()]).endswith("\nframes_total 0\n")
    counter.count(by=5)
    assert render([counter.family()]).endswith("\nframes_total 5\n")


def test_what_others_name_does_not_make_endless_series() -> None:
    counter = Counter("denials_total", "Denials", ("code",))
    for number in range(3 * MAX_SERIES):
        counter.count(f"code-{number}")
    assert len(counter.family().samples) == MAX_SERIES + 1
    assert counter.of(OTHER) == 2 * MAX_SERIES
    counter.count("code-1")
    assert counter.of("code-1") == 2


@pytest.mark.parametrize(("value", "buckets"), [(0.0, [1, 1, 1]), (1.0, [1, 1, 1]), (1.1, [0, 1, 1]), (9.0, [0, 0, 1])])
def test_a_histogram_counts_each_value_in_every_bucket_that_holds_it(value: float, buckets: list[int]) -> None:
    histogram = Histogram("wait_seconds", "Wait", (1.0, 2.5))
    histogram.observe(value)
    samples = histogram.family().samples
    assert [sample.value for sample in samples] == [*buckets, value, 1]
    assert [sample.labels for sample in samples[:3]] == [(("le", each),) for each in ("1.0", "2.5", "+Inf")]
    assert [sample.suffix for sample in samples] == ["_bucket"] * 3 + ["_sum", "_count"]


def test_labels_and_help_are_escaped() -> None:
    text = render([gauge("up", "One\\two\nthree", {'a"b\\c\nd': 1}, "which")])
    assert text == '# HELP up One\\\\two\\nthree\n# TYPE up gauge\nup{which="a\\"b\\\\c\\nd"} 1\n'


@pytest.mark.parametrize(
    ("value", "spelt"),
    [
        (1, "1"),
        (0.25, "0.25"),
        (True, "1"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
        (1e300, "1e+300"),
    ],
)
def test_numbers_are_spelt_as_the_format_wants(value: float, spelt: str) -> None:
    assert render([total("n_total", "N", value)]).splitlines()[-1] == f"n_total {spelt}"
