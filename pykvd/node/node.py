"""The node: drives Raft, the log, the state machine and the watches of one member.

All of it runs on the event loop; the log and the store each have a thread that does their disk
work and posts completions back. The life of a command:

1. `propose` collects everything of one turn of the loop; `_flush` makes it one raft entry.
2. `_process` takes what Raft has ready: entries go to the log's thread.
3. When they are durable, `_persisted` tells Raft, which commits.
4. `_apply` runs the commands in order, answers their callers and feeds the watches; the
   `Committer` hands the changes to the store's thread now and then.

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
from pykvd.node.committer import Committer
from pykvd.node.header import HeaderEncoder
from pykvd.node.leases import CHECKPOINT_INTERVAL, EXPIRY_INTERVAL, LeaseKeeper
from pykvd.node.reads import ReadQueue
from pykvd.node.responder import FutureResponder, Responder
from pykvd.node.storage import Storage
from pykvd.node.sweeper import Sweeper
from pykvd.pb import rpc_pb2 as rpc
from pykvd.raft import Entry, EntryKind, ProposalDropped, RaftConfig, RawNode, Ready, Role
from pykvd.wal import Wal, WalWriter
from pykvd.watch.hub import Hub

#: Entries being synced at a time; a second one keeps the disk busy while the first is applied.
MAX_IN_FLIGHT = 2
#: Changes that only the log holds; beyond this clients are asked to slow down.
UNCOMMITTED_BYTES_MAX = 256 << 20
#: Bytes beside the request that etcd counts against --max-request-bytes.
ENVELOPE_BYTES = 18
#: Added to --max-request-bytes where etcd bounds gRPC messages and watch fragments.
GRPC_OVERHEAD_BYTES = 512 * 1024

_log = get_logger("node")


class LogWriter(Protocol):
    """What the node needs of `WalWriter`."""

    def submit(self, records: Sequence[wal_records.Record], done: Callable[[], None]) -> None:
        """Make the records durable in order, then call `done`, on any thread."""

    def release(self, index: int) -> None:
        """Delete what lies before the last snapshot mark at or below `index`."""

    def stop(self) -> None:
        """Finish what was submitted and close."""


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

    @property
    def min_lease_ttl(self) -> int:
        """The shortest TTL granted: one and a half election timeouts, in whole seconds."""
        return -(-3 * round(self.election_timeout * 1000) // 2000)


class Node:
    """One running member. `on_failure` is called once when it cannot go on (a failed sync)."""

    def __init__(
        self,
        config: NodeConfig,
        storage: Storage,
        *,
        on_failure: Callable[[BaseException], None],
        log_writer: Callable[[Wal, Callable[[BaseException], None]], LogWriter] = WalWriter,
    ) -> None:
        self.config = config
        self.member_id = storage.identity.member_id
        self.cluster_id = storage.identity.cluster_id
        self.leader = 0
        self.store = storage.store
        self.header = HeaderEncoder(self.cluster_id, self.member_id)
        self.header.set_term(storage.hard_state.term)
        self._loop = asyncio.get_running_loop()
        self._on_failure = on_failure
        self._storage = storage
        self.applier = Applier(
            self.store, self.header, min_lease_ttl=config.min_lease_ttl, clock=self._loop.time
        )
        self.applier.load()
        self.lessor = self.applier.lessor
        self.hub = Hub(
            self.store,
            header=self.header,
            schedule=self._loop.call_soon,
            fragment_bytes=config.max_request_bytes + GRPC_OVERHEAD_BYTES,
        )
        self.raft = _make_raft(config, storage)
        self._reads = ReadQueue(self.raft)
        self._wal = log_writer(storage.wal, self.post_failure)
        storage.backend.on_failure = self.post_failure
        self.committer = Committer(
            storage.backend,
            storage.applied,
            interval=config.batch_interval,
            limit=config.batch_limit,
            snapshot_count=config.snapshot_count,
            advanced=self._release_log,
        )
        self.sweeper = Sweeper(
            self.store,
            self.committer,
            batch=config.compaction_batch,
            pause=config.compaction_pause,
        )
        self._keeper = LeaseKeeper(self.lessor, self.propose, retry_after=config.request_timeout)
        self.applier.notify = self.hub.notify
        self.applier.compacted = self.sweeper.start
        self._stopping = False
        self._sequence = time.time_ns()
        self._batch: list[Proposal] = []
        self._batch_deadline = 0.0
        self._flush_armed = False
        self._in_flight = 0
        self._unsaved: list[wal_records.Record] = []
        self._unconfirmed: deque[tuple[int, bool]] = deque()
        self._waiting: dict[int, tuple[float, list[Proposal]]] = {}
        self._timers: list[asyncio.TimerHandle] = []

    # Start and stop

    async def start(self) -> None:
        """Become ready to serve: lead or follow, with everything in the log applied."""
        self._every(self.config.heartbeat_interval, self._tick)
        self._every(EXPIRY_INTERVAL, self._keeper.expire)
        self._every(CHECKPOINT_INTERVAL, self._keeper.checkpoint)
        if self.store.compact_revision >= 0 and self.store.index.past:
            self.sweeper.start()
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
        if not self._stopping:
            # Applied behind all that was proposed before it.
            await self.execute(Command.LEASE_CHECKPOINT, self._keeper.last_checkpoint())
            self._stopping = True
            self.sweeper.stop()
            await self.committer.flush()
        self.close()

    def close(self) -> None:
        """Stop the threads and close the files; what is not in the store is in the log."""
        self._halt()
        self._wal.stop()
        self._storage.backend.close()
        self._storage.lock.release()

    def post_failure(self, error: BaseException) -> None:
        """Report, from a disk thread, that it cannot go on."""
        self._loop.call_soon_threadsafe(self.failed, error)

    def failed(self, error: BaseException) -> None:
        """Stop serving: the disk can no longer be trusted. Runs on the loop, once."""
        if self._stopping:
            return
        _log.error("storage failed; the member stops", error=str(error))
        self._halt()
        self._on_failure(error)

    def _halt(self) -> None:
        self._stopping = True
        for timer in self._timers:
            timer.cancel()
        self.committer.stop()
        self.sweeper.stop()
        self._reads.fail_all(Failure.STOPPED)
        waiting = [each for _, batch in self._waiting.values() for each in batch]
        waiting += self._batch
        self._waiting, self._batch = {}, []
        _fail(waiting, Failure.STOPPED.code, Failure.STOPPED.text)

    # Reads

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""
        return self.leader == self.member_id

    @property
    def can_read(self) -> bool:
        """Whether local state is linearizable at once: the only voter has applied all it answered.

        A cluster of several needs a ReadIndex round instead (thesis 6.4).
        """
        return self.leader == self.member_id and not self._stopping

    def read_later(self, responder: Responder, read: Callable[[], bytes]) -> None:
        """Answer a linearizable read once local state is recent enough (thesis 6.4)."""
        if self._stopping:
            raise Failure.STOPPED.error()
        self._reads.add(self._deadline(), responder, read)
        self._process()

    async def read_barrier(self) -> None:
        """Wait until local state is linearizable. Raises RpcError."""
        if not self.can_read:
            responder = FutureResponder()
            self.read_later(responder, lambda: b"")
            await responder.future

    # Proposals

    def check_size(self, payload: bytes) -> None:
        """Raise when a request is too large for the log, or there is too much to do already."""
        if len(payload) + ENVELOPE_BYTES > self.config.max_request_bytes:
            raise Failure.REQUEST_TOO_LARGE.error()
        if self.store.backend.uncommitted_bytes > UNCOMMITTED_BYTES_MAX:
            raise Failure.TOO_MANY_REQUESTS.error()

    def propose(
        self, command: Command, payload: bytes, request: Message, responder: Responder
    ) -> None:
        """Have a command replicated and applied; the responder is told the outcome."""
        if self._stopping:
            raise Failure.STOPPED.error()
        if not self._batch:
            self._batch_deadline = self._deadline()
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
        try:
            self.raft.propose(data)
        except ProposalDropped:
            self._batch = batch + self._batch
            return
        self._waiting[self._sequence] = (self._deadline(), batch)
        self._process()

    def _deadline(self) -> float:
        return self._loop.time() + self.config.request_timeout

    # Raft

    def _tick(self) -> None:
        self.raft.tick()
        self._process()
        now = self._loop.time()
        self._reads.expire(now)
        late = [number for number, (deadline, _) in self._waiting.items() if deadline < now]
        for number in late:
            _fail(self._waiting.pop(number)[1], Failure.TIMEOUT.code, Failure.TIMEOUT.text)
        self._flush()
        if self._batch and self._batch_deadline < now:
            # Never proposed, for want of a leader: etcd reports its own deadline then.
            _fail(self._batch, Code.DEADLINE_EXCEEDED, "context deadline exceeded")
            self._batch = []

    def _process(self) -> None:
        while self.raft.has_ready():
            ready = self.raft.ready()
            if ready.soft_state:
                self._leadership(ready.soft_state.leader, ready.soft_state.role)
            self._save(ready)
            if ready.committed_entries:
                self._apply(ready.committed_entries)
            if ready.read_states:
                self._reads.confirm(ready.read_states)
        self.hub.flush()
        self._reads.answer(self.committer.index)

    def _save(self, ready: Ready) -> None:
        if ready.hard_state:
            state = ready.hard_state
            self.header.set_term(state.term)
            self._unsaved = [wal_records.HardState(state.term, state.vote, state.commit)]
        self._unconfirmed.append((ready.number, ready.must_sync))
        if not ready.must_sync:
            # A commit index may be lost: it is written with the next entries.
            self._confirm(0)
            return
        entries = [
            wal_records.Entry(entry.term, entry.index, entry.kind, entry.data)
            for entry in ready.entries
        ]
        records, self._unsaved = [*self._unsaved, *entries], []
        number = ready.number

        def durable() -> None:
            self._loop.call_soon_threadsafe(self._persisted, number)

        self._in_flight += 1
        self._wal.submit(records, durable)

    def _persisted(self, number: int) -> None:
        self._in_flight -= 1
        if self._stopping:
            return
        self._confirm(number)
        self._process()
        self._flush()

    def _confirm(self, durable: int) -> None:
        """Tell Raft what is durable: Readys up to `durable`, and those behind without a sync.

        One that needs no sync still has to wait for those before it that do.
        """
        confirmed = 0
        while self._unconfirmed:
            number, synced = self._unconfirmed[0]
            if synced and number > durable:
                break
            self._unconfirmed.popleft()
            confirmed = number
        if confirmed:
            self.raft.persisted(confirmed)

    def _leadership(self, leader: int, role: Role) -> None:
        self.leader = leader
        if role is Role.LEADER and not self.lessor.primary:
            self.lessor.promote(self._loop.time(), self.config.election_timeout)
        elif role is not Role.LEADER and self.lessor.primary:
            self.lessor.demote()

    def _release_log(self, index: int, term: int) -> None:
        self._wal.submit([wal_records.Snapshot(index, term)], lambda: None)
        self._wal.release(index)
        self.raft.compact(index)

    # Apply

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind is EntryKind.NORMAL and entry.data:
                self._apply_batch(entry.data)
        self.raft.applied_to(entries[-1].index)
        self.committer.applied(entries[-1].index, entries[-1].term)

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


def _fail(proposals: Sequence[Proposal], code: int, text: str) -> None:
    for proposal in proposals:
        proposal.responder.fail(code, text)


def _make_raft(config: NodeConfig, storage: Storage) -> RawNode:
    index, term = storage.applied
    entries = [
        Entry(entry.term, entry.index, EntryKind(entry.kind), entry.data)
        for entry in storage.replay.entries
        if entry.index > index
    ]
    ticks = max(2, round(config.election_timeout / config.heartbeat_interval))
    return RawNode(
        RaftConfig(id=storage.identity.member_id, election_ticks=ticks, pre_vote=config.pre_vote),
        hard_state=storage.hard_state,
        conf_state=storage.conf_state,
        snapshot_id=(index, term),
        entries=entries,
        applied=index,
        rng=random.Random(),
        logger=_RaftLog(),
    )


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
