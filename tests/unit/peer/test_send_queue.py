"""The queue of one peer: order, bounds, and what is lost first."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pykvd.peer.send_queue import REPEATED, SendQueue, message_bytes
from pykvd.raft import Entry, EntryKind, Message, MessageKind


def make(kind: MessageKind, number: int, size: int = 0) -> Message:
    entries = (Entry(1, 1, EntryKind.NORMAL, bytes(size)),) if size else ()
    return Message(kind, 2, 1, index=number, entries=entries)


def test_the_oldest_repeated_message_gives_way() -> None:
    queue = SendQueue(max_bytes=1 << 20, max_messages=3)
    vote = make(MessageKind.VOTE, 1)
    first, second, third = (make(MessageKind.APPEND, number) for number in (2, 3, 4))
    assert [queue.push(message) for message in (vote, first, second, third)] == [0, 0, 0, 1]
    assert queue.take(1 << 20) == [vote, second, third]


def test_without_repeated_messages_the_oldest_gives_way() -> None:
    queue = SendQueue(max_bytes=1 << 20, max_messages=2)
    votes = [make(MessageKind.VOTE, number) for number in range(3)]
    for vote in votes:
        queue.push(vote)
    assert queue.take(1 << 20) == votes[1:]


def test_one_message_above_the_limit_is_kept_alone() -> None:
    queue = SendQueue(max_bytes=1000, max_messages=10)
    assert queue.push(make(MessageKind.HEARTBEAT, 1)) == 0
    large = make(MessageKind.APPEND, 2, 5000)
    assert queue.push(large) == 1
    assert queue.take(10) == [large]
    assert not queue


def test_take_cuts_at_the_batch_size() -> None:
    queue = SendQueue(max_bytes=1 << 20, max_messages=10)
    messages = [make(MessageKind.APPEND, number, 400) for number in range(5)]
    for message in messages:
        queue.push(message)
    assert queue.take(1000) == messages[:2]
    assert queue.take(1) == messages[2:3]
    assert queue.clear() == 2
    assert queue.size == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(MessageKind), st.integers(0, 300)) | st.integers(1, 500)  # a take
    )
)
def test_bounds_and_order_hold(steps: list[tuple[MessageKind, int] | int]) -> None:
    queue = SendQueue(max_bytes=800, max_messages=5)
    pushed, taken, dropped, superseded, pending = 0, [], 0, 0, []
    last = None
    for step in steps:
        if isinstance(step, int):
            taken += queue.take(step)
        else:
            pushed += 1
            commits = step[0] in {MessageKind.APPEND, MessageKind.COMMIT}
            superseded += bool(queue) and last is MessageKind.COMMIT and commits
            dropped += queue.push(make(step[0], pushed, step[1]))
            last = step[0]
        assert len(queue) <= 5
        assert queue.size <= 800 or len(queue) == 1
    while queue:
        pending += queue.take(1)
    assert queue.size == 0
    order = [message.index for message in taken + pending]
    assert order == sorted(set(order))
    assert len(order) + dropped + superseded == pushed
    if not any(not isinstance(step, int) and step[0] in REPEATED for step in steps) and not dropped:
        assert order == list(range(1, pushed + 1))


def test_a_commit_index_is_said_once() -> None:
    """Only by what follows at once, in the same term, and says no less."""
    commit = make(MessageKind.COMMIT, 1, 0)
    later = {
        make(MessageKind.APPEND, 2, 10): True,
        make(MessageKind.COMMIT, 2, 0): True,
        make(MessageKind.HEARTBEAT, 2, 0): False,
        replace(make(MessageKind.APPEND, 2, 0), term=9): False,
    }
    for message, enough in later.items():
        queue = SendQueue(max_bytes=1000, max_messages=10)
        queue.push(replace(commit, commit=7))
        assert queue.push(replace(message, commit=7)) == 0
        assert len(queue) == (1 if enough else 2)
        queue.push(replace(message, commit=6))
        assert queue.take(1000)[-1].commit == 6
        assert queue.size == 0


def test_sizes_are_near_the_truth() -> None:
    from pykvd.raft import encode_message

    message = make(MessageKind.APPEND, 1, 1000)
    assert abs(message_bytes(message) - len(encode_message(message))) < 8
