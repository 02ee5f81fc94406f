"""Software transactional memory: reads and writes gathered, committed if nobody interfered.

The levels of isolation are those of etcd's Go client. At all but `read_committed` what is committed
is serializable; they differ in what a run sees that is not committed, and in whether writes
conflict too. A run whose commit is refused is repeated with what the refusal has brought along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from pykvd.client import arguments
from pykvd.client.recipes.waiting import only
from pykvd.client.requests import put_request
from pykvd.client.txn import Draft, commit, delete, get, mod_revision
from pykvd.client.values import KeyValue, RangeResult, TxnResult
from pykvd.pb import rpc_pb2 as rpc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pykvd.client.arguments import Data, HasId
    from pykvd.client.engine import Engine
    from pykvd.client.steps import Plan

Isolation = Literal["serializable_snapshot", "serializable", "repeatable_reads", "read_committed"]
"""How much of others a run may see.

- `serializable_snapshot`: all reads are of the revision of the first one. The commit fails if a key
  that was read has changed since, or one that is written was changed after that revision.
- `serializable`: the same without the check of what is only written: there the last one wins.
- `repeatable_reads`: each key is read when it is asked for, so a run may see keys of different
  revisions; it is not committed then. Reads are answered by any member from what it knows.
- `read_committed`: the same, and nothing is checked: updates of others may be lost.

Within a run a key that was read stays the same at every level.
"""
MAX_REVISION: Final = arguments.INT64_MAX


class Read(NamedTuple):
    """A key as a run has read it."""

    revision: int
    """Of the store, at which it was like that."""
    found: KeyValue | None

    @property
    def changed(self) -> int:
        """The revision that changed it last; 0 if there is no such key."""
        return self.found.mod_revision if self.found else 0


class Memory:
    """What one run of the function has read and written."""

    def __init__(
        self,
        engine: Engine,
        isolation: Isolation,
        prefetch: Iterable[Data],
        timeout: float | None,
    ) -> None:
        """Raises TypeError or ValueError that names the argument."""
        arguments.choice("isolation", isolation, get_args(Isolation))
        self._engine = engine
        self._snapshot = isolation in {"serializable_snapshot", "serializable"}
        self._checks_reads = isolation != "read_committed"
        self._checks_writes = isolation == "serializable_snapshot"
        self._prefetch = arguments.keys("prefetch", prefetch)
        self._timeout = timeout
        self._reads: dict[bytes, Read] = {}
        self._writes: dict[bytes, tuple[bytes | None, rpc.RequestOp]] = {}
        self._known: dict[bytes, Read] = {}
        """What the run before has read, as the refusal of its commit told it: of one revision."""

    def begin(self) -> Plan[None]:
        """Before each run: read what is wanted first, in one request."""
        if self._known:
            self._reads.update((key, self._known[key]) for key in self._prefetch)
        elif self._prefetch:
            yield from self._fetch(self._prefetch)

    def get(self, key: Data) -> Plan[bytes | None]:
        """The value as this run sees it; None if there is no such key."""
        name = arguments.key("key", key)
        written = self._writes.get(name)
        if written is not None:
            return written[0]
        found = (yield from self._read(name)).found
        return found.value if found else None

    def revision(self, key: Data) -> Plan[int]:
        """The revision that changed the stored key last; 0 if there is no such key."""
        return (yield from self._read(arguments.key("key", key))).changed

    def put(self, key: Data, value: Data, lease: HasId | int | None) -> None:
        """Write a key, at the commit."""
        request = put_request(key, value, lease=lease)
        self._writes[request.key] = request.value, rpc.RequestOp(request_put=request)

    def delete(self, key: Data) -> None:
        """Delete a key, at the commit."""
        self._writes[arguments.key("key", key)] = None, delete(key)

    def commit(self) -> Plan[bool]:
        """Write everything; False, ready for another run, if somebody interfered."""
        draft = Draft().then(*(operation for _, operation in self._writes.values()))
        if self._checks_reads:
            draft.when(*(mod_revision(key) == read.changed for key, read in self._reads.items()))
            draft.otherwise(*(get(key) for key in self._reads))
        if self._checks_writes:
            first = min((read.revision for read in self._reads.values()), default=MAX_REVISION - 1)
            draft.when(*(mod_revision(key) < first + 1 for key in self._writes))
        done = yield from self._send(draft)
        if not done.succeeded:
            self._known = dict(zip(self._reads, _reads(done), strict=True))
            self._reads, self._writes = {}, {}
        return done.succeeded

    def _read(self, key: bytes) -> Plan[Read]:
        if key not in self._reads:
            known = self._known.get(key)
            at = next(iter(self._reads.values())).revision if self._reads and self._snapshot else 0
            if known is not None and at in {0, known.revision}:
                self._reads[key] = known
            else:
                yield from self._fetch([key], at)
        return self._reads[key]

    def _fetch(self, keys: list[bytes], at: int = 0) -> Plan[None]:
        """Read keys as of a revision; 0 for now.

        A snapshot is not read from what just any member knows: it may not have that revision yet.
        """
        reads = (get(key, revision=at, serializable=not self._snapshot) for key in keys)
        done = yield from self._send(Draft().then(*reads))
        self._reads.update(zip(keys, _reads(done, at), strict=True))

    def _send(self, draft: Draft) -> Plan[TxnResult]:
        return commit(self._engine, draft.request, self._timeout)


def _reads(done: TxnResult, at: int = 0) -> Iterator[Read]:
    """The answers of a transaction that has only read; `at` as it was asked for."""
    for response in done.responses:
        assert isinstance(response, RangeResult)
        yield Read(at or done.revision, only(response))
