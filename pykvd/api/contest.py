"""What locks and elections are made of: keys below a name, of which the oldest wins.

A contender's key is `<name>/<its lease in hexadecimal>`; it lives as long as the lease. Whoever has
the key with the lowest create revision holds the name, and that revision is the fencing token: a
key that was lost and made again has a higher one. Each contender waits for the deletion of the one
before it only, so that a release wakes nobody in vain.

These are the keys that etcd's own client library makes, so both kinds of contender meet.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from pykvd.api.local import LEASE_GRANT, LEASE_TIME_TO_LIVE, RANGE, TXN, LocalClient
from pykvd.errors import RpcError
from pykvd.pb import kv_pb2 as kvpb
from pykvd.pb import rpc_pb2 as rpc

Holder = tuple[rpc.ResponseHeader, kvpb.KeyValue]

#: Seconds that a lease is granted for when the client brings none.
LEASE_TTL_S = 60


@dataclass(frozen=True)
class Contender:
    """A key that is in the contest; `revision` is its create revision."""

    key: bytes
    revision: int
    lease: int
    value: bytes
    header: rpc.ResponseHeader
    is_new: bool
    """Whether the key was made; the same lease may have entered before."""
    holds: bool
    """Whether it held the name when it was found or made."""


class Contest:
    """The contest for one name, as seen by one caller. All methods raise RpcError."""

    def __init__(self, client: LocalClient, name: bytes) -> None:
        self._client = client
        self._prefix = name + b"/"
        self._end = name + b"0"  # "0" is the byte after "/".

    async def own_lease(self, lease: int) -> int:
        """`lease`, or a new one in the place of 0; it is the client who keeps it alive."""
        if lease:
            return lease
        request = rpc.LeaseGrantRequest(TTL=LEASE_TTL_S)
        return (await self._client.call(LEASE_GRANT, request, rpc.LeaseGrantResponse)).ID

    async def enter(self, lease: int, value: bytes = b"") -> Contender:
        """Make the key of `lease`, or find it; a new one does not outlive a cancelled call."""
        key = self._prefix + f"{lease:x}".encode()
        entering = asyncio.ensure_future(self._enter(key, lease, value))
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            contender = await entering
            if contender.is_new:
                await self._give_up(contender)
            raise

    async def _enter(self, key: bytes, lease: int, value: bytes) -> Contender:
        put = rpc.PutRequest(key=key, value=value, lease=lease)
        find = rpc.RequestOp(request_range=rpc.RangeRequest(key=key))
        oldest = rpc.RequestOp(request_range=self._oldest())
        answer = await self._txn(
            rpc.TxnRequest(
                compare=[_created(key, 0)],
                success=[rpc.RequestOp(request_put=put), oldest],
                failure=[find, oldest],
            )
        )
        revision = answer.header.revision
        if not answer.succeeded:
            [found] = answer.responses[0].response_range.kvs
            revision, value = found.create_revision, found.value
        [holder] = answer.responses[1].response_range.kvs
        holds = holder.create_revision == revision
        return Contender(key, revision, lease, value, answer.header, answer.succeeded, holds)

    async def leave(self, key: bytes, revision: int) -> rpc.ResponseHeader:
        """Delete a contender's key unless it is a later one."""
        delete = rpc.DeleteRangeRequest(key=key)
        answer = await self._txn(
            rpc.TxnRequest(
                compare=[_created(key, revision)],
                success=[rpc.RequestOp(request_delete_range=delete)],
            )
        )
        return answer.header

    async def win(self, contender: Contender) -> rpc.ResponseHeader | None:
        """Wait until the contender holds the name; None if its key or its lease has died meanwhile.

        The header is that of the read which saw the key in force: its revision rises from holder to
        holder. When the wait fails or is cancelled the key is deleted.
        """
        if contender.holds:
            return contender.header
        try:
            while (ahead := await self._next_ahead(contender.revision)) is not None:
                await self._deleted(*ahead)
            return await self._confirm(contender)
        except BaseException:
            await self._give_up(contender)
            raise

    async def _give_up(self, contender: Contender) -> None:
        try:
            await self.leave(contender.key, contender.revision)
        except RpcError:
            # The lease will end it; the caller hears of the first failure.
            return

    async def _confirm(self, contender: Contender) -> rpc.ResponseHeader | None:
        """Whether the key is still the one that waited, and its lease not past its end.

        A lease that has run out stays until its revocation is agreed upon, and its keys with it.
        """
        answer = await self._txn(
            rpc.TxnRequest(compare=[_created(contender.key, contender.revision)])
        )
        if not answer.succeeded:
            return None
        request = rpc.LeaseTimeToLiveRequest(ID=contender.lease)
        lease = await self._client.call(LEASE_TIME_TO_LIVE, request, rpc.LeaseTimeToLiveResponse)
        return answer.header if lease.TTL >= 0 else None

    async def _next_ahead(self, revision: int) -> tuple[bytes, int] | None:
        """The contender just before `revision`, and the revision at which it was seen."""
        request = self._oldest()
        request.sort_order = rpc.RangeRequest.DESCEND
        request.max_create_revision = revision - 1
        answer = await self._client.call(RANGE, request, rpc.RangeResponse)
        return (answer.kvs[0].key, answer.header.revision) if answer.kvs else None

    async def _deleted(self, key: bytes, revision: int) -> None:
        """Wait until a key that was seen at `revision` is deleted, or might have been."""
        request = rpc.WatchCreateRequest(
            key=key, start_revision=revision + 1, filters=[rpc.WatchCreateRequest.NOPUT]
        )
        async with self._client.watch(request) as responses:
            # Without events a compaction has overtaken us: the caller looks again.
            await anext(responses)

    async def holder(self) -> rpc.RangeResponse:
        """The oldest key with its pair, or none."""
        return await self._client.call(RANGE, self._oldest(), rpc.RangeResponse)

    async def holders(self) -> AsyncGenerator[Holder, None]:
        """The holder, each value that it writes, and whoever follows it.

        A compaction while we are behind may cost values in between, never the last one.
        """
        while True:
            found = await self.holder()
            header = found.header
            leader = found.kvs[0] if found.kvs else None
            if leader is None:
                leader = await self._first_entry(header)
            if leader is not None:
                yield header, leader
                async with aclosing(self._values(leader.key, header)) as values:
                    async for value in values:
                        yield value

    async def _first_entry(self, header: rpc.ResponseHeader) -> kvpb.KeyValue | None:
        """The first key since `header`, whose revision becomes that of the key."""
        request = rpc.WatchCreateRequest(
            key=self._prefix,
            range_end=self._end,
            start_revision=header.revision + 1,
            filters=[rpc.WatchCreateRequest.NODELETE],
        )
        async with self._client.watch(request) as responses:
            async for response in responses:
                if response.compact_revision:
                    return None
                if response.events:
                    header.revision = response.events[0].kv.mod_revision
                    return response.events[0].kv
        return None

    async def _values(self, key: bytes, seen: rpc.ResponseHeader) -> AsyncGenerator[Holder, None]:
        """What is written to `key` after `seen`, until it is deleted."""
        request = rpc.WatchCreateRequest(key=key, start_revision=seen.revision + 1)
        async with self._client.watch(request) as responses:
            async for response in responses:
                if response.compact_revision:
                    return
                for event in response.events:
                    if event.type == kvpb.Event.DELETE:
                        return
                    response.header.revision = event.kv.mod_revision
                    yield response.header, event.kv

    def _oldest(self) -> rpc.RangeRequest:
        return rpc.RangeRequest(
            key=self._prefix,
            range_end=self._end,
            sort_order=rpc.RangeRequest.ASCEND,
            sort_target=rpc.RangeRequest.CREATE,
            limit=1,
        )

    async def write(
        self, key: bytes, revision: int, lease: int, value: bytes
    ) -> rpc.ResponseHeader | None:
        """Change the value of a contender's key; None if the key is not that one any more."""
        put = rpc.PutRequest(key=key, value=value, lease=lease)
        answer = await self._txn(
            rpc.TxnRequest(
                compare=[_created(key, revision)],
                success=[rpc.RequestOp(request_put=put)],
            )
        )
        return answer.header if answer.succeeded else None

    async def _txn(self, request: rpc.TxnRequest) -> rpc.TxnResponse:
        return await self._client.call(TXN, request, rpc.TxnResponse)


def _created(key: bytes, revision: int) -> rpc.Compare:
    return rpc.Compare(
        key=key,
        target=rpc.Compare.CREATE,
        result=rpc.Compare.EQUAL,
        create_revision=revision,
    )
