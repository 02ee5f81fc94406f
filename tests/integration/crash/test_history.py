"""The checker itself: each kind of wrong history is found."""

from __future__ import annotations

import pytest

from pykvd.pb import kv_pb2
from tests.integration.crash.history import History, HistoryError, Write, by_revision


def put(
    revision: int, key: bytes, value: bytes, version: int = 1, created: int = 0, lease: int = 0
) -> kv_pb2.Event:
    """A put event; created at its own revision unless told."""
    kv = kv_pb2.KeyValue(
        key=key,
        value=value,
        mod_revision=revision,
        create_revision=created or revision,
        version=version,
        lease=lease,
    )
    return kv_pb2.Event(type=kv_pb2.Event.PUT, kv=kv)


def delete(revision: int, key: bytes) -> kv_pb2.Event:
    """A delete event."""
    return kv_pb2.Event(
        type=kv_pb2.Event.DELETE, kv=kv_pb2.KeyValue(key=key, mod_revision=revision)
    )


def acknowledged(revision: int, write: Write) -> Write:
    """The write, with its answer."""
    write.acknowledge(revision)
    return write


def check(events: list[kv_pb2.Event], writes: list[Write], last: int) -> History:
    """Take the events into an empty history."""
    history = History()
    history.extend(by_revision(events), writes, last)
    return history


def test_a_history_that_the_writes_explain_is_taken() -> None:
    events = [
        put(2, b"a", b"1"),
        put(3, b"a", b"2", version=2, created=2),
        put(3, b"b", b"2"),
        delete(4, b"a"),
        put(5, b"l", b"3", lease=9),
    ]
    writes = [
        acknowledged(2, Write({b"a": b"1"})),
        Write({b"a": b"2", b"b": b"2"}),
        acknowledged(4, Write(deletes=frozenset({b"a"}))),
        acknowledged(5, Write({b"l": b"3"}, lease=9)),
        Write({b"z": b"never answered, never applied"}),
    ]
    history = check(events, writes, 5)
    assert sorted(history.keys) == [b"b", b"l"]
    assert history.revision == 5


@pytest.mark.parametrize(
    ("events", "writes", "last", "complaint"),
    [
        ([], [acknowledged(2, Write({b"a": b"1"}))], 1, "is lost"),
        ([put(3, b"a", b"1")], [Write({b"a": b"1"})], 3, "revision 2 of 3 holds no events"),
        ([put(2, b"a", b"1")], [Write({b"a": b"1"})], 1, "but the current revision is 1"),
        ([put(2, b"a", b"x")], [Write({b"a": b"1"})], 2, "nobody wrote revision 2"),
        ([put(2, b"a", b"1")], [acknowledged(3, Write({b"a": b"1"}))], 2, "in the history at 2"),
        (
            [put(2, b"a", b"1"), put(3, b"a", b"1", version=2, created=2)],
            [Write({b"a": b"1"})],
            3,
            "applied at 2 and at 3",
        ),
        ([put(2, b"a", b"1")], [Write({b"a": b"1", b"b": b"1"})], 2, "only a part"),
        (
            [put(2, b"a", b"1"), put(3, b"b", b"2")],
            [Write({b"a": b"1"}), Write({b"b": b"2"}, frozenset({b"a"}))],
            3,
            "only a part",
        ),
        ([put(2, b"a", b"1")], [Write({b"a": b"1"}, lease=4)], 2, "lost its lease"),
        ([put(2, b"a", b"1", version=2)], [Write({b"a": b"1"})], 2, "creation and version"),
        (
            [put(2, b"a", b"1"), put(3, b"a", b"2", version=2)],
            [Write({b"a": b"1"}), Write({b"a": b"2"})],
            3,
            "creation and version",
        ),
        ([put(2, b"a", b"1")], [Write({b"a": b"1"}, refused=True)], 2, "nobody wrote"),
    ],
)
def test_a_wrong_history_is_found(
    events: list[kv_pb2.Event], writes: list[Write], last: int, complaint: str
) -> None:
    with pytest.raises(HistoryError, match=complaint):
        check(events, writes, last)


def test_revisions_that_go_back_are_found() -> None:
    with pytest.raises(HistoryError, match="revision 2 came after 3"):
        by_revision([put(3, b"a", b"1"), put(2, b"b", b"2")])
