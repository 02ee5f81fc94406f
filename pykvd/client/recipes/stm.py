"""Software transactional memory: reads and writes gathered, committed at once if nobody interfered.

Isolation is that of etcd's `SerializableSnapshot`: all reads see the store as it was at the first
one, and the commit fails if anything read or written has been changed since. Then the function runs
again, with what the failed commit has brought along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pykvd.client import arguments, methods
from pykvd.client.recipes.waiting import only
from pykvd.client.requests import put_request, range_request
from pykvd.client.txn import Draft, delete, get, mod_revision
from pykvd.client.values import KeyValue, RangeResult, TxnResult
from pykvd.pb import rpc_pb2 as rpc

if TYPE_CHECKING:
    from pykvd.client.arguments import Data, HasId
    from pykvd.client.engine import Engine, Plan

MAX_REVISION: Final = arguments.INT64_MAX


class Memory:
    """What one run of the function has read and written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reads: dict[bytes, RangeResult] = {}
        self._writes: dict[bytes, tuple[bytes | None, rpc.RequestOp]] = {}
        self._known: dict[bytes, RangeResult] = {}
        """What the failed commit before has read; as of one revision."""

    def reset(self) -> None:
        """Before another run."""
        self._reads, self._known = {}, self._reads
        self._writes = {}

    def get(self, key: Data) -> Plan[bytes | None]:
        """The value as this run sees it; None if there is no such key."""
        name = arguments.key("key", key)
        written = self._writes.get(name)
        if written is not None:
            return written[0]
        found = yield from self._read(name)
        return found.value if found else None

    def revision(self, key: Data) -> Plan[int]:
        """The revision that changed the stored key last; 0 if there is no such key."""
        found = yield from self._read(arguments.key("key", key))
        return found.mod_revision if found else 0

    def put(self, key: Data, value: Data, lease: HasId | int | None) -> None:
        """Write a key, at the commit."""
        request = put_request(key, value, lease=lease)
        self._writes[request.key] = request.value, rpc.RequestOp(request_put=request)

    def delete(self, key: Data) -> None:
        """Delete a key, at the commit."""
        self._writes[arguments.key("key", key)] = None, delete(key)

    def commit(self, timeout: float | None) -> Plan[TxnResult | None]:
        """Write everything; None, ready for another run, if somebody interfered."""
        keys = list(self._reads)
        draft = Draft()
        for key, read in self._reads.items():
            found = only(read)
            draft.when(mod_revision(key) == (found.mod_revision if found else 0))
        first = min((read.revision for read in self._reads.values()), default=MAX_REVISION - 1)
        draft.when(*(mod_revision(key) < first + 1 for key in self._writes))
        draft.then(*(operation for _, operation in self._writes.values()))
        draft.otherwise(*(get(key) for key in keys))
        answer = yield from self._engine.call(methods.TXN, draft.request, timeout)
        done = TxnResult.of(answer)
        if done.succeeded:
            return done
        for key, response in zip(keys, done.responses, strict=True):
            assert isinstance(response, RangeResult)
            self._reads[key] = RangeResult(done.revision, response.kvs, response.count, False)
        self.reset()
        return None

    def _read(self, key: bytes) -> Plan[KeyValue | None]:
        found = self._reads.get(key)
        if found is None:
            found = yield from self._fetch(key)
            self._reads[key] = found
        return only(found)

    def _fetch(self, key: bytes) -> Plan[RangeResult]:
        """As of the revision of the first read of this run."""
        if not self._reads and key in self._known:
            return self._known[key]
        at = next(iter(self._reads.values())).revision if self._reads else 0
        known = self._known.get(key)
        if known is not None and known.revision == at:
            return known
        request = range_request(key, revision=at)
        found = RangeResult.of((yield from self._engine.call(methods.RANGE, request)))
        return RangeResult(at or found.revision, found.kvs, found.count, False)
