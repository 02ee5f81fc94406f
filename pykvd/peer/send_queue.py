"""Raft messages that wait for one peer. Pure, bounded, and lossy where Raft allows it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from pykvd.raft import MessageKind

if TYPE_CHECKING:
    from pykvd.raft import Message

HEAD_BYTES: Final = 70
"""About what a message costs beside its data."""
ENTRY_BYTES: Final = 21
"""About what an entry costs beside its data."""

REPEATED: Final = frozenset({MessageKind.APPEND, MessageKind.COMMIT, MessageKind.HEARTBEAT})
"""What a leader sends again by itself; only these are lost while others remain to be dropped."""
_COMMITTING: Final = frozenset({MessageKind.APPEND, MessageKind.COMMIT})


def message_bytes(message: Message) -> int:
    """The size of a message, near enough for accounts."""
    size = HEAD_BYTES + len(message.context)
    for entry in message.entries:
        size += ENTRY_BYTES + len(entry.data)
    return size


def _supersedes(message: Message, last: Message) -> bool:
    """Whether all that the message before it has to say is said by this one too."""
    return (
        last.kind is MessageKind.COMMIT
        and message.kind in _COMMITTING
        and message.term == last.term
        and message.commit >= last.commit
    )


class SendQueue:
    """First in, first out; when full, the oldest repeated message gives way, then the oldest.

    Invariants: `size` is the sum over the queue, and above `max_bytes` only for a single message.
    """

    def __init__(self, max_bytes: int, max_messages: int) -> None:
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._queue: deque[tuple[Message, int]] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._queue)

    def push(self, message: Message) -> int:
        """Add a message; returns how many others were dropped for it."""
        if self._queue and _supersedes(message, self._queue[-1][0]):
            self.size -= self._queue.pop()[1]
        size = message_bytes(message)
        dropped = 0
        while self._queue and (
            self.size + size > self._max_bytes or len(self._queue) >= self._max_messages
        ):
            self._drop_one()
            dropped += 1
        self._queue.append((message, size))
        self.size += size
        return dropped

    def _drop_one(self) -> None:
        queue = self._queue
        position = 0
        for index, (message, _) in enumerate(queue):
            if message.kind in REPEATED:
                position = index
                break
        self.size -= queue[position][1]
        del queue[position]

    def take(self, max_bytes: int) -> list[Message]:
        """The oldest messages, up to about `max_bytes` and at least one if there is any."""
        taken: list[Message] = []
        total = 0
        queue = self._queue
        while queue and (not taken or total + queue[0][1] <= max_bytes):
            message, size = queue.popleft()
            taken.append(message)
            total += size
        self.size -= total
        return taken

    def clear(self) -> int:
        """Drop everything; returns how many messages that were."""
        count = len(self._queue)
        self._queue.clear()
        self.size = 0
        return count
