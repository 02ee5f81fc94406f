"""Drives the Raft core: its entries to the log, its messages to the network, its commits to apply.

The order of steps is the one that `pykvd.raft.Ready` asks for. Writes overlap: a Ready is handed
to the log's thread while older ones are still being synced, and a leader's appends are on their
way to the followers before its own disk has them (thesis 10.2.1).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from pykvd import wal as records
from pykvd.raft import (
    Entry,
    Message,
    MessageKind,
    RawNode,
    ReadState,
    Ready,
    Snapshot,
    SoftState,
)

#: A member that is far behind applies for so long at a time, seconds; between two slices it
#: answers heartbeats, pings and clients.
SLICE = 0.02


#: An entry of a caller or a few; a larger one comes from many, who gain by gathering meanwhile.
SMALL_BYTES = 1024


class LogWriter(Protocol):
    """What the driver needs of `WalWriter`."""

    def submit(self, records: Sequence[records.Record], done: Callable[[], None]) -> None:
        """Make the records durable in order, then call `done`, on any thread."""

    def commit_now(self, records: Sequence[records.Record]) -> bool:
        """Make the records durable before returning; False where that is not advisable now."""

    def release(self, index: int) -> None:
        """Delete what lies before the last snapshot mark at or below `index`."""

    def stop(self) -> None:
        """Finish what was submitted and close."""


class Owner(Protocol):
    """The node, which is told what Raft has decided. All calls are on the loop."""

    def role_changed(self, state: SoftState) -> None:
        """A new role of this member, or a new idea of who leads."""

    def term_changed(self, term: int) -> None:
        """A new term has begun."""

    def apply(self, entries: Sequence[Entry]) -> None:
        """Apply committed entries, in order."""

    def reads_confirmed(self, states: Sequence[ReadState]) -> None:
        """Reads that may run once their index is applied."""

    def turn_done(self) -> None:
        """Everything that Raft had ready was handed over."""

    def send(self, messages: Sequence[Message], *, at_once: bool = False) -> None:
        """Send messages without files; `at_once` rather than at the end of the turn."""

    def send_snapshot(self, message: Message) -> None:
        """Send the present state with this message."""

    async def install(self, snapshot: Snapshot) -> None:
        """Replace the state by the received one."""

    def failed(self, error: BaseException) -> None:
        """The member cannot go on."""


class _Unconfirmed(NamedTuple):
    """A Ready that Raft has not been told the durability of."""

    number: int
    synced: bool
    messages: Sequence[Message]


class RaftDriver:
    """One member's Raft core with its log."""

    def __init__(self, raft: RawNode, log: LogWriter, owner: Owner) -> None:
        self.raft = raft
        self._log = log
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._term = raft.status().term
        self._unsaved: list[records.Record] = []
        self._unconfirmed: deque[_Unconfirmed] = deque()
        self._installing: asyncio.Task[None] | None = None
        self._continuing = False
        self._stopped = False

    @property
    def installing(self) -> bool:
        """Whether a snapshot is being installed."""
        return self._installing is not None

    async def settled(self) -> None:
        """Wait until no snapshot is being installed."""
        while self._installing:
            await asyncio.wait([self._installing])

    def process(self) -> None:
        """Hand over everything that Raft has ready; what takes longer than a slice, soon after."""
        end = self._loop.time() + SLICE
        while self._installing is None and not self._stopped and self.raft.has_ready():
            if self._loop.time() > end:
                self._continue_soon()
                break
            self._take(self.raft.ready())
        self._owner.turn_done()

    def _continue_soon(self) -> None:
        if not self._continuing:
            self._continuing = True
            self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        self._continuing = False
        if not self._stopped:
            self.process()

    def _take(self, ready: Ready) -> None:
        if ready.messages:
            self._send(ready.messages)
        if ready.hard_state and ready.hard_state.term != self._term:
            self._term = ready.hard_state.term
            self._owner.term_changed(self._term)
        if ready.soft_state:
            self._owner.role_changed(ready.soft_state)
        if ready.snapshot is None:
            self._save(ready)
        else:
            self._installing = self._loop.create_task(self._install(ready))
        if ready.committed_entries:
            self._owner.apply(ready.committed_entries)
        if ready.read_states:
            self._owner.reads_confirmed(ready.read_states)

    def _send(self, messages: Sequence[Message]) -> None:
        plain = [message for message in messages if message.kind is not MessageKind.SNAPSHOT]
        if plain:
            self._owner.send(plain)
        for message in messages:
            if message.kind is MessageKind.SNAPSHOT:
                self._owner.send_snapshot(message)

    # Durability

    async def _install(self, ready: Ready) -> None:
        """Install the state first: a log that continues a missing one would be worse."""
        assert ready.snapshot
        try:
            await self._owner.install(ready.snapshot)
        except Exception as error:  # noqa: BLE001  # whatever failed, there is no state to go on from
            self._installing = None
            self._owner.failed(error)
            return
        self._unsaved.append(records.Snapshot(ready.snapshot.index, ready.snapshot.term))
        self._installing = None
        self._save(ready)
        self.process()

    def _save(self, ready: Ready) -> None:
        self._unconfirmed.append(
            _Unconfirmed(ready.number, ready.must_sync, ready.persisted_messages)
        )
        entries = [
            records.Entry(entry.term, entry.index, entry.kind, entry.data)
            for entry in ready.entries
        ]
        self._unsaved += entries
        if ready.hard_state:
            state = ready.hard_state
            self._unsaved.append(records.HardState(state.term, state.vote, state.commit))
        if not ready.must_sync:
            # A commit index may be lost: it is written with the next entries.
            self._confirm(0)
            return
        batch, self._unsaved = self._unsaved, []
        number = ready.number
        if self._may_wait(ready) and self._log.commit_now(batch):
            self._confirm(number, at_once=True)
            return

        def durable() -> None:
            self._loop.call_soon_threadsafe(self._persisted, number)

        self._log.submit(batch, durable)

    def _may_wait(self, ready: Ready) -> bool:
        """Whether the loop may wait for the disk itself: a small write that nothing goes before.

        Not with messages to send, which should be on their way meanwhile.
        """
        if ready.messages or len(self._unconfirmed) > 1:
            return False
        return sum(len(entry.data) for entry in ready.entries) <= SMALL_BYTES

    def _persisted(self, number: int) -> None:
        if self._stopped:
            return
        self._confirm(number)
        self.process()

    def _confirm(self, durable: int, *, at_once: bool = False) -> None:
        """Tell Raft what is durable: Readys up to `durable`, and those behind without a sync.

        One that needs no sync still has to wait for those before it that do.
        """
        confirmed: list[_Unconfirmed] = []
        while self._unconfirmed:
            oldest = self._unconfirmed[0]
            if oldest.synced and oldest.number > durable:
                break
            confirmed.append(self._unconfirmed.popleft())
        if not confirmed:
            return
        self.raft.persisted(confirmed[-1].number)
        promises = [message for each in confirmed for message in each.messages]
        if promises:
            self._owner.send(promises, at_once=at_once)

    def release(self, index: int, term: int, keep: int) -> None:
        """Let go of the log up to `index`, which the store has; Raft keeps `keep` entries more.

        Those serve followers that are a little behind; others are sent a snapshot.
        """
        self._log.submit([records.Snapshot(index, term)], lambda: None)
        self._log.release(index)
        first = self.raft.status().first_index
        if index - keep >= first:
            self.raft.compact(index - keep)

    def stop(self) -> None:
        """Take nothing more from Raft."""
        self._stopped = True
        if self._installing:
            self._installing.cancel()
