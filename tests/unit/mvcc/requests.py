"""Ranges with any options, and what a right answer is."""

from hypothesis import strategies as st

from pykvd.mvcc.index import FROM_KEY
from pykvd.mvcc.record import parse
from pykvd.mvcc.store import RangeResult
from pykvd.pb.rpc_pb2 import RangeRequest
from tests.unit.mvcc.model import TARGETS, Answer

KEYS = (b"\x00", b"a", b"a\x00", b"ab", b"b", b"\xff\xff")
ENDS = (b"", b"", b"\x00", b"b", b"a\x00", b"ac", b"\xff", b"a", b"\xff\xff")
keys = st.sampled_from(KEYS)
small = st.integers(-1, 30)


@st.composite
def requests(draw: st.DrawFn) -> RangeRequest:
    """A Range with any options; the revision comes from elsewhere."""
    request = RangeRequest(key=draw(keys), range_end=draw(st.sampled_from(ENDS)))
    if draw(st.booleans()):
        request.key, request.range_end = b"\x00", FROM_KEY
    request.limit = draw(st.sampled_from((0, 0, 1, 2, 3, 5, 100, -1)))
    if draw(st.booleans()):
        request.sort_order = draw(st.sampled_from(RangeRequest.SortOrder.values()))  # type: ignore[assignment]  # open enum
        request.sort_target = draw(st.sampled_from(RangeRequest.SortTarget.values()))  # type: ignore[assignment]  # open enum
    request.keys_only = draw(st.booleans())
    request.count_only = draw(st.sampled_from((False, False, False, True)))
    if draw(st.integers(0, 3)) == 0:
        request.min_mod_revision = draw(small)
        request.max_mod_revision = draw(small)
        request.min_create_revision = draw(small)
        request.max_create_revision = draw(small)
    return request


def check_range(request: RangeRequest, found: RangeResult, expected: Answer) -> None:
    """Compare; among equal sort targets any order is right."""
    assert (found.count, found.more) == (expected.count, expected.more)
    kvs = [parse(framed) for framed in found.kvs]
    assert len(kvs) == expected.length
    rest = list(expected.candidates)
    by = TARGETS[request.sort_target]
    for kv, same_rank in zip(kvs, expected.candidates, strict=False):
        original = next(row for row in rest if row.key == kv.key)
        rest.remove(original)
        assert by(original) == by(same_rank)
        if request.keys_only:
            assert not kv.value
            kv.value = original.value
        assert kv == original
