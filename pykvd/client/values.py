"""What calls return: small immutable values, keys and values as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pykvd.pb import kv_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykvd.pb import rpc_pb2 as rpc


class KeyValue(NamedTuple):
    """A key as it is, or was at some revision."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    """Number of puts since it was created; 1 for a new key."""
    lease: int
    """Id of the lease it is attached to; 0 for none."""

    @classmethod
    def of(cls, found: kv_pb2.KeyValue) -> KeyValue:
        """From the message."""
        return cls(
            found.key,
            found.value,
            found.create_revision,
            found.mod_revision,
            found.version,
            found.lease,
        )


def previous(message: rpc.PutResponse | kv_pb2.Event) -> KeyValue | None:
    """The `prev_kv` of a message, if it has one."""
    return KeyValue.of(message.prev_kv) if message.HasField("prev_kv") else None


class Event(NamedTuple):
    """One change of a key. A deletion has only `key` and `revision`."""

    kv: KeyValue
    deleted: bool
    previous: KeyValue | None

    @property
    def key(self) -> bytes:
        """The key that changed."""
        return self.kv.key

    @property
    def value(self) -> bytes:
        """Its new value; empty for a deletion."""
        return self.kv.value

    @property
    def revision(self) -> int:
        """The revision that the change made."""
        return self.kv.mod_revision

    @property
    def created(self) -> bool:
        """Whether the key did not exist before."""
        return not self.deleted and self.kv.create_revision == self.kv.mod_revision

    @classmethod
    def of(cls, event: kv_pb2.Event) -> Event:
        """From the message."""
        return cls(KeyValue.of(event.kv), event.type == kv_pb2.Event.DELETE, previous(event))


@dataclass(frozen=True, slots=True)
class RangeResult:
    """The answer to a range: iterate it, index it, or take its `len`."""

    revision: int
    """The store's revision when it was read."""
    kvs: list[KeyValue]
    count: int
    """All keys in the range, whatever the limit."""
    more: bool
    """Whether the limit cut it."""

    def __iter__(self) -> Iterator[KeyValue]:
        return iter(self.kvs)

    def __len__(self) -> int:
        return len(self.kvs)

    def __getitem__(self, index: int) -> KeyValue:
        return self.kvs[index]

    @classmethod
    def of(cls, found: rpc.RangeResponse) -> RangeResult:
        """From the message."""
        kvs = [KeyValue.of(item) for item in found.kvs]
        return cls(found.header.revision, kvs, found.count, found.more)


class PutResult(NamedTuple):
    """The answer to a put."""

    revision: int
    previous: KeyValue | None = None

    @classmethod
    def of(cls, done: rpc.PutResponse) -> PutResult:
        """From the message."""
        return cls(done.header.revision, previous(done))


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """The answer to a deletion; true if anything was deleted."""

    revision: int
    deleted: int
    previous: list[KeyValue]

    def __bool__(self) -> bool:
        return self.deleted > 0

    @classmethod
    def of(cls, done: rpc.DeleteRangeResponse) -> DeleteResult:
        """From the message."""
        kvs = [KeyValue.of(item) for item in done.prev_kvs]
        return cls(done.header.revision, done.deleted, kvs)


@dataclass(frozen=True, slots=True)
class TxnResult:
    """The answer to a transaction; true if its conditions held.

    `responses` has one item for each operation carried out: RangeResult for `get`, PutResult,
    DeleteResult, TxnResult.
    """

    revision: int
    succeeded: bool
    responses: list[RangeResult | PutResult | DeleteResult | TxnResult]

    def __bool__(self) -> bool:
        return self.succeeded

    @classmethod
    def of(cls, done: rpc.TxnResponse) -> TxnResult:
        """From the message."""
        return cls(done.header.revision, done.succeeded, [_response(op) for op in done.responses])


def _response(op: rpc.ResponseOp) -> RangeResult | PutResult | DeleteResult | TxnResult:
    kind = op.WhichOneof("response")
    if kind == "response_range":
        return RangeResult.of(op.response_range)
    if kind == "response_put":
        return PutResult.of(op.response_put)
    if kind == "response_delete_range":
        return DeleteResult.of(op.response_delete_range)
    return TxnResult.of(op.response_txn)


class LeaseInfo(NamedTuple):
    """What the server knows about a lease; times in seconds."""

    id: int
    ttl: int
    """Time left; -1 if there is no such lease."""
    granted_ttl: int
    keys: list[bytes]


class Member(NamedTuple):
    """One member of the cluster."""

    id: int
    name: str
    """Empty until it has been started."""
    peer_urls: list[str]
    client_urls: list[str]
    is_learner: bool

    @classmethod
    def of(cls, found: rpc.Member) -> Member:
        """From the message."""
        urls = list(found.peerURLs), list(found.clientURLs)
        return cls(found.ID, found.name, *urls, found.isLearner)


class Status(NamedTuple):
    """What one member says about itself; sizes in bytes."""

    member_id: int
    cluster_id: int
    revision: int
    version: str
    leader: int
    """The member that leads; 0 for none."""
    raft_term: int
    raft_index: int
    raft_applied_index: int
    db_size: int
    db_size_in_use: int
    db_size_quota: int
    is_learner: bool
    errors: list[str]
    """Active alarms, as text."""

    @classmethod
    def of(cls, found: rpc.StatusResponse) -> Status:
        """From the message."""
        return cls(
            member_id=found.header.member_id,
            cluster_id=found.header.cluster_id,
            revision=found.header.revision,
            version=found.version,
            leader=found.leader,
            raft_term=found.raftTerm,
            raft_index=found.raftIndex,
            raft_applied_index=found.raftAppliedIndex,
            db_size=found.dbSize,
            db_size_in_use=found.dbSizeInUse,
            db_size_quota=found.dbSizeQuota,
            is_learner=found.isLearner,
            errors=list(found.errors),
        )


class HashResult(NamedTuple):
    """A hash of the history, equal on members that agree."""

    hash: int
    revision: int
    """The store's revision when it was taken."""
    compact_revision: int


class Alarm(NamedTuple):
    """An alarm of a member: `NOSPACE` or `CORRUPT`."""

    member_id: int
    kind: str


class Permission(NamedTuple):
    """What a role allows: `read`, `write` or `readwrite` of a range."""

    kind: str
    key: bytes
    range_end: bytes


class AuthStatus(NamedTuple):
    """Whether logins are asked for."""

    enabled: bool
    revision: int
