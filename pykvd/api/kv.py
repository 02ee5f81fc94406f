"""The KV service."""

from collections.abc import Iterable
from time import perf_counter

from pykvd.api.access import Access, Asking, Caller
from pykvd.api.decode import decode
from pykvd.api.tasks import CallTasks
from pykvd.api.turns import Assembly, Turns, may_go_on
from pykvd.errors import Code, Failure, RpcError
from pykvd.mvcc.ranges import STEP
from pykvd.mvcc.record import varint
from pykvd.mvcc.store import RangeResult, is_plain
from pykvd.node.commands import Command
from pykvd.node.node import Node
from pykvd.node.quota import Quota
from pykvd.node.txn import check_revision, encode_range, encode_totals, read_in_steps
from pykvd.node.validate import (
    check_put,
    check_range,
    check_txn,
    is_read_only,
    is_serializable,
    puts_of,
)
from pykvd.pb import rpc_pb2 as rpc
from pykvd.transport import AsyncStream, Call, StreamHandler, UnaryHandler, async_stream

#: etcd's bookkeeping cost of a key-value pair against the quota, in bytes.
PUT_OVERHEAD = 256
#: Key-value pairs of a RangeStream's first message.
STREAM_FIRST_CHUNK = 10


class KVService:
    """Range, Put, DeleteRange, Txn, Compact, RangeStream."""

    def __init__(self, node: Node, quota: Quota, access: Access, *, max_txn_ops: int) -> None:
        self._node = node
        self._auth = node.auth
        self._permissions = node.applier.permissions
        self._quota = quota
        self._access = access
        self._store = node.store
        self._header = node.header
        self._max_txn_ops = max_txn_ops
        self._tasks = CallTasks()
        self._turns = Turns()

    def unary(self) -> dict[str, UnaryHandler]:
        """The service's unary methods by path."""
        return {
            "/etcdserverpb.KV/Range": self.range,
            "/etcdserverpb.KV/Put": self.put,
            "/etcdserverpb.KV/DeleteRange": self.delete_range,
            "/etcdserverpb.KV/Txn": self.txn,
            "/etcdserverpb.KV/Compact": self.compact,
        }

    def streams(self) -> dict[str, StreamHandler]:
        """The service's streaming methods by path."""
        return {"/etcdserverpb.KV/RangeStream": async_stream(self.range_stream)}

    def range(self, call: Call, payload: bytes) -> bytes | None:
        """Answer a Range from the store."""
        request = decode(rpc.RangeRequest, payload)
        check_range(request)
        local = request.serializable or self._node.can_read
        if request.range_end and self._is_long(request):
            self._tasks.run(call, self._read_in_turns(call, request, local=local))
            return None
        if not local:
            self._node.read_later(call, lambda: self._read(call, request))
            return None
        return self._read(call, request)

    def _read(self, call: Call, request: rpc.RangeRequest) -> bytes:
        if self._auth.enabled:
            self._permit_range(call, request)
        started = perf_counter()
        response = encode_range(self._header(self._store.revision), self._range(request))
        self._node.meter.ranged(request, perf_counter() - started, len(response))
        return response

    def _permit_range(self, call: Asking, request: rpc.RangeRequest) -> Caller:
        return self._access.permit(call, "range", self._permissions.check_range, request)

    def _is_long(self, request: rpc.RangeRequest) -> bool:
        if 0 < request.revision < self._store.revision:
            return bool(request.range_end)
        if request.count_only or (0 < request.limit <= STEP and is_plain(request)):
            return False
        return self._store.index.count(request.key, request.range_end) > STEP

    async def _read_in_turns(self, call: Call, request: rpc.RangeRequest, *, local: bool) -> None:
        """Answer a long Range at one revision without holding up the loop."""
        if not local:
            await self._node.read_barrier()
        caller = self._permit_range(call, request)
        started = perf_counter()
        revision = self._pin(request)
        answer = Assembly()
        answer.add([self._header(self._store.revision)])
        steps = self._store.steps(request, revision)
        totals = await self._turns.run(
            steps, answer.add, lambda: may_go_on(self._access, call, caller)
        )
        answer.add([encode_totals(*totals)])
        response = answer.finish()
        self._node.meter.ranged(request, perf_counter() - started, len(response))
        call.reply(response)

    def _pin(self, request: rpc.RangeRequest) -> int:
        """The revision that a Range is answered at."""
        # Below 0 is the newest too, other than in transactions.
        if request.revision <= 0:
            return self._store.revision
        check_revision(self._store, request.revision)
        return request.revision

    def _range(self, request: rpc.RangeRequest) -> RangeResult:
        if request.revision > 0:
            check_revision(self._store, request.revision)
        return self._store.range(request, request.revision)

    def put(self, call: Call, payload: bytes) -> None:
        """Propose a Put."""
        request = decode(rpc.PutRequest, payload)
        cost = PUT_OVERHEAD + len(request.key) + len(request.value)
        self._quota.check(cost)
        check_put(request)
        caller = self._access.permit(call, "put") if self._auth.enabled else None
        self._node.check_size(payload, caller)
        self._node.propose(Command.PUT, payload, request, call, caller=caller)

    def delete_range(self, call: Call, payload: bytes) -> None:
        """Propose a DeleteRange."""
        request = decode(rpc.DeleteRangeRequest, payload)
        if not request.key:
            raise Failure.EMPTY_KEY.error()
        caller = self._access.permit(call, "delete_range")
        self._node.check_size(payload, caller)
        self._node.propose(Command.DELETE_RANGE, payload, request, call, caller=caller)

    def txn(self, call: Call, payload: bytes) -> bytes | None:
        """Run a transaction that only reads here; propose any other."""
        request = decode(rpc.TxnRequest, payload)
        self._quota.check(max(_put_cost(request.success), _put_cost(request.failure)))
        check_txn(request, self._max_txn_ops)
        if is_read_only(request):
            local = is_serializable(request) or self._node.can_read
            if any(map(self._is_long, _ranges_of(request))):
                self._tasks.run(call, self._read_txn_in_turns(call, request, local=local))
                return None
            if local:
                return self._read_txn(call, request)
            self._node.read_later(call, lambda: self._read_txn(call, request))
            return None
        caller = self._access.permit(call, "txn")
        self._node.check_size(payload, caller)
        self._node.propose(Command.TXN, payload, request, call, caller=caller)
        return None

    def _read_txn(self, call: Call, request: rpc.TxnRequest) -> bytes:
        self._access.permit(call, "txn", self._permissions.check_txn, request)
        started = perf_counter()
        response = self._node.applier.read_txn(request)
        self._node.meter.transaction_read(request, perf_counter() - started, len(response))
        return response

    async def _read_txn_in_turns(self, call: Call, request: rpc.TxnRequest, *, local: bool) -> None:
        """Run a transaction with long Ranges; all its answers are of one revision."""
        if not local:
            await self._node.read_barrier()
        caller = self._access.permit(call, "txn", self._permissions.check_txn, request)
        started = perf_counter()
        answer = Assembly()
        answer.add([self._header(self._store.revision)])
        steps = read_in_steps(self._store, request)
        await self._turns.run(steps, answer.add, lambda: may_go_on(self._access, call, caller))
        response = answer.finish()
        self._node.meter.transaction_read(request, perf_counter() - started, len(response))
        call.reply(response)

    def compact(self, call: Call, payload: bytes) -> None:
        """Propose a compaction; a physical one is answered when the records are gone."""
        request = decode(rpc.CompactionRequest, payload)
        caller = self._access.require_admin(call, "compact")
        self._node.check_size(payload, caller)
        responder = _PhysicalCompaction(self._node, call, self._tasks) if request.physical else call
        self._node.propose(Command.COMPACT, payload, request, responder, caller=caller)

    async def range_stream(self, stream: AsyncStream) -> None:
        """Answer a Range in chunks at one pinned revision."""
        request = decode(rpc.RangeRequest, await stream.recv() or b"")
        check_range(request)
        _check_streamable(request)
        if not request.serializable:
            await self._node.read_barrier()
        caller = self._permit_range(stream, request)
        revision = self._pin(request)
        header = self._header(self._store.revision)
        counting = rpc.RangeRequest(key=request.key, range_end=request.range_end, count_only=True)
        totals = await self._turns.run(
            self._store.steps(counting, revision), list, lambda: self._access.recheck(caller)
        )
        if request.count_only:
            await stream.send(_chunk(header + encode_totals(*totals)))
            return
        await self._send_chunks(stream, request, revision, caller, (header, totals.total))

    async def _send_chunks(
        self,
        stream: AsyncStream,
        request: rpc.RangeRequest,
        revision: int,
        caller: Caller,
        last: tuple[bytes, int],
    ) -> None:
        """Send the records; `last` is the header and the count that the last message tells."""
        size_wanted = self._node.config.max_request_bytes
        step, sent = STREAM_FIRST_CHUNK, 0
        rest: tuple[bytes, bytes] | None = (request.key, request.range_end)
        while rest is not None:
            left = request.limit - sent if request.limit > 0 else step
            self._access.recheck(caller)
            check_revision(self._store, revision)
            kvs, rest = self._store.page(request, rest, revision, min(step, left))
            sent += len(kvs)
            if rest is None or sent == request.limit:
                header, count = last
                final = RangeResult(kvs, rest is not None, count)
                await stream.send(_chunk(encode_range(header, final)))
                return
            if kvs:
                await stream.send(_chunk(b"".join(kvs)))
            size = sum(map(len, kvs))
            if size < size_wanted // 2:
                step *= 2
            elif size > size_wanted * 2:
                step = max(1, step // 2)


def _check_streamable(request: rpc.RangeRequest) -> None:
    ascending = request.sort_order == rpc.RangeRequest.ASCEND
    by_key = request.sort_target == rpc.RangeRequest.KEY
    if request.sort_order != rpc.RangeRequest.NONE and not (ascending and by_key):
        raise RpcError(Code.UNIMPLEMENTED, "RangeStream does not support custom sort orders")
    filters = (
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    )
    if any(filters):
        raise RpcError(Code.UNIMPLEMENTED, "RangeStream does not support revision filters")


def _ranges_of(request: rpc.TxnRequest) -> list[rpc.RangeRequest]:
    """The Ranges of a transaction that has nothing else."""
    return [op.request_range for op in (*request.success, *request.failure)]


def _chunk(response: bytes) -> bytes:
    """A RangeStreamResponse around a RangeResponse."""
    return b"\n" + varint(len(response)) + response


def _put_cost(ops: Iterable[rpc.RequestOp]) -> int:
    return sum(PUT_OVERHEAD + len(put.key) + len(put.value) for put in puts_of(ops))


class _PhysicalCompaction:
    """Answers a compaction once its records are removed."""

    def __init__(self, node: Node, call: Call, tasks: CallTasks) -> None:
        self._node = node
        self._call = call
        self._tasks = tasks

    def reply(self, message: bytes) -> None:
        """The compaction is logically done: wait for the rest."""

        async def finish() -> None:
            await self._node.sweeper.swept()
            self._call.reply(message)

        self._tasks.run(self._call, finish())

    def fail(self, code: int, message: str) -> None:
        """Pass the refusal on."""
        self._call.fail(code, message)
