"""Copying one cluster's keys to another, and following its changes.

What the source did in one transaction is done in one transaction. All writes put or delete given
keys, in the order of the source, so any of them may be sent again when its outcome is unknown: the
mirror outlives failures of both clusters.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from pykvctl.client import Client
from pykvctl.errors import RequestError
from pykvctl.methods import RANGE, TXN
from pykvctl.ranges import ZERO, prefix_end
from pykvctl.watcher import COMPACTED, WatchStream
from pykvd.pb import kv_pb2 as kvpb
from pykvd.pb import rpc_pb2 as rpc

# Pairs of the source that are read at once.
PAGE = 1000
# Bytes in one request of the initial copy; servers accept 1.5 MiB unless set otherwise.
BATCH_BYTES = 512 * 1024

_REPEATABLE_TXN = replace(TXN, repeatable=True)


@dataclass
class Mirror:
    """A mirror of the keys with `prefix`, which is replaced by `new_prefix`.

    A transaction of the destination has `ops_max` operations at most. `written` counts keys.
    Methods raise RequestError, the compaction of what was not copied yet among others.
    """

    source: Client
    destination: Client
    prefix: bytes
    new_prefix: bytes
    ops_max: int
    written: int = 0

    def copy(self) -> int:
        """Copy all keys as of one revision, which is returned."""
        revision = 0
        key: bytes | None = self.prefix or ZERO
        while key is not None:
            request = rpc.RangeRequest(
                key=key, range_end=prefix_end(self.prefix), revision=revision, limit=PAGE
            )
            found = self.source.unary(RANGE, request, None)
            revision = revision or found.header.revision
            for batch in self._batches(found.kvs):
                self._write(batch)
            key = found.kvs[-1].key + b"\0" if found.more else None
        return revision

    def _batches(self, pairs: Iterable[kvpb.KeyValue]) -> Iterator[list[rpc.RequestOp]]:
        """Writes of the pairs, as many at once as a request may hold."""
        batch: list[rpc.RequestOp] = []
        size = 0
        for op in map(self._put, pairs):
            if batch and (len(batch) == self.ops_max or size + op.ByteSize() > BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(op)
            size += op.ByteSize()
        if batch:
            yield batch

    def follow(self, revision: int) -> None:
        """Repeat all changes from `revision` on, without end."""
        request = rpc.WatchCreateRequest(
            key=self.prefix or ZERO, range_end=prefix_end(self.prefix), start_revision=revision
        )
        with WatchStream(self.source) as stream:
            for update in stream.watch(request):
                if update.response.canceled:
                    raise RequestError(
                        "OutOfRange" if update.reason == COMPACTED else "Canceled", update.reason
                    )
                self._repeat(update.response.events)

    def _repeat(self, events: Iterable[kvpb.Event]) -> None:
        for _, group in groupby(events, key=lambda event: event.kv.mod_revision):
            ops = [self._op(event) for event in group]
            for start in range(0, len(ops), self.ops_max):
                self._write(ops[start : start + self.ops_max])

    def _write(self, ops: list[rpc.RequestOp]) -> None:
        self.destination.unary(_REPEATABLE_TXN, rpc.TxnRequest(success=ops), None)
        self.written += len(ops)

    def _op(self, event: kvpb.Event) -> rpc.RequestOp:
        if event.type == kvpb.Event.PUT:
            return self._put(event.kv)
        delete = rpc.DeleteRangeRequest(key=self._new_key(event.kv.key))
        return rpc.RequestOp(request_delete_range=delete)

    def _put(self, pair: kvpb.KeyValue) -> rpc.RequestOp:
        put = rpc.PutRequest(key=self._new_key(pair.key), value=pair.value)
        return rpc.RequestOp(request_put=put)

    def _new_key(self, key: bytes) -> bytes:
        return self.new_prefix + key[len(self.prefix) :]
