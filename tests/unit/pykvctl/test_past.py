"""The pure parts of history, diff, tree, top, --at and of v2's ls."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykvctl.commands.diff import Difference, differences
from pykvctl.commands.top import TITLES, Reading, compare, fitting
from pykvctl.commands.tree import build
from pykvctl.commands.v2 import names_below
from pykvctl.errors import BadArgumentsError
from pykvctl.gotext.durations import SECOND
from pykvctl.metrics import parse_metrics
from pykvctl.timeline import parse_time
from pykvd.pb import kv_pb2 as kvpb
from pykvd.pb import rpc_pb2 as rpc

KEYS = st.binary(min_size=1, max_size=4).map(lambda key: key.translate(None, b"\0") or b"k")
PATHS = st.lists(st.text("ab/", min_size=1, max_size=6).map(str.encode), unique=True)
STORES = st.dictionaries(KEYS, st.integers(1, 3), max_size=8)


def pairs(store: dict[bytes, int]) -> Iterator[kvpb.KeyValue]:
    """Pairs in key order, from keys and their mod revisions."""
    return (kvpb.KeyValue(key=key, mod_revision=store[key]) for key in sorted(store))


@given(STORES, STORES)
def test_differences_turn_one_store_into_the_other(
    old: dict[bytes, int], new: dict[bytes, int]
) -> None:
    store = dict(old)
    for each in differences(pairs(old), pairs(new)):
        if each.after is None:
            assert each.before is not None
            del store[each.before.key]
        else:
            assert (each.before is None) == (each.after.key not in old)
            assert store.get(each.after.key) != each.after.mod_revision
            store[each.after.key] = each.after.mod_revision
    assert store == new


def test_signs() -> None:
    pair = kvpb.KeyValue(key=b"k")
    found = [Difference(None, pair), Difference(pair, None), Difference(pair, pair)]
    assert [each.sign for each in found] == ["+", "-", "~"]


@given(PATHS)
def test_a_tree_counts_every_key_once(keys: list[bytes]) -> None:
    root = build(b"", (kvpb.KeyValue(key=key, value=b"v") for key in sorted(keys)))
    assert root.keys == len(keys)
    assert root.size == sum(len(key) + 1 for key in keys)
    for node in root.walk(-1):
        below = [key for key in keys if key.startswith(node.path)]
        if node.children:
            deeper = sum(child.keys for child in node.children.values())
            assert deeper + (node.path in keys) == node.keys == len(below)
            assert node is root or node.path.endswith(b"/")


@given(PATHS)
def test_ls_shows_every_first_name_once(keys: list[bytes]) -> None:
    names = list(names_below(iter(sorted(keys)), b"", deep=False, mark=False))
    assert len(set(names)) == len(names)
    for key in keys:
        assert any(key.startswith(name) for name in names)
    deep = list(names_below(iter(sorted(keys)), b"", deep=True, mark=False))
    assert {key for key in keys if not key.endswith(b"/")} <= set(deep)


NOW = 1_767_225_600 * SECOND  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("10m", 600 * SECOND),
        ("1.5s", 3 * SECOND // 2),
        ("2d", 2 * 86_400 * SECOND),
        ("1d12h", 36 * 3600 * SECOND),
        ("0s", 0),
        ("2025-12-31T23:00Z", 3600 * SECOND),
        ("2025-12-31T23:59:59.25+00:00", 3 * SECOND // 4),
        ("2026-01-01T01:00:00+01:00", 0),
    ],
)
def test_times(text: str, ago: int) -> None:
    assert parse_time(text, NOW) == NOW - ago


@pytest.mark.parametrize("text", ["", "10", "yesterday", "1d2", "d", "2026-13-01", "2026-01-01T25"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(BadArgumentsError, match="bad time"):
        parse_time(text, NOW)


def test_metrics_are_summed_over_their_labels() -> None:
    text = (
        "# HELP calls Calls.\n# TYPE calls counter\n"
        'calls{method="Put",note="} 9"} 3\ncalls{method="Range"} 4.5\nup 1 1700000000\nodd x\n'
    )
    assert parse_metrics(text) == {"calls": 7.5, "up": 1.0}


def reading(name: str, at: float, applied: int, requests: float | None) -> Reading:
    """A look at a member whose log and store are as told."""
    status = rpc.StatusResponse(raftIndex=applied, raftAppliedIndex=applied)
    return Reading(name, at, status, requests, "")


def test_lag_and_rates() -> None:
    before = [reading("a", 1.0, 5, 100.0), reading("b", 1.0, 5, None)]
    now = [
        reading("a", 3.0, 9, 151.0),
        reading("b", 3.0, 6, None),
        Reading("c", 3.0, None, None, "down"),
    ]
    rows = compare(before, now)
    assert [(row.lag, row.requests_per_s, row.note) for row in rows] == [
        (0, 25.0, ""),
        (3, None, ""),
        (None, None, "down"),
    ]
    # A member that has started anew counts from nothing.
    assert compare(now, [reading("a", 4.0, 9, 3.0)])[0].requests_per_s == 0.0


@pytest.mark.parametrize(
    ("width", "note", "left_out"),
    [
        (120, "-", set()),
        (100, "-", {"note"}),
        (80, "-", {"note", "term", "in use", "index"}),
        (88, "learner", {"term", "in use"}),
        (40, "learner", {"term", "in use", "index", "id", "db size", "requests/s", "lag"}),
        (40, "-", {"note", "term", "in use", "index", "id", "db size", "requests/s"}),
    ],
)
def test_a_narrow_terminal_gets_fewer_columns(width: int, note: str, left_out: set[str]) -> None:
    cells = ["http://10.0.0.1:2379", "5b87eb416de7fc4f", "false", "2", "8035"]
    cells += ["0", "412", "74 MB", "37 MB", note]
    shown = [TITLES[at] for at in fitting([cells], width)]
    assert shown == [title for title in TITLES if title not in left_out]
