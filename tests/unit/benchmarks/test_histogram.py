from math import ceil, isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.histogram import Histogram

DURATIONS = st.lists(st.integers(1, 10**12), min_size=1)


@given(DURATIONS, st.sampled_from([0.1, 50, 90, 99, 99.9, 100]))
def test_percentiles_are_within_one_percent(durations: list[int], percent: float) -> None:
    rank = max(1, ceil(len(durations) * percent / 100))
    exact = sorted(durations)[rank - 1]

    assert Histogram(durations).percentile(percent) == pytest.approx(exact, rel=0.01)


@given(DURATIONS, DURATIONS)
def test_merging_equals_counting_together(one: list[int], other: list[int]) -> None:
    merged = Histogram(one)
    merged.merge(Histogram(other))
    together = Histogram(one + other)

    assert merged.count == together.count == len(one) + len(other)
    assert merged.percentile(50) == together.percentile(50)


def test_recording_many_times_at_once() -> None:
    histogram = Histogram()
    histogram.record(1_000_000, 99)
    histogram.record(5_000_000)

    assert histogram.count == 100
    assert histogram.percentile(99) == pytest.approx(1_000_000, rel=0.01)
    assert histogram.percentile(99.1) == pytest.approx(5_000_000, rel=0.01)


def test_zero_and_nothing() -> None:
    assert Histogram([0]).percentile(50) == pytest.approx(1, rel=0.01)
    assert isnan(Histogram().percentile(50))
