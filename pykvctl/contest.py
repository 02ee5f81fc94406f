"""Locks and elections as clients make them: keys below a name, of which the oldest wins.

A contender's key is `<name>/<its lease in hexadecimal>`, the layout of etcd's own clients. Each
contender waits for the deletion of the key before its own. Calls wait for a server without a
deadline where none is given; whoever calls may be interrupted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pykvctl.client import Client
from pykvctl.errors import RequestError
from pykvctl.watcher import COMPACTED, Watch, WatchStream
from pykvd.methods import RANGE, TXN
from pykvd.pb import kv_pb2 as kvpb
from pykvd.pb import rpc_pb2 as rpc


@dataclass(frozen=True)
class Contender:
    """A key in the contest; `revision` is its create revision."""

    key: bytes
    revision: int
    holds: bool
    header: rpc.ResponseHeader


class Contest:
    """The contest for one name. All methods raise RequestError."""

    def __init__(self, client: Client, name: bytes) -> None:
        self._client = client
        self._prefix = name + b"/"
        self._end = name + b"0"  # "0" is the byte after "/".

    def enter(self, lease: int, value: bytes = b"") -> Contender:
        """Make the key of a new lease."""
        key = self._prefix + f"{lease:x}".encode()
        put = rpc.PutRequest(key=key, value=value, lease=lease)
        find = rpc.RequestOp(request_range=rpc.RangeRequest(key=key))
        oldest = rpc.RequestOp(request_range=self._oldest())
        answer = self._txn(
            rpc.TxnRequest(
                compare=[_created(key, 0)],
                success=[rpc.RequestOp(request_put=put), oldest],
                failure=[find, oldest],
            )
        )
        revision = answer.header.revision
        if not answer.succeeded:
            # The answer to a first attempt was lost.
            revision = answer.responses[0].response_range.kvs[0].create_revision
        [holder] = answer.responses[1].response_range.kvs
        return Contender(key, revision, holder.create_revision == revision, answer.header)

    def win(self, contender: Contender) -> rpc.RangeResponse | None:
        """Wait until the contender holds the name: its pair, or None if it is gone meanwhile."""
        if not contender.holds:
            while (ahead := self._next_ahead(contender.revision)) is not None:
                self._wait_deleted(*ahead)
        found = self._range(rpc.RangeRequest(key=contender.key))
        alive = [kv for kv in found.kvs if kv.create_revision == contender.revision]
        return found if alive else None

    def leave(self, contender: Contender, timeout_s: float) -> None:
        """Delete the key unless it is a later one."""
        delete = rpc.DeleteRangeRequest(key=contender.key)
        self._txn(
            rpc.TxnRequest(
                compare=[_created(contender.key, contender.revision)],
                success=[rpc.RequestOp(request_delete_range=delete)],
            ),
            timeout_s,
        )

    def holders(self) -> Iterator[rpc.RangeResponse]:
        """The holder's pair, each value that it writes, and whoever follows it."""
        while True:
            found = self._range(self._oldest())
            if found.kvs:
                yield found
                yield from self._values(found)
            else:
                self._wait_entry(found.header.revision)

    def _next_ahead(self, revision: int) -> tuple[bytes, int] | None:
        """The contender just before `revision`, and the revision at which it was seen."""
        request = self._oldest()
        request.sort_order = rpc.RangeRequest.DESCEND
        request.max_create_revision = revision - 1
        found = self._range(request)
        return (found.kvs[0].key, found.header.revision) if found.kvs else None

    def _wait_deleted(self, key: bytes, revision: int) -> None:
        only_deletes = [rpc.WatchCreateRequest.NOPUT]
        request = rpc.WatchCreateRequest(key=key, start_revision=revision + 1, filters=only_deletes)
        with WatchStream(self._client) as stream:
            next(_events(stream.watch(request)), None)

    def _wait_entry(self, revision: int) -> None:
        request = rpc.WatchCreateRequest(
            key=self._prefix,
            range_end=self._end,
            start_revision=revision + 1,
            filters=[rpc.WatchCreateRequest.NODELETE],
        )
        with WatchStream(self._client) as stream:
            next(_events(stream.watch(request)), None)

    def _values(self, found: rpc.RangeResponse) -> Iterator[rpc.RangeResponse]:
        """What the holder writes after `found`, until its key is deleted."""
        request = rpc.WatchCreateRequest(
            key=found.kvs[0].key, start_revision=found.header.revision + 1
        )
        with WatchStream(self._client) as stream:
            for header, event in _events(stream.watch(request)):
                if event.type == kvpb.Event.DELETE:
                    return
                header.revision = event.kv.mod_revision
                yield rpc.RangeResponse(header=header, kvs=[event.kv], count=found.count)

    def _oldest(self) -> rpc.RangeRequest:
        return rpc.RangeRequest(
            key=self._prefix,
            range_end=self._end,
            sort_order=rpc.RangeRequest.ASCEND,
            sort_target=rpc.RangeRequest.CREATE,
            limit=1,
        )

    def _range(self, request: rpc.RangeRequest) -> rpc.RangeResponse:
        return self._client.unary(RANGE, request, None)

    def _txn(self, request: rpc.TxnRequest, timeout_s: float | None = None) -> rpc.TxnResponse:
        return self._client.unary(TXN, request, timeout_s)


def _events(watch: Watch) -> Iterator[tuple[rpc.ResponseHeader, kvpb.Event]]:
    """All events of a watch until it ends; RequestError if that is not for a compaction."""
    for update in watch:
        if update.response.canceled and update.reason != COMPACTED:
            raise RequestError("Canceled", update.reason)
        for event in update.response.events:
            yield update.response.header, event


def _created(key: bytes, revision: int) -> rpc.Compare:
    return rpc.Compare(
        key=key,
        target=rpc.Compare.CREATE,
        result=rpc.Compare.EQUAL,
        create_revision=revision,
    )
