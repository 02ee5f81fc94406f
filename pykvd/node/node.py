"""The node: drives Raft, the log, the state machine and the watches of one member.

All of it runs on the event loop; the log and the store each have a thread that does their disk
work and posts completions back. The life of a command:

1. `propose` collects everything of one turn of the loop; `_flush` makes it one raft entry.
2. `_process` takes what Raft has ready: entries go to the log's thread.
3. When they are durable, `_persisted` tells Raft, which commits.
4. `_apply` runs the commands in order, answers their callers, feeds the watches, and once in a
   while hands the pending changes to the store's thread.

While entries are being synced, proposals wait and form the next entry: under load the batches
grow, and neither syncs nor entries are made per request.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from google.protobuf.message import Message

from pykvd import wal as wal_records
from pykvd.errors import Code, Failure, RpcError
from pykvd.logs import get_logger
from pykvd.node.apply import Applier
from pykvd.node.commands import BatchId, Command, decode_batch_id, decode_commands, encode_batch
from pykvd.node.header import HeaderEncoder
from pykvd.node.storage import APPLIED, APPLIED_KEY, Storage
from pykvd.pb import rpc_pb2 as rpc
from pykvd.raft import (
    Entry,
    EntryKind,
    ProposalDropped,
    RaftConfig,
    RawNode,
    ReadState,
    Ready,
    Role,
)
from pykvd.wal import WalWriter
from pykvd.watch.hub import Hub

#: Entries being synced at a time; a second one keeps the disk busy while the first is applied.
MAX_IN_FLIGHT = 2
#: Changes that only the log holds; beyond this clients are asked to slow down.
UNCOMMITTED_BYTES_MAX = 256 << 20
#: etcd's figure for leases revoked in one pass, every `EXPIRY_INTERVAL` seconds.
EXPIRY_BATCH = 500
EXPIRY_INTERVAL = 0.5
#: A lease's remaining time is recorded when it has lost a tenth, and not more often than this.
CHECKPOINT_INTERVAL = 10.0
CHECKPOINT_BATCH = 1000
#: Bytes beside the request that etcd counts against --max-request-bytes.
ENVELOPE_BYTES = 18

_log = get_logger("node")


class Responder(Protocol):
    """Who waits for a command; a transport call is one."""

    def reply(self, message: bytes) -> None:
        """The serialized response."""

    def fail(self, code: int, message: str) -> None:
        """The command was refused, or its outcome is unknown (Unavailable, DeadlineExceeded)."""


class FutureResponder:
    """Lets a coroutine wait for a command."""

    def __init__(self) -> None:
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def reply(self, message: bytes) -> None:
        """Resolve the future."""
        if not self.future.done():
            self.future.set_result(message)

    def fail(self, code: int, message: str) -> None:
        """Fail the future with RpcError."""
        if not self.future.done():
            self.future.set_exception(RpcError(code, message))


class Proposal(NamedTuple):
    """A command on its way."""

    command: Command
    payload: bytes
    request: Message
    responder: Responder


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Settings of a node, in seconds and bytes."""

    name: str
    client_urls: tuple[str, ...]
    heartbeat_interval: float
    election_timeout: float
    pre_vote: bool
    max_request_bytes: int
    snapshot_count: int
    batch_interval: float
    batch_limit: int
    compaction_batch: int
    compaction_pause: float

    @property
    def request_timeout(self) -> float:
        """How long a proposal may take, whatever the client's deadline (etcd's rule)."""
        return 5.0 + 2 * self.election_timeout


