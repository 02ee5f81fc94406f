"""The Prometheus text format, version 0.0.4: families of samples to bytes.

`prometheus_client` can write it too, but gives every counter the suffix `_total`, which some of
etcd's names lack, and takes ten times as long, on the loop.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pykvd.histogram import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: A label set, rendered: `{name="value"}`, or nothing.
Labels = str
NO_LABELS: Labels = ""


class Family(NamedTuple):
    """One metric with all its samples, each a name's suffix with labels, and the value."""

    name: str
    kind: str
    help: str
    samples: Sequence[tuple[str, float]]


def labels(**values: str) -> Labels:
    """A label set in the order given; values are escaped."""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in values.items()) + "}"


def counter(name: str, text: str, value: float) -> Family:
    """What only grows."""
    return Family(name, "counter", text, [(NO_LABELS, value)])


def gauge(name: str, text: str, value: float) -> Family:
    """What goes up and down."""
    return Family(name, "gauge", text, [(NO_LABELS, value)])


def counters(name: str, text: str, samples: Iterable[tuple[Labels, float]]) -> Family:
    """A counter with labels."""
    return Family(name, "counter", text, list(samples))


def gauges(name: str, text: str, samples: Iterable[tuple[Labels, float]]) -> Family:
    """A gauge with labels."""
    return Family(name, "gauge", text, list(samples))


def histogram(name: str, text: str, value: Histogram) -> Family:
    """A histogram without labels."""
    return histograms(name, text, [(NO_LABELS, value)])


def histograms(name: str, text: str, values: Iterable[tuple[Labels, Histogram]]) -> Family:
    """A histogram with labels."""
    return Family(
        name, "histogram", text, [sample for each in values for sample in _buckets(*each)]
    )


def _buckets(label_set: Labels, value: Histogram) -> list[tuple[str, float]]:
    """The cumulative counts, the sum and the count of one histogram."""
    start = label_set[:-1] + "," if label_set else "{"
    out: list[tuple[str, float]] = []
    running = 0
    # The last count may be newer than the sum: the observer may be another thread.
    for bound, count in zip([*map(_bound, value.bounds), "+Inf"], value.counts, strict=True):
        running += count
        out.append((f'_bucket{start}le="{bound}"}}', running))
    out += [(f"_sum{label_set}", value.sum), (f"_count{label_set}", running)]
    return out


def _bound(value: float) -> str:
    """A bucket's upper bound as Go prints it, for the text is part of the series' identity."""
    if value >= 1e6:
        return f"{value:e}"
    # Powers of two times a decimal: twelve digits hide what binary fractions leave behind.
    return f"{value:.12g}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def render(families: Iterable[Family]) -> bytes:
    """The text of all families, sorted by name."""
    lines: list[str] = []
    for name, kind, text, samples in sorted(families):
        lines.append(f"# HELP {name} {text}\n# TYPE {name} {kind}\n")
        lines += [f"{name}{suffix} {value}\n" for suffix, value in samples]
    return "".join(lines).encode()
