"""The text format, as a Prometheus parser reads it."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pykvd.histogram import DISK_BOUNDS, Histogram, exponential
from pykvd.lease.lessor import TTL_BOUNDS
from pykvd.metrics.exposition import counters, gauge, histogram, histograms, labels, render


@given(st.lists(st.floats(0, 20, allow_nan=False), max_size=50))
def test_a_histogram_comes_back_with_its_observations(values: list[float]) -> None:
    observed = Histogram(DISK_BOUNDS)
    for value in values:
        observed.observe(value)
    (family,) = text_string_to_metric_families(render([histogram("h", "Help.", observed)]).decode())
    assert (family.name, family.type, family.documentation) == ("h", "histogram", "Help.")
    found = {(each.name, each.labels.get("le")): each.value for each in family.samples}
    for bound in DISK_BOUNDS:
        assert found["h_bucket", f"{bound:g}"] == sum(value <= bound for value in values)
    assert found["h_bucket", "+Inf"] == found["h_count", None] == len(values)
    assert abs(found["h_sum", None] - sum(values)) < 1e-6


def test_many_alike_count_like_one_by_one() -> None:
    together, single = Histogram((1, 2, 4)), Histogram((1, 2, 4))
    together.observe_many(6.0, 3)
    for _ in range(3):
        single.observe(2.0)
    assert (together.counts, together.sum) == (single.counts, single.sum) == ([0, 3, 0, 0], 6.0)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_label_values_are_escaped(value: str) -> None:
    text = render([counters("c_total", "Help.", [(labels(name=value), 3)])]).decode()
    # The parser takes \r, which the format allows within a line, for an end of one.
    if not set(value) & set("\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"):
        (family,) = text_string_to_metric_families(text)
        assert [(each.labels, each.value) for each in family.samples] == [({"name": value}, 3.0)]


def test_bounds_are_written_as_go_writes_them() -> None:
    text = render([histogram("h", "Help.", Histogram(TTL_BOUNDS))]).decode()
    for bound in ("1", "524288", "1.048576e+06", "8.388608e+06"):
        assert f'h_bucket{{le="{bound}"}} 0\n' in text
    fine = render([histogram("h", "Help.", Histogram(exponential(0.0001, 2, 20)))]).decode()
    for bound in ("0.0001", "0.0128", "3.2768", "52.4288"):
        assert f'h_bucket{{le="{bound}"}} 0\n' in fine


def test_families_are_sorted_and_labels_kept_beside_le() -> None:
    observed = Histogram((1,))
    text = render(
        [
            histograms("z", "Last.", [(labels(To="a"), observed)]),
            gauge("a", "First.", 1),
        ]
    ).decode()
    assert text == (
        "# HELP a First.\n# TYPE a gauge\na 1\n"
        '# HELP z Last.\n# TYPE z histogram\nz_bucket{To="a",le="1"} 0\n'
        'z_bucket{To="a",le="+Inf"} 0\nz_sum{To="a"} 0.0\nz_count{To="a"} 0\n'
    )
