"""The running checksum: the same however its records were cut into commits, compacted, reopened."""

from hypothesis import given
from hypothesis import strategies as st

from pykvd.mvcc.digest import REMEMBERED, STEP, Digest
from pykvd.mvcc.record import MAIN_SHIFT
from tests.unit.mvcc.disk import Disk


def stream(count: int, start: int = 2) -> tuple[list[int], list[bytes]]:
    """One record a revision."""
    revisions = range(start, start + count)
    return [each << MAIN_SHIFT for each in revisions], [b"%d" % each for each in revisions]


@given(st.lists(st.integers(1, 3 * STEP), min_size=1, max_size=4))
def test_cuts_do_not_matter(sizes: list[int]) -> None:
    ids, records = stream(sum(sizes))
    whole, pieces = Digest(), Digest()
    whole.extend(ids, records)
    start = 0
    for size in sizes:
        pieces.extend(ids[start : start + size], records[start : start + size])
        pieces = pieces if size % 2 else _reopened(pieces)
        start += size
    assert pieces.newest == whole.newest
    known = [mark for mark in whole.marks if pieces.at(mark.revision) is not None]
    assert known
    assert all(pieces.at(mark.revision) == mark.crc for mark in known)


def _reopened(digest: Digest) -> Digest:
    again = Digest.decode(digest.encode())
    assert (again.origin, again.newest) == (digest.origin, digest.newest)
    return again


@given(st.integers(0, 2 * STEP - 1))
def test_one_changed_record_shows_from_then_on(position: int) -> None:
    ids, records = stream(2 * STEP)
    right, wrong = Digest(), Digest()
    right.extend(ids, records)
    wrong.extend(ids, [*records[:position], b"?", *records[position + 1 :]])
    for mark in right.marks:
        assert (wrong.at(mark.revision) == mark.crc) is (
            mark.revision < ids[position] >> MAIN_SHIFT
        )


def test_only_so_many_are_remembered() -> None:
    digest = Digest()
    for block in range(REMEMBERED + 3):
        ids, records = stream(STEP, 2 + block * STEP)
        digest.extend(ids, records)
    assert digest.at(STEP - 1) is None
    assert digest.at((REMEMBERED + 2) * STEP + STEP - 1) is not None
    assert len(digest._marks) == REMEMBERED


def test_what_a_compaction_removes_before_it_is_committed_counts_too() -> None:
    eager, lazy = Disk(), Disk()
    try:
        for disk in (eager, lazy):
            for number in range(4):
                disk.store.begin()
                disk.store.put(b"k", b"%d" % number, 0)
                disk.store.end()
                if disk is eager:
                    disk.commit()
            disk.store.compact(5)
            assert list(disk.store.sweep(100)) == []
            disk.commit()
        assert eager.backend.digest.newest == lazy.backend.digest.newest
        assert [*lazy.backend.scan(0, 1 << 95)] == [*eager.backend.scan(0, 1 << 95)]
        assert len([*lazy.backend.scan(0, 1 << 95)]) == 1
        newest = lazy.backend.digest.newest
        lazy.close()
        lazy.open()
        assert lazy.backend.digest.newest == newest
    finally:
        eager.remove()
        lazy.remove()
