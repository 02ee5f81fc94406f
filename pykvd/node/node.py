"""The node: drives Raft, the log, the state machine and the watches of one member.

All of it runs on the event loop; the log and the store each have a thread that does their disk
work and posts completions back. The life of a command:

1. `propose` gathers everything of one turn of the loop (`Proposals`) and makes it a raft entry.
2. The `RaftDriver` gives the entry to the log's thread and to the other members.
3. When a majority has it on disk, Raft commits it.
4. `apply` runs the commands in order, answers their callers and feeds the watches; the
   `Committer` hands the changes to the store's thread now and then.

On a follower the entry travels to the leader and comes back committed: the same steps, and the
member that made it answers.

While entries are being synced, proposals wait and form the next entry: under load the batches
grow, and neither syncs nor entries are made per request.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from pykvd.auth.identity import Identity
from pykvd.auth.tokens import Tokens
from pykvd.cluster.membership import Action, Member, MemberChange
from pykvd.errors import Code, Failure, RpcError
from pykvd.logs import get_logger
from pykvd.node.apply import Applier
from pykvd.node.audit import Audit
from pykvd.node.batches import Batches
from pykvd.node.commands import Command
from pykvd.node.committer import Committer
from pykvd.node.compaction_hashes import CompactionHashes
from pykvd.node.config import NodeConfig
from pykvd.node.disk import explained
from pykvd.node.driver import LogWriter, RaftDriver
from pykvd.node.header import HeaderEncoder
from pykvd.node.leases import CHECKPOINT_INTERVAL, EXPIRY_INTERVAL, LeaseKeeper
from pykvd.node.meter import Meter
from pykvd.node.network import Network
from pykvd.node.proposals import Proposals
from pykvd.node.raft_core import make_raft
from pykvd.node.reads import ReadQueue
from pykvd.node.reconfigurer import Reconfigurer
from pykvd.node.responder import FutureResponder, Responder
from pykvd.node.shipper import SnapshotShipper
from pykvd.node.storage import CONF_STATE_KEY, Storage
from pykvd.node.sweeper import Sweeper
from pykvd.pb import rpc_pb2 as rpc
from pykvd.raft import (
    ConfChange,
    ConfState,
    Entry,
    EntryKind,
    InvariantError,
    ReadState,
    Role,
    Snapshot,
    SoftState,
)
from pykvd.raft import Message as RaftMessage
from pykvd.wal import Wal, WalWriter
from pykvd.watch.hub import Hub

#: Changes that only the log holds; beyond this clients are asked to slow down.
UNCOMMITTED_BYTES_MAX = 256 << 20
#: Bytes beside the request that etcd counts against --max-request-bytes.
ENVELOPE_BYTES = 18
#: Bytes that etcd counts for who asks, beside the name.
SIGNATURE_BYTES = 4
#: Added to --max-request-bytes where etcd bounds gRPC messages and watch fragments.
GRPC_OVERHEAD_BYTES = 512 * 1024

_log = get_logger("node")


class Node:
    """One running member.

    `make_network` gives the links to the other members; a cluster of one does without.
    `on_failure` is called once when the member cannot go on (a failed sync), `on_removed` when it
    is no member any more.
    """

    def __init__(
        self,
        config: NodeConfig,
        storage: Storage,
        *,
        make_network: Callable[["Node"], Network] | None = None,
        on_failure: Callable[[BaseException], None],
        on_removed: Callable[[], None] = lambda: None,
        log_writer: Callable[[Wal, Callable[[BaseException], None]], LogWriter] = WalWriter,
        tokens: Tokens | None = None,
    ) -> None:
        self.config = config
        self.member_id = storage.identity.member_id
        self.cluster_id = storage.identity.cluster_id
        self.leader = 0
        self._leads_from = 0
        #: Times that this member saw a leader come.
        self.leader_changes = 0
        #: Heartbeats of this leader that were an interval late or more.
        self.late_ticks = 0
        #: Learners that became voters while this member led.
        self.promotions = 0
        self._ticked = math.inf
        #: Whether this member only listens.
        self.is_learner = False
        self.store = storage.store
        self.header = HeaderEncoder(self.cluster_id, self.member_id)
        self.header.set_term(storage.hard_state.term)
        self._loop = asyncio.get_running_loop()
        self._on_failure = on_failure
        self._on_removed = on_removed
        self._storage = storage
        self.applier = Applier(
            self.store,
            self.header,
            min_lease_ttl=config.min_lease_ttl,
            max_learners=config.max_learners,
            clock=self._loop.time,
            tokens=tokens,
        )
        self.applier.load()
        self.auth = self.applier.auth
        self.audit = Audit(self._loop.time)
        self.meter = Meter(
            apply_limit=config.slow_apply,
            request_limit=config.slow_request,
            clock=self._loop.time,
        )
        self.applier.wrap(self.meter.timed)
        self.lessor = self.applier.lessor
        self.membership = self.applier.membership
        self.hub = Hub(
            self.store,
            header=self.header,
            schedule=self._loop.call_soon,
            fragment_bytes=config.max_request_bytes + GRPC_OVERHEAD_BYTES,
        )
        self.raft = make_raft(config, storage)
        self._configured(storage.conf_state)
        self._log = log_writer(storage.wal, self.post_failure)
        storage.backend.on_failure = self.post_failure
        self._driver = RaftDriver(self.raft, self._log, self)
        self._reads = ReadQueue(self.raft, self._driver.process)
        self.committer = Committer(
            storage.backend,
            storage.applied,
            interval=config.batch_interval,
            limit=config.batch_limit,
            snapshot_count=config.snapshot_count,
            advanced=lambda index, term: self._driver.release(
                index, term, 0 if self._alone else config.snapshot_catchup
            ),
        )
        #: What compactions hashed before they removed anything.
        self.compaction_hashes = CompactionHashes(
            self.store,
            self.committer,
            batch=config.compaction_batch,
            pause=config.compaction_pause,
        )
        self.sweeper = Sweeper(
            self.store,
            self.committer,
            self.compaction_hashes,
            batch=config.compaction_batch,
            pause=config.compaction_pause,
        )
        self._proposals = Proposals(self._driver, self.member_id, config.request_timeout)
        self._batches = Batches(self.applier, self._proposals, meter=self.meter, audit=self.audit)
        self.propose = self._proposals.propose
        self.execute = self._proposals.execute
        self._deadline = self._proposals.deadline
        self._reconfigurer = Reconfigurer(
            self._driver,
            self.applier,
            self.member_id,
            timeout=config.request_timeout,
            retry=config.heartbeat_interval,
        )
        self._keeper = LeaseKeeper(
            self.lessor,
            self.propose,
            lambda: self.keeps_leases,
            retry_after=config.request_timeout,
        )
        self.applier.notify = self.hub.notify
        self.applier.compacted = self.sweeper.start
        self._stopping = False
        self._removed = self.member_id in self.membership.removed
        #: Serves what other members ask of this one, by kind.
        self.answers: dict[str, Callable[[bytes], Awaitable[bytes]]] = {}
        self._shipper = SnapshotShipper(
            storage, self.committer, lambda peer: self.snapshot_sent(peer, False)
        )
        self._timers: list[asyncio.TimerHandle] = []
        self.network = make_network(self) if make_network else None

    # Start and stop

    async def start(self) -> None:
        """Become ready to serve: lead or follow, with everything in the log applied."""
        self.reach_members()
        self._every(self.config.heartbeat_interval, self._tick)
        self._every(EXPIRY_INTERVAL, self._keeper.expire)
        self._every(CHECKPOINT_INTERVAL, self._keeper.checkpoint)
        self.sweeper.resume()
        if self._alone:
            self.raft.campaign()
        self._driver.process()
        await self._publish()

    def campaign(self) -> None:
        """Stand for election now rather than after a timeout, where no leader is known."""
        if not self.leader and not self._stopping:
            self.raft.campaign()
            self._driver.process()

    async def _publish(self) -> None:
        """Tell the cluster our name and client URLs, until it has heard."""
        self._warn_of_new_name()
        member = rpc.Member(
            ID=self.member_id, name=self.config.name, clientURLs=self.config.client_urls
        )
        while True:
            deadline = self._deadline()
            try:
                await self.execute(Command.PUBLISH, member)
                break
            except RpcError as error:
                if self._stopping:
                    raise
                # Sooner it only was on its way when a snapshot or another leader came.
                if self._loop.time() >= deadline:
                    _log.warn("failed to publish local member to cluster", error=error.message)
        _log.info(
            "published local member to cluster through raft",
            local_member_id=f"{self.member_id:x}",
            cluster_id=f"{self.cluster_id:x}",
            publish_timeout=f"{self.config.request_timeout:g}s",
        )

    def _warn_of_new_name(self) -> None:
        """Say that the cluster knows this member by another name, which it is about to lose."""
        known = self.membership.members.get(self.member_id)
        if known and known.name not in ("", self.config.name):
            _log.warn(
                "the data directory is that of a member with another name; renaming the member",
                local_member_id=f"{self.member_id:x}",
                known_as=known.name,
                name=self.config.name,
            )

    def reach_members(self) -> None:
        """Connect to the other members; again is fine."""
        if self.network:
            self.network.removed.update(self.membership.removed)
        for member in self.membership.in_order():
            self._reach(member)

    def _reach(self, member: Member) -> None:
        if self.network:
            self.network.set_peer(member.id, member.peer_urls)

    def _every(self, seconds: float, work: Callable[[], None]) -> None:
        def fire() -> None:
            self._timers[slot] = self._loop.call_later(seconds, fire)
            work()

        slot = len(self._timers)
        self._timers.append(self._loop.call_later(seconds, fire))

    async def stop(self) -> None:
        """Finish what was proposed, hand leadership over, write everything, close."""
        if not self._stopping:
            await self.hand_over()
            self._stopping = True
            self.sweeper.stop()
            await self.committer.flush()
        self.close()

    async def hand_over(self) -> None:
        """Record the leases and let another voter lead, where this member leads."""
        if self._stopping or self._removed or not self.is_leader:
            return
        try:
            # Applied behind all that was proposed before it.
            await self.execute(Command.LEASE_CHECKPOINT, self._keeper.last_checkpoint())
            target = self._best_successor()
            if target:
                await self.move_leader(target)
        except RpcError as error:
            _log.warn("stopping without a clean hand-over", error=error.message)

    def _best_successor(self) -> int:
        """The other voter that has most of the log, or 0 when none is active."""
        status = self.raft.status()
        voters = [
            (progress.match, node)
            for node, progress in status.progress.items()
            if node != self.member_id
            and node in status.conf_state.voters
            and progress.recent_active
        ]
        return max(voters, default=(0, 0))[1]

    def close(self) -> None:
        """Stop the threads and close the files; what is not in the store is in the log."""
        self._halt()
        self._log.stop()
        self._storage.backend.close()
        self._storage.lock.release()

    def post_failure(self, error: BaseException) -> None:
        """Report, from a disk thread, that it cannot go on."""
        error = explained(error, self._storage.scratch)
        self._loop.call_soon_threadsafe(self.failed, error)

    def failed(self, error: BaseException) -> None:
        """Stop serving: what the disk holds can no longer be trusted. Runs on the loop, once."""
        if self._stopping:
            return
        _log.error("storage failed; the member stops", error=str(error))
        self._halt()
        self._on_failure(error)

    def _halt(self) -> None:
        self._stopping = True
        self._driver.stop()
        for timer in self._timers:
            timer.cancel()
        self.committer.stop()
        self.sweeper.stop()
        self._shipper.stop()
        self._reads.fail_all(Failure.STOPPED)
        self._proposals.stop()
        self._reconfigurer.stop()

    # Reads

    @property
    def reads(self) -> ReadQueue:
        """The linearizable reads on their way."""
        return self._reads

    @property
    def proposals(self) -> Proposals:
        """The commands on their way."""
        return self._proposals

    @property
    def log(self) -> LogWriter:
        """The write-ahead log's writer."""
        return self._log

    @property
    def installing(self) -> bool:
        """Whether a snapshot is being installed."""
        return self._driver.installing

    @property
    def keeper(self) -> LeaseKeeper:
        """The leader's duties for leases."""
        return self._keeper

    @property
    def is_leader(self) -> bool:
        """Whether this member leads."""
        return self.leader == self.member_id

    @property
    def keeps_leases(self) -> bool:
        """Whether this member leads and has applied what earlier leaders did to leases."""
        return self.leader == self.member_id and self.committer.index >= self._leads_from

    @property
    def can_read(self) -> bool:
        """Whether local state is linearizable at once: the only voter has applied all it answered.

        A cluster of several needs a ReadIndex round instead (thesis 6.4).
        """
        return self._alone and self.leader == self.member_id and not self._stopping

    def read_later(self, responder: Responder, read: Callable[[], bytes]) -> None:
        """Answer a linearizable read once local state is recent enough (thesis 6.4)."""
        if self._stopping:
            raise Failure.STOPPED.error()
        self._reads.add(self._deadline(), responder, read)

    async def read_barrier(self) -> None:
        """Wait until local state is linearizable. Raises RpcError."""
        if not self.can_read:
            responder = FutureResponder()
            self.read_later(responder, lambda: b"")
            await responder.future

    # Proposals

    def check_size(self, payload: bytes, caller: Identity | None = None) -> None:
        """Raise when a request is too large for the log, or there is too much to do already."""
        envelope = ENVELOPE_BYTES + len(caller.user) + SIGNATURE_BYTES if caller else ENVELOPE_BYTES
        if len(payload) + envelope > self.config.max_request_bytes:
            raise Failure.REQUEST_TOO_LARGE.error()
        if self.store.backend.uncommitted_bytes > UNCOMMITTED_BYTES_MAX:
            raise Failure.TOO_MANY_REQUESTS.error()

    async def change_member(self, action: Action, member: Member) -> None:
        """Change the membership through the log. Raises RpcError."""
        if self._stopping:
            raise Failure.STOPPED.error()
        await self._reconfigurer.change(action, member)

    async def move_leader(self, target: int) -> None:
        """Hand leadership to another voter and wait until it leads. Raises RpcError."""
        if not self.is_leader:
            raise Failure.NOT_LEADER.error()
        if target not in self.raft.status().conf_state.voters:
            raise Failure.BAD_TRANSFEREE.error()
        if target == self.member_id:
            return
        self.raft.transfer_leader(target)
        self._driver.process()
        deadline = self._deadline()
        while self.leader != target:
            if self._loop.time() > deadline:
                raise Failure.TRANSFER_TIMEOUT.error()
            await asyncio.sleep(self.config.heartbeat_interval / 10)

    # The network

    def receive(self, messages: Sequence[RaftMessage]) -> None:
        """Take messages of another member."""
        if self._stopping:
            return
        try:
            for message in messages:
                self.raft.step(message)
        except InvariantError as error:
            self.failed(error)
            return
        self._driver.process()

    def unreachable(self, peer_id: int) -> None:
        """Messages to a member were probably lost."""
        self.raft.report_unreachable(peer_id)

    def snapshot_sent(self, peer_id: int, ok: bool) -> None:
        """A snapshot has arrived, or will not."""
        self.raft.report_snapshot(peer_id, ok)
        self._driver.process()

    async def snapshot_received(self, message: RaftMessage, path: Path) -> None:
        """Take a snapshot whose file has arrived; returns when it is in place, or not wanted."""
        self._shipper.received(message, path)
        self.receive([message])
        await self._driver.settled()

    async def forwarded(self, kind: str, payload: bytes) -> bytes:
        """Answer what another member asks. Raises RpcError."""
        answer = self.answers.get(kind)
        if answer is None:
            raise RpcError(Code.UNIMPLEMENTED, f"pykvd: unknown question {kind}")
        return await answer(payload)

    def members(self) -> list[bytes]:
        """The members, encoded, for one that wants to join."""
        return [member.encode() for member in self.membership.in_order()]

    def removed_from_cluster(self) -> None:
        """Another member says that this one was removed."""
        self._leave()

    def _leave(self) -> None:
        _log.warn("this member has been removed from the cluster; its data cannot be used again")
        self._on_removed()

    def send(self, messages: Sequence[RaftMessage], *, at_once: bool = False) -> None:
        """Send messages without files (Owner)."""
        if self.network:
            self.network.send(messages, at_once=at_once)

    def send_snapshot(self, message: RaftMessage) -> None:
        """Send the present state (Owner)."""
        if self.network:
            self._shipper.send(message, self.network)

    async def install(self, snapshot: Snapshot) -> None:
        """Replace the state by the received one (Owner)."""
        await self._shipper.install(snapshot, self._reload)
        self._configured(snapshot.conf_state)
        for member in self.membership.in_order():
            self._reach(member)

    def _reload(self) -> None:
        """Read the store anew: it is another member's."""
        seen = self.store.revision
        self.store.load()
        self.sweeper.resume()
        self.applier.load()
        self.hub.resync(seen)
        if self.lessor.primary:
            self.lessor.demote()
        self._proposals.overtaken()

    async def ask_leader(self, kind: str, payload: bytes) -> bytes:
        """Ask the leader what only it knows; waits for one. Raises RpcError."""
        deadline = self._deadline()
        while not self.leader:
            if self._loop.time() > deadline:
                raise Failure.NO_LEADER.error()
            await asyncio.sleep(self.config.heartbeat_interval)
        if not self.network:
            raise Failure.NO_LEADER.error()
        left = deadline - self._loop.time()
        return await self.network.call(self.leader, kind, payload, left)

    # What Raft decides (Owner)

    def _tick(self) -> None:
        now = self._loop.time()
        late = now - self._ticked > 2 * self.config.heartbeat_interval
        self.late_ticks += late and self.is_leader
        self._ticked = now
        self.raft.tick()
        self._driver.process()
        self._reads.tick(now)
        self._proposals.tick(now)

    def term_changed(self, term: int) -> None:
        """A new term has begun."""
        self.header.set_term(term)

    def role_changed(self, state: SoftState) -> None:
        """Only the leader keeps the clocks of leases."""
        before, self.leader = self.leader, state.leader
        if before != self.leader:
            self.leader_changes += bool(self.leader)
            self._proposals.leader_changed()
        if before in self.membership.removed and before != self.member_id:
            # It led until the others knew of its removal (thesis 4.2.2).
            self._part_with(before)
        if self._removed and state.role is not Role.LEADER:
            self._leave()
        if state.role is Role.LEADER and not self.lessor.primary:
            self._leads_from = self.raft.status().last_index
            self.lessor.promote(self._loop.time(), self.config.election_timeout)
        elif state.role is not Role.LEADER and self.lessor.primary:
            self.lessor.demote()
            self._proposals.drop_duties()

    def reads_confirmed(self, states: Sequence[ReadState]) -> None:
        """Reads may run once their index is applied."""
        self._reads.confirm(states)

    def turn_done(self) -> None:
        """Everything is applied: tell the watchers, run the reads, go on with proposals."""
        self.hub.flush()
        self._reads.answer(self.committer.index)
        self._proposals.arm()

    def apply(self, entries: Sequence[Entry]) -> None:
        """Apply committed entries."""
        for entry in entries:
            if entry.kind is EntryKind.CONF_CHANGE:
                self._apply_change(ConfChange.decode(entry.data))
            elif entry.data:
                origin = self._batches.apply(entry.index, entry.data)
                if self.is_leader and self.network and origin != self.member_id:
                    self.network.hurry(origin)
        self.raft.applied_to(entries[-1].index)
        self.committer.applied(entries[-1].index, entries[-1].term)

    def _apply_change(self, raft_change: ConfChange) -> None:
        state, change = self._reconfigurer.apply(raft_change)
        self._storage.backend.set("meta", CONF_STATE_KEY, state.encode())
        self._configured(state)
        if change:
            self._follow_change(change)

    def _configured(self, state: ConfState) -> None:
        self._alone = state.members() == (self.member_id,)
        self.is_learner = self.member_id in state.learners

    def _follow_change(self, change: MemberChange) -> None:
        member = self.membership.members.get(change.member.id)
        self.promotions += change.action is Action.PROMOTE and self.is_leader
        _log.info(
            "applied a membership change",
            action=change.action.name.lower(),
            member_id=f"{change.member.id:x}",
            peer_urls=change.member.peer_urls,
        )
        if member is not None:
            self._reach(member)
        elif change.member.id == self.member_id:
            # A leader stays until a majority of those left knows (thesis 4.2.2).
            self._removed = True
            if not self.is_leader:
                self._leave()
        elif change.member.id != self.leader:
            self._part_with(change.member.id)

    def _part_with(self, member_id: int) -> None:
        if self.network:
            self.network.removed.add(member_id)
            self.network.remove_peer(member_id)
