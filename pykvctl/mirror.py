"""Copying one cluster's keys to another, and following its changes.

What the source did in one transaction is done in one transaction. All writes put or delete given
keys, in the order of the source, so any of them may be sent again when its outcome is unknown: the
mirror outlives failures of both clusters.

With a bookmark, a key of the destination, each transaction also writes down how far the mirror has
got, and happens only if nothing has been written down since: every change is made exactly once,
also by a mirror that is started again, and even if a request that was given up arrives late.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from pykvctl.client import Client
from pykvctl.errors import CommandError, RequestError
from pykvctl.gotext.quoting import quote
from pykvctl.paging import Pages
from pykvctl.ranges import key_range
from pykvctl.watcher import COMPACTED, WatchStream
from pykvd.methods import RANGE, TXN
from pykvd.pb import kv_pb2 as kvpb
from pykvd.pb import rpc_pb2 as rpc

# Bytes in one request of the initial copy; servers accept 1.5 MiB unless set otherwise.
BATCH_BYTES = 512 * 1024

_REPEATABLE_TXN = TXN.repeated()


@dataclass(frozen=True)
class Mark:
    """How far a mirror has got: the revision that is next, and how many of its changes are made."""

    revision: int = 0
    made: int = 0

    def encode(self) -> bytes:
        """The value of a bookmark."""
        return f"{self.revision} {self.made}".encode()


@dataclass
class Mirror:
    """A mirror of the keys with `prefix`, which is replaced by `new_prefix`.

    A transaction of the destination has `ops_max` operations at most. `bookmark` is a key of the
    destination, or empty. `written` counts keys. Methods raise RequestError, the compaction of what
    was not copied yet among others, and CommandError for a bookmark that is not this mirror's.
    """

    source: Client
    destination: Client
    prefix: bytes
    new_prefix: bytes
    ops_max: int
    bookmark: bytes = b""
    written: int = 0
    _mark: Mark = Mark()

    def __post_init__(self) -> None:
        if self.bookmark:
            # It is written by an operation of its own.
            self.ops_max = max(1, self.ops_max - 1)

    def run(self, revision: int) -> None:
        """Go on from the bookmark, else from `revision`; copy all keys first if both are 0."""
        if self.bookmark:
            self._read_bookmark()
        if self._mark.revision:
            revision = self._mark.revision
        self._follow(revision or self._copy())

    def _read_bookmark(self) -> None:
        found = self.destination.unary(RANGE, rpc.RangeRequest(key=self.bookmark), None).kvs
        try:
            self._mark = Mark(*map(int, found[0].value.split())) if found else Mark()
        except (TypeError, ValueError):
            raise CommandError(f"{quote(self.bookmark)} is no bookmark of make-mirror") from None

    def _copy(self) -> int:
        """Copy all keys as of one revision; returns the next one."""
        pages = Pages(self.source, key_range(self.prefix, prefix=True), None)
        for batch in self._batches(pages):
            self._write(batch, self._mark)
        self._write([], Mark(pages.revision + 1))
        return pages.revision + 1

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

    def _follow(self, revision: int) -> None:
        """Repeat all changes from `revision` on, without end."""
        key, range_end = key_range(self.prefix, prefix=True)
        request = rpc.WatchCreateRequest(
            key=key,
            range_end=range_end,
            start_revision=revision,
            progress_notify=bool(self.bookmark),
        )
        with WatchStream(self.source) as stream:
            for update in stream.watch(request):
                if update.response.canceled:
                    raise RequestError(
                        "OutOfRange" if update.reason == COMPACTED else "Canceled", update.reason
                    )
                self._repeat(update.response.events)
                if update.is_progress:
                    # While other keys change, what is compacted must not overtake the bookmark.
                    self._write([], Mark(update.response.header.revision + 1))

    def _repeat(self, events: Iterable[kvpb.Event]) -> None:
        for revision, group in groupby(events, key=lambda event: event.kv.mod_revision):
            ops = [self._op(event) for event in group]
            made = self._mark.made if self._mark.revision == revision else 0
            while made < len(ops):
                batch = ops[made : made + self.ops_max]
                made += len(batch)
                self._write(batch, Mark(revision, made) if made < len(ops) else Mark(revision + 1))

    def _write(self, ops: list[rpc.RequestOp], mark: Mark) -> None:
        """Do this in one transaction, after which the mirror has got to `mark`."""
        if self.bookmark:
            self._write_marked(ops, mark)
        elif ops:
            self.destination.unary(_REPEATABLE_TXN, rpc.TxnRequest(success=ops), None)
        self._mark = mark
        self.written += len(ops)

    def _write_marked(self, ops: list[rpc.RequestOp], mark: Mark) -> None:
        value = mark.encode()
        moved = rpc.RequestOp(request_put=rpc.PutRequest(key=self.bookmark, value=value))
        request = rpc.TxnRequest(
            compare=[self._unmoved()],
            success=[*ops, moved] if mark != self._mark else ops,
            failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=self.bookmark))],
        )
        answer = self.destination.unary(_REPEATABLE_TXN, request, None)
        # An attempt whose answer was lost has done it, if the bookmark is already there.
        if not answer.succeeded and [
            pair.value for pair in answer.responses[0].response_range.kvs
        ] != [value]:
            raise CommandError(f"the bookmark {quote(self.bookmark)} was moved by somebody else")

    def _unmoved(self) -> rpc.Compare:
        """That the bookmark stands where this mirror has put it."""
        if not self._mark.revision:
            return rpc.Compare(key=self.bookmark, target=rpc.Compare.VERSION, version=0)
        value = self._mark.encode()
        return rpc.Compare(key=self.bookmark, target=rpc.Compare.VALUE, value=value)

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