class Node:
    """One running member. `on_failure` is called once when it cannot go on (a failed sync)."""

    def __init__(
        self,
        config: NodeConfig,
        storage: Storage,
        *,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.config = config
        self.member_id = storage.identity.member_id
        self.cluster_id = storage.identity.cluster_id
        self._loop = asyncio.get_running_loop()
        self._on_failure = on_failure
        self._storage = storage
        self._backend = storage.backend
        self.store = storage.store
        self.header = HeaderEncoder(self.cluster_id, self.member_id)
        self.applier = Applier(
            self.store,
            self.header,
            min_lease_ttl=-(-3 * int(config.election_timeout * 1000) // 2000),
            clock=self._loop.time,
        )
        self.applier.load()
        self.lessor = self.applier.lessor
        self.hub = Hub(
            self.store,
            header=self.header,
            schedule=self._loop.call_soon,
            fragment_bytes=config.max_request_bytes + 512 * 1024,
        )
        self.applier.notify = self.hub.notify
        self.applier.compacted = self._start_sweep
        self.raft = self._make_raft()
        self.header.set_term(storage.hard_state.term)
        self._wal = WalWriter(storage.wal, self.post_failure)
        self.applied_index, self._applied_term = storage.applied
        self._marked_index = self.applied_index
        self.leader = 0
        self._stopping = False
        self._sequence = time.time_ns()
        self._batch: list[Proposal] = []
        self._flush_armed = False
        self._in_flight = 0
        self._commit_lazily: list[wal_records.Record] = []
        self._read_context = 0
        self._reads: dict[int, tuple[float, Responder, Callable[[], bytes]]] = {}
        self._ready_reads: list[ReadState] = []
        self._waiting: dict[int, tuple[float, list[Proposal]]] = {}
        self._commit_timer: asyncio.TimerHandle | None = None
        self._commit_wanted = False
        self._commit_waiters: deque[tuple[int, Callable[[], None]]] = deque()
        self._sweeping: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._quiet = asyncio.Event()

    def _make_raft(self) -> RawNode:
        index, term = self._storage.applied
        entries = [
            Entry(entry.term, entry.index, EntryKind(entry.kind), entry.data)
            for entry in self._storage.replay.entries
            if entry.index > index
        ]
        ticks = max(2, round(self.config.election_timeout / self.config.heartbeat_interval))
        return RawNode(
            RaftConfig(id=self.member_id, election_ticks=ticks, pre_vote=self.config.pre_vote),
            hard_state=self._storage.hard_state,
            conf_state=self._storage.conf_state,
            snapshot_id=(index, term),
            entries=entries,
            applied=index,
            rng=random.Random(),
            logger=_RaftLog(),
        )

    # Start and stop

    async def start(self) -> None:
        """Become ready to serve: lead or follow, with everything in the log applied."""
        self._every(self.config.heartbeat_interval, self._tick)
        self._every(EXPIRY_INTERVAL, self._expire_leases)
        self._every(CHECKPOINT_INTERVAL, self._checkpoint_leases)
        if self.store.compact_revision >= 0 and self.store.index.past:
            self._start_sweep()
        self.raft.campaign()
        self._process()
        member = rpc.Member(
            ID=self.member_id, name=self.config.name, clientURLs=self.config.client_urls
        )
        await self.execute(Command.PUBLISH, member)
        _log.info(
            "published local member to cluster through raft",
            local_member_id=f"{self.member_id:x}",
            cluster_id=f"{self.cluster_id:x}",
            publish_timeout=f"{self.config.request_timeout:g}s",
        )

    def _every(self, seconds: float, work: Callable[[], None]) -> None:
        def fire() -> None:
            self._timers[slot] = self._loop.call_later(seconds, fire)
            work()

        slot = len(self._timers)
        self._timers.append(self._loop.call_later(seconds, fire))

    async def stop(self) -> None:
        """Finish what was proposed, record leases, write everything, close."""
        if self._sweeping:
            self._sweeping.cancel()
        if not self._stopping and self.is_leader:
            checkpoints = self.lessor.to_checkpoint(self._loop.time(), 0.0)
            if checkpoints:
                await self.execute(Command.LEASE_CHECKPOINT, _checkpoint_request(checkpoints))
            while self._waiting or self._batch:
                await self.execute(Command.LEASE_CHECKPOINT, rpc.LeaseCheckpointRequest())
        failed, self._stopping = self._stopping, True
        for timer in self._timers:
            timer.cancel()
        if not failed:
            await self.commit()
        self.close()

    def close(self) -> None:
        """Stop the threads and close the files; what is not in the store is in the log."""
        self._stopping = True
        for timer in self._timers:
            timer.cancel()
        if self._commit_timer:
            self._commit_timer.cancel()
        self._fail_all(Failure.STOPPED)
        self._wal.stop()
        self._backend.close()
        self._storage.lock.release()

    def post_failure(self, error: BaseException) -> None:
        """Report, from a disk thread, that it cannot go on."""
        self._loop.call_soon_threadsafe(self.failed, error)

    def failed(self, error: BaseException) -> None:
        """Stop serving: the disk can no longer be trusted. Runs on the loop, once."""
        if self._stopping:
            return
        self._stopping = True
        _log.error("storage failed; the member stops", error=str(error))
        self._fail_all(Failure.STOPPED)
        self._on_failure(error)

    def _fail_all(self, failure: Failure) -> None:
        waiting = [each for _, batch in self._waiting.values() for each in batch]
        waiting += self._batch
        self._waiting, self._batch = {}, []
        for proposal in waiting:
            proposal.responder.fail(failure.code, failure.text)

    # Proposals

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""
        return self.leader == self.member_id

    @property
    def can_read(self) -> bool:
        """Whether local state is linearizable at once: the only voter has applied all it answered.

        A cluster of several needs a ReadIndex round instead (thesis 6.4).
        """
        return self.is_leader and not self._stopping

    def read_later(self, call: Responder, read: Callable[[], bytes]) -> None:
        """Answer a linearizable read once local state is recent enough (thesis 6.4)."""
        context = self._read_context = self._read_context + 1
        self._reads[context] = (self._deadline(), call, read)
        try:
            self.raft.read_index(context.to_bytes(8, "big"))
        except ProposalDropped:
            del self._reads[context]
            raise Failure.NO_LEADER.error() from None
        self._process()

    async def read_barrier(self) -> None:
        """Wait until local state is linearizable."""
        if not self.can_read:
            responder = FutureResponder()
            self.read_later(responder, lambda: b"")
            await responder.future

    def check_size(self, payload: bytes) -> None:
        """Raise when a request is too large for the log, or there is too much to do already."""
        if len(payload) + ENVELOPE_BYTES > self.config.max_request_bytes:
            raise Failure.REQUEST_TOO_LARGE.error()
        if self._backend.uncommitted_bytes > UNCOMMITTED_BYTES_MAX:
            raise Failure.TOO_MANY_REQUESTS.error()

    def propose(
        self, command: Command, payload: bytes, request: Message, responder: Responder
    ) -> None:
        """Have a command replicated and applied; the responder is told the outcome."""
        if self._stopping:
            raise Failure.STOPPED.error()
        self._batch.append(Proposal(command, payload, request, responder))
        if not self._flush_armed:
            self._flush_armed = True
            self._loop.call_soon(self._flush)

    async def execute(self, command: Command, request: Message) -> bytes:
        """Propose and wait; returns the serialized response. Raises RpcError."""
        responder = FutureResponder()
        self.propose(command, request.SerializeToString(), request, responder)
        return await responder.future

    def _flush(self) -> None:
        self._flush_armed = False
        if not self._batch or self._in_flight >= MAX_IN_FLIGHT or not self.leader:
            return
        batch, self._batch = self._batch, []
        self._sequence += 1
        commands = [(proposal.command, proposal.payload) for proposal in batch]
        data = encode_batch(BatchId(self.member_id, self._sequence), time.time_ns(), commands)
        self._waiting[self._sequence] = (self._deadline(), batch)
        try:
            self.raft.propose(data)
        except ProposalDropped:
            del self._waiting[self._sequence]
            self._batch = batch + self._batch
            return
        self._process()

    def _deadline(self) -> float:
        return self._loop.time() + self.config.request_timeout

    # Raft

    def _tick(self) -> None:
        self.raft.tick()
        self._process()
        now = self._loop.time()
        for context in [each for each, (deadline, *_) in self._reads.items() if deadline < now]:
            self._reads.pop(context)[1].fail(Failure.TIMEOUT.code, Failure.TIMEOUT.text)
        late = [number for number, (deadline, _) in self._waiting.items() if deadline < now]
        for number in late:
            for proposal in self._waiting.pop(number)[1]:
                proposal.responder.fail(Failure.TIMEOUT.code, Failure.TIMEOUT.text)
        if self._batch and not self._flush_armed:
            self._flush()

    def _process(self) -> None:
        while self.raft.has_ready():
            ready = self.raft.ready()
            if ready.soft_state:
                self._leadership(ready.soft_state.leader, ready.soft_state.role)
            self._save(ready)
            if ready.committed_entries:
                self._apply(ready.committed_entries)
            self._ready_reads += ready.read_states
        self.hub.flush()
        if self._ready_reads:
            self._answer_reads()

    def _answer_reads(self) -> None:
        states, self._ready_reads = self._ready_reads, []
        for state in states:
            if state.index > self.applied_index:
                self._ready_reads.append(state)
                continue
            found = self._reads.pop(int.from_bytes(state.context, "big"), None)
            if found is None:
                continue
            _, responder, read = found
            try:
                responder.reply(read())
            except RpcError as error:
                responder.fail(error.code, error.message)

    def _save(self, ready: Ready) -> None:
        if ready.hard_state:
            state = ready.hard_state
            self.header.set_term(state.term)
            record = wal_records.HardState(state.term, state.vote, state.commit)
            self._commit_lazily = [record]
        if not ready.must_sync:
            # A commit index may be lost; it is written with the next entries.
            self.raft.persisted(ready.number)
            return
        entries = [
            wal_records.Entry(entry.term, entry.index, entry.kind, entry.data)
            for entry in ready.entries
        ]
        records, self._commit_lazily = [*self._commit_lazily, *entries], []
        number = ready.number

        def durable() -> None:
            self._loop.call_soon_threadsafe(self._persisted, number)

        self._in_flight += 1
        self._wal.submit(records, durable)

    def _persisted(self, number: int) -> None:
        self._in_flight -= 1
        if self._stopping:
            return
        self.raft.persisted(number)
        self._process()
        self._flush()

    def _leadership(self, leader: int, role: Role) -> None:
        self.leader = leader
        if role is Role.LEADER and not self.lessor.primary:
            self.lessor.promote(self._loop.time(), self.config.election_timeout)
        elif role is not Role.LEADER and self.lessor.primary:
            self.lessor.demote()

    # Apply

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind is EntryKind.NORMAL and entry.data:
                self._apply_batch(entry.data)
            self.applied_index, self._applied_term = entry.index, entry.term
        self.raft.applied_to(self.applied_index)
        if self._backend.pending_records >= self.config.batch_limit:
            self._commit_soon()
        elif self._commit_timer is None:
            self._commit_timer = self._loop.call_later(
                self.config.batch_interval, self._commit_soon
            )

    def _apply_batch(self, data: bytes) -> None:
        batch = decode_batch_id(data)
        mine = self._waiting.pop(batch.sequence, None) if batch.origin == self.member_id else None
        apply = self.applier.apply
        if mine is None:
            for command, request in decode_commands(data):
                try:
                    apply(command, request)
                except RpcError as error:
                    _log.debug("refused while applying", error=str(error))
            return
        for command, _, request, responder in mine[1]:
            try:
                response = apply(command, request)
            except RpcError as error:
                responder.fail(error.code, error.message)
            else:
                responder.reply(response)

    # Commits to the store

    def _commit_soon(self) -> None:
        if self._commit_timer:
            self._commit_timer.cancel()
            self._commit_timer = None
        if not self._backend.idle:
            self._commit_wanted = True
            return
        self._commit_wanted = False
        index, term = self.applied_index, self._applied_term
        self._backend.set("meta", APPLIED_KEY, APPLIED.pack(index, term))
        self._backend.commit(lambda: self._committed(index, term))

    def _committed(self, index: int, term: int) -> None:
        if index - self._marked_index >= self.config.snapshot_count:
            self._marked_index = index
            # The store is the snapshot: the log before it is not needed any more.
            self._wal.submit([wal_records.Snapshot(index, term)], lambda: None)
            self._wal.release(index)
            self.raft.compact(index)
        while self._commit_waiters and self._commit_waiters[0][0] <= index:
            self._commit_waiters.popleft()[1]()
        if self._commit_wanted or self._commit_waiters:
            self._commit_soon()

    async def commit(self) -> None:
        """Wait until everything applied so far is in the store's file."""
        future = self._loop.create_future()
        self._commit_waiters.append((self.applied_index, lambda: future.set_result(None)))
        self._commit_soon()
        await future

    # Compaction

    def _start_sweep(self) -> None:
        if self._sweeping:
            self._sweeping.cancel()
        self._sweeping = self._loop.create_task(self._sweep())

    async def _sweep(self) -> None:
        started = time.monotonic()
        revision = self.store.compact_revision
        for _ in self.store.sweep(self.config.compaction_batch):
            await asyncio.sleep(self.config.compaction_pause)
            if self._backend.uncommitted_bytes > UNCOMMITTED_BYTES_MAX // 4:
                await self.commit()
        self._sweeping = None
        _log.info(
            "finished scheduled compaction",
            compact_revision=revision,
            took=f"{time.monotonic() - started:.6f}s",
        )

    async def swept(self) -> None:
        """Wait until the compaction in progress has removed its records from the file."""
        while self._sweeping:
            await asyncio.wait([self._sweeping])
        await self.commit()

    # Leases

    def _expire_leases(self) -> None:
        if not self.is_leader or self._stopping:
            return
        now = self._loop.time()
        for lease_id in self.lessor.expired(now, EXPIRY_BATCH):
            request = rpc.LeaseRevokeRequest(ID=lease_id)
            responder = _ExpiryResponder(self, lease_id)
            payload = request.SerializeToString()
            self.propose(Command.LEASE_REVOKE, payload, request, responder)

    def _checkpoint_leases(self) -> None:
        if not self.is_leader or self._stopping:
            return
        due = [
            (lease_id, remaining)
            for lease_id, remaining in self.lessor.to_checkpoint(
                self._loop.time(), CHECKPOINT_INTERVAL
            )
            if self._has_lost_a_tenth(lease_id, remaining)
        ]
        if due:
            request = _checkpoint_request(due[:CHECKPOINT_BATCH])
            payload = request.SerializeToString()
            self.propose(Command.LEASE_CHECKPOINT, payload, request, NOBODY)

    def _has_lost_a_tenth(self, lease_id: int, remaining: int) -> bool:
        lease = self.lessor.leases[lease_id]
        recorded = lease.remaining or lease.ttl
        return recorded - remaining >= max(CHECKPOINT_INTERVAL, lease.ttl / 10)

    def retry_expiry(self, lease_id: int) -> None:
        """Expire a lease again later: its revoke was not applied."""
        self.lessor.retry(lease_id, self._deadline())


def _checkpoint_request(leases: list[tuple[int, int]]) -> rpc.LeaseCheckpointRequest:
    checkpoints = [rpc.LeaseCheckpoint(ID=lease, remaining_TTL=left) for lease, left in leases]
    return rpc.LeaseCheckpointRequest(checkpoints=checkpoints)


class Nobody:
    """Nobody waits for this command."""

    def reply(self, message: bytes) -> None:
        """Ignore it."""

    def fail(self, code: int, message: str) -> None:
        """Ignore it."""


NOBODY = Nobody()


class _ExpiryResponder(Nobody):
    """Puts an expired lease back if its revoke failed."""

    def __init__(self, node: Node, lease_id: int) -> None:
        self._node = node
        self._lease_id = lease_id

    def fail(self, code: int, message: str) -> None:  # noqa: ARG002
        """Try again later, unless the lease is gone."""
        if code != Code.NOT_FOUND:
            self._node.retry_expiry(self._lease_id)


class _RaftLog:
    """Raft's log lines under `pykvd.raft`."""

    _log = get_logger("raft")

    def debug(self, msg: str, /, *args: object) -> None:
        """Frequent steps."""
        self._log.debug(msg % args if args else msg)

    def info(self, msg: str, /, *args: object) -> None:
        """Changes of role, term, leader, membership."""
        self._log.info(msg % args if args else msg)

    def warning(self, msg: str, /, *args: object) -> None:
        """Refusals and lost peers."""
        self._log.warn(msg % args if args else msg)
