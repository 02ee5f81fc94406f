"""Apply: what a committed command does to the state machine.

Synchronous and deterministic: the same entries give the same store, leases and alarms on every
member. A command that is refused raises RpcError and has changed nothing.
"""

from collections.abc import Callable
from functools import partial
from struct import Struct

from google.protobuf.message import Message

from pykvd.auth.identity import Identity
from pykvd.auth.store import AuthStore
from pykvd.auth.tokens import DEFAULT_TTL, SimpleTokens, Tokens
from pykvd.cluster.membership import Member, MemberChange, Membership
from pykvd.errors import Failure
from pykvd.lease.lessor import MAX_TTL, Lessor
from pykvd.mvcc.errors import CompactedError, FutureRevisionError
from pykvd.mvcc.record import varint
from pykvd.mvcc.store import Event, Store
from pykvd.mvcc.timeline import TABLE, Timeline
from pykvd.node import txn
from pykvd.node.auth_commands import AuthCommands
from pykvd.node.commands import Command
from pykvd.node.header import HeaderEncoder
from pykvd.node.permissions import Permissions
from pykvd.node.validate import puts_of
from pykvd.node.writes import Writer
from pykvd.pb import rpc_pb2 as rpc

Handler = Callable[..., bytes]

_LEASE = Struct(">qq")
_ID = Struct(">q")
_ALARM = Struct(">Qi")
_DOWNGRADE_KEY = b"downgrade"


