"""When applied changes go to the store's file, and what follows from it for the log."""

import asyncio
from collections import deque
from collections.abc import Callable

from pykvd.mvcc.backend import Backend
from pykvd.node.storage import APPLIED, APPLIED_KEY


class Committer:
    """Commits the backend's pending batch every `interval` seconds or `limit` records.

    The applied index travels in the same transaction. `advanced(index, term)` is called after a
    commit that lies `snapshot_count` entries behind the last such call: the store is the snapshot,
    and the log before it is not needed for recovery any more.
    """

    def __init__(
        self,
        backend: Backend,
        applied: tuple[int, int],
        *,
        interval: float,
        limit: int,
        snapshot_count: int,
        advanced: Callable[[int, int], None],
    ) -> None:
        self._backend = backend
        self._interval = interval
        self._limit = limit
        self._snapshot_count = snapshot_count
        self._advanced = advanced
        self.index, self._term = applied
        self._marked = self._stored = self.index
        self._timer: asyncio.TimerHandle | None = None
        self._wanted = False
        self._waiters: deque[tuple[int, Callable[[], None]]] = deque()

    def applied(self, index: int, term: int) -> None:
        """Everything up to this entry is in memory; commit when it is time."""
        self.index, self._term = index, term
        if self._backend.pending_records >= self._limit:
            self._commit()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._interval, self._commit)

    def _commit(self) -> None:
        self.stop()
        if not self._backend.idle:
            self._wanted = True
            return
        self._wanted = False
        index, term = self.index, self._term
        self._backend.set("meta", APPLIED_KEY, APPLIED.pack(index, term))
        self._backend.commit(lambda: self._committed(index, term))

    @property
    def settled_index(self) -> int:
        """The index that the store's file is at; 0 while that is changing."""
        return self._stored if self._backend.idle else 0

    def _committed(self, index: int, term: int) -> None:
        self._stored = index
        if index - self._marked >= self._snapshot_count:
            self._marked = index
            self._advanced(index, term)
        while self._waiters and self._waiters[0][0] <= index:
            self._waiters.popleft()[1]()
        if self._wanted or self._waiters:
            self._commit()

    def installed(self, index: int, term: int) -> None:
        """The store was replaced by another member's, which is at this entry."""
        self.stop()
        self.index, self._term, self._marked, self._stored = index, term, index, index
        if self._wanted or self._waiters:
            self._commit()

    async def flush(self) -> None:
        """Wait until everything applied so far is in the store's file."""
        future = asyncio.get_running_loop().create_future()

        def committed() -> None:
            if not future.done():
                future.set_result(None)

        self._waiters.append((self.index, committed))
        self._commit()
        await future

    def stop(self) -> None:
        """Forget the next commit; what is not in the store is in the log."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