class Applier:
    """The state machine.

    `clock` gives monotonic seconds, for the clocks of leases. `notify(revision, events)` is told
    of every change of keys, `compacted()` of every compaction.
    """

    def __init__(
        self,
        store: Store,
        header: HeaderEncoder,
        *,
        min_lease_ttl: int,
        max_learners: int = 1,
        clock: Callable[[], float],
        tokens: Tokens | None = None,
    ) -> None:
        self.store = store
        self.lessor = Lessor()
        self.alarms: set[tuple[int, int]] = set()
        self.membership = Membership(max_learners)
        self.auth = AuthStore(store.backend.set)
        self.tokens: Tokens = tokens or SimpleTokens(DEFAULT_TTL, clock)
        self.permissions = permissions = Permissions(self.auth, self.lessor)
        self.auth_commands = AuthCommands(self.auth, self.tokens)
        self.timeline = Timeline()
        self.header = header
        self.notify: Callable[[int, list[Event]], None] = lambda _revision, _events: None
        self.compacted: Callable[[], None] = lambda: None
        self._clock = clock
        self._min_lease_ttl = min_lease_ttl
        self._writer = Writer(store, self.lessor)
        self._alarmed = self._space_exceeded = self._corrupt = False
        #: The version of the downgrade that was announced, or nothing.
        self.downgrade_target = ""
        self._handlers: dict[Command, Callable[..., bytes]] = {
            Command.PUT: self._put,
            Command.DELETE_RANGE: self._delete_range,
            Command.TXN: self._txn,
            Command.COMPACT: self._compact,
            Command.LEASE_GRANT: self._lease_grant,
            Command.LEASE_REVOKE: self._lease_revoke,
            Command.LEASE_CHECKPOINT: self._lease_checkpoint,
            Command.ALARM: self._alarm,
            Command.PUBLISH: self._publish,
            Command.DOWNGRADE: self._downgrade,
        }
        self._run_auth: dict[Command, Handler] = {
            command: partial(self.auth_commands.apply, command)
            for command in Command
            if command not in self._handlers
        }
        self._checks: dict[Command, Callable[..., None]] = {
            Command.PUT: permissions.check_put,
            Command.DELETE_RANGE: permissions.check_delete,
            Command.TXN: permissions.check_txn,
            Command.LEASE_REVOKE: permissions.check_revoke,
        }

    def load(self) -> None:
        """Fill leases, alarms and members from the tables of a store that is loaded."""
        backend = self.store.backend
        self.lessor.leases.clear()
        self.alarms.clear()
        self.membership.members.clear()
        for key, value in backend.table("lease"):
            ttl, remaining = _LEASE.unpack(value)
            self.lessor.grant(_ID.unpack(key)[0], ttl, 0.0, remaining)
        for name, lease_id in self.store.lease_of.items():
            if lease_id in self.lessor.leases:
                self.lessor.attach(lease_id, name)
        for key, _ in backend.table("alarm"):
            self.alarms.add(_ALARM.unpack(key))
        self._alarms_changed()
        self.downgrade_target = dict(backend.table("meta")).get(_DOWNGRADE_KEY, b"").decode()
        self.auth.load(backend.table)
        # Whose password was changed in between, nobody will say.
        self.tokens.forget_all()
        self.timeline.load(backend.table(TABLE))
        for _, value in backend.table("member"):
            member = Member.decode(value)
            self.membership.members[member.id] = member
        self.membership.removed = {
            int.from_bytes(key, "big") for key, _ in backend.table("removed")
        }

    def wrap(self, wrapper: Callable[[Command, Handler], Handler]) -> None:
        """Have every command run through what `wrapper` makes of its handler."""
        self._handlers = {each: wrapper(each, run) for each, run in self._handlers.items()}
        self._run_auth = {each: wrapper(each, run) for each, run in self._run_auth.items()}

    def apply(self, command: Command, request: Message, caller: Identity | None = None) -> bytes:
        """Run one command for `caller`; returns the serialized response. Raises RpcError."""
        handler = self._handlers.get(command)
        if handler is None:
            body = self._run_auth[command](request, caller)
            return self.header(self.store.revision) + body
        if self._alarmed:
            self._check_alarms(command, request)
        if self.auth.enabled and command in self._checks:
            self._checks[command](caller, request)
        return handler(request)

    def _check_alarms(self, command: Command, request: Message) -> None:
        """Raise for what may not be done under an alarm; that comes before any right."""
        if self._corrupt and command not in (Command.ALARM, Command.PUBLISH):
            raise Failure.CORRUPT.error()
        if not self._space_exceeded:
            return
        grows = command in (Command.PUT, Command.LEASE_GRANT)
        if isinstance(request, rpc.TxnRequest):
            grows = bool(puts_of((*request.success, *request.failure)))
        if grows:
            raise Failure.NO_SPACE.error()

    def _end(self) -> None:
        events = self.store.end()
        if events:
            self.notify(self.store.revision, events)

    def changed(self, time_ns: int, before: int) -> None:
        """A batch made at `time_ns` has changed keys; the revision was `before` until then."""
        if self.timeline.is_due(time_ns):
            self.store.backend.set(TABLE, *self.timeline.note(time_ns, before))
            self._forget_times(0)

    def _forget_times(self, revision: int) -> None:
        for key in self.timeline.forget(revision):
            self.store.backend.set(TABLE, key, None)

    # Keys

    def _put(self, request: rpc.PutRequest) -> bytes:
        store, key = self.store, request.key
        if not (
            request.lease
            or request.prev_kv
            or request.ignore_value
            or request.ignore_lease
            or key in store.lease_of
        ):
            event = store.put_alone(key, request.value)
            self.notify(store.revision, [event])
            return self.header(store.revision)
        self._writer.check_put(request)
        self.store.begin()
        previous = self._writer.put(request)
        self._end()
        return self.header(self.store.revision) + previous

    def _delete_range(self, request: rpc.DeleteRangeRequest) -> bytes:
        self.store.begin()
        body = self._writer.delete_range(request)
        self._end()
        return self.header(self.store.revision) + body

    def _txn(self, request: rpc.TxnRequest) -> bytes:
        planned = txn.plan(self.store, request)
        txn.check_plan(self.store, planned, self._writer)
        self.store.begin()
        body = txn.run(self.store, planned, self._writer)
        self._end()
        return self.header(self.store.revision) + body

    def read_txn(self, request: rpc.TxnRequest) -> bytes:
        """Run a transaction that only reads, outside the log."""
        planned = txn.plan(self.store, request)
        txn.check_plan(self.store, planned, None)
        return self.header(self.store.revision) + txn.run(self.store, planned, None)

    def _compact(self, request: rpc.CompactionRequest) -> bytes:
        try:
            self.store.compact(request.revision)
        except FutureRevisionError:
            raise Failure.FUTURE_REVISION.error() from None
        except CompactedError:
            raise Failure.COMPACTED.error() from None
        self._forget_times(request.revision)
        self.compacted()
        return self.header(self.store.revision)

    # Leases

    def _lease_grant(self, request: rpc.LeaseGrantRequest) -> bytes:
        if request.TTL > MAX_TTL:
            raise Failure.LEASE_TTL_TOO_LARGE.error()
        if request.ID in self.lessor.leases:
            raise Failure.LEASE_EXISTS.error()
        ttl = max(request.TTL, self._min_lease_ttl)
        self.lessor.grant(request.ID, ttl, self._clock())
        self._save_lease(request.ID)
        identity = b"\x10" + varint(request.ID) + b"\x18" + varint(ttl)
        return self.header(self.store.revision) + identity

    def _save_lease(self, lease_id: int) -> None:
        lease = self.lessor.leases[lease_id]
        value = _LEASE.pack(lease.ttl, lease.remaining)
        self.store.backend.set("lease", _ID.pack(lease_id), value)

    def _lease_revoke(self, request: rpc.LeaseRevokeRequest) -> bytes:
        if request.ID not in self.lessor.leases:
            raise Failure.LEASE_NOT_FOUND.error()
        keys = self.lessor.revoke(request.ID)
        self.store.begin()
        self._writer.delete(keys)
        self._end()
        self.store.backend.set("lease", _ID.pack(request.ID), None)
        return self.header(self.store.revision)

    def _lease_checkpoint(self, request: rpc.LeaseCheckpointRequest) -> bytes:
        for checkpoint in request.checkpoints:
            if checkpoint.ID in self.lessor.leases:
                self.lessor.checkpoint(checkpoint.ID, checkpoint.remaining_TTL, self._clock())
                self._save_lease(checkpoint.ID)
        return b""

    # Alarms and members

    def _alarm(self, request: rpc.AlarmRequest) -> bytes:
        alarm = (request.memberID, request.alarm)
        match request.action:
            case rpc.AlarmRequest.GET:
                wanted = (each for each in self.alarms if request.alarm in (rpc.NONE, each[1]))
                shown = sorted(wanted)
            case rpc.AlarmRequest.ACTIVATE if request.alarm != rpc.NONE:
                self.alarms.add(alarm)
                self.store.backend.set("alarm", _ALARM.pack(*alarm), b"")
                shown = [alarm]
            case rpc.AlarmRequest.DEACTIVATE if alarm in self.alarms:
                self.alarms.remove(alarm)
                self.store.backend.set("alarm", _ALARM.pack(*alarm), None)
                shown = [alarm]
            case _:
                shown = []
        self._alarms_changed()
        members = [rpc.AlarmMember(memberID=each, alarm=kind) for each, kind in shown]  # type: ignore[arg-type]  # open enum
        body = rpc.AlarmResponse(alarms=members).SerializeToString()
        return self.header(self.store.revision) + body

    def _alarms_changed(self) -> None:
        kinds = {kind for _, kind in self.alarms}
        self._space_exceeded = rpc.NOSPACE in kinds
        self._corrupt = rpc.CORRUPT in kinds
        self._alarmed = self._space_exceeded or self._corrupt

    def _downgrade(self, request: rpc.DowngradeRequest) -> bytes:
        """Announce a downgrade to a version, or call it off."""
        wanted = request.version if request.action == rpc.DowngradeRequest.ENABLE else ""
        if wanted and self.downgrade_target:
            raise Failure.DOWNGRADE_IN_PROGRESS.error()
        self.downgrade_target = wanted
        self.store.backend.set("meta", _DOWNGRADE_KEY, wanted.encode() or None)
        return self.header(self.store.revision)

    def _publish(self, request: rpc.Member) -> bytes:
        member = self.membership.members.get(request.ID)
        if member is not None:
            member = member.published(request.name, request.clientURLs)
            self.membership.members[member.id] = member
            self._save_member(member)
        return b""

    def change_member(self, change: MemberChange) -> Failure | None:
        """Make a membership change, or say why it cannot be made now."""
        refusal = self.membership.refusal(change)
        if refusal is not None:
            return refusal
        member = self.membership.apply(change)
        if member is not None:
            self._save_member(member)
            return None
        key = change.member.id.to_bytes(8, "big")
        self.store.backend.set("member", key, None)
        self.store.backend.set("removed", key, b"")
        return None

    def _save_member(self, member: Member) -> None:
        self.store.backend.set("member", member.id.to_bytes(8, "big"), member.encode())
