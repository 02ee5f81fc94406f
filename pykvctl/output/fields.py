"""Fields output: one `"Name" : value` a line; strings quoted as Go quotes them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pykvctl.gotext.durations import format_duration
from pykvctl.gotext.quoting import quote
from pykvctl.output.printer import EndpointHash, EndpointHealth, EndpointStatus, Printer
from pykvctl.output.rows import alarm_name, yes_no

if TYPE_CHECKING:
    from pykvctl.output.printer import AuthChange
    from pykvctl.watcher import WatchUpdate
    from pykvd.pb import kv_pb2 as kvpb
    from pykvd.pb import rpc_pb2 as rpc
    from pykvd.restore import SnapshotHash, SnapshotStatus

Lines = list[str]

PERMISSION_TYPES = ("READ", "WRITE", "READWRITE")


def _field(name: str, value: bytes | str | int) -> str:
    if isinstance(value, bool):
        return f'"{name}" : {yes_no(value)}'
    if isinstance(value, int):
        return f'"{name}" : {value}'
    return f'"{name}" : {quote(value)}'


def _pair(pair: "kvpb.KeyValue", prefix: str = "") -> Lines:
    return [
        _field(f"{prefix}Key", pair.key),
        _field(f"{prefix}CreateRevision", pair.create_revision),
        _field(f"{prefix}ModRevision", pair.mod_revision),
        _field(f"{prefix}Version", pair.version),
        _field(f"{prefix}Value", pair.value),
        _field(f"{prefix}Lease", pair.lease),
    ]


class FieldsPrinter(Printer):
    """For eyes and for grep."""

    def _print(self, lines: Lines) -> None:
        self.streams.line("\n".join(lines))

    def _id(self, name: str, value: int) -> str:
        return f'"{name}" : {value:x}' if self.hex else _field(name, value)

    def _lease_id(self, value: int) -> str:
        return f'"ID" : {value:016x}' if self.hex else _field("ID", value)

    def _header(self, header: "rpc.ResponseHeader") -> Lines:
        lines = [self._id("ClusterID", header.cluster_id), self._id("MemberID", header.member_id)]
        if header.revision:
            lines.append(_field("Revision", header.revision))
        return [*lines, _field("RaftTerm", header.raft_term)]

    def put(self, answer: "rpc.PutResponse") -> None:
        """The header, then the previous pair."""
        self._print(self._put(answer))

    def _put(self, answer: "rpc.PutResponse") -> Lines:
        lines = self._header(answer.header)
        return lines + (_pair(answer.prev_kv, "Prev") if answer.HasField("prev_kv") else [])

    def get(self, answer: "rpc.RangeResponse", *, value_only: bool = False) -> None:  # noqa: ARG002
        """The header, the pairs, and whether there are more."""
        self._print(self._get(answer))

    def _get(self, answer: "rpc.RangeResponse") -> Lines:
        lines = self._header(answer.header)
        for pair in answer.kvs:
            lines += _pair(pair)
        return [*lines, _field("More", answer.more), _field("Count", answer.count)]

    def delete(self, answer: "rpc.DeleteRangeResponse") -> None:
        """The header, the number of deleted pairs, and the pairs."""
        self._print(self._delete(answer))

    def _delete(self, answer: "rpc.DeleteRangeResponse") -> Lines:
        lines = [*self._header(answer.header), _field("Deleted", answer.deleted)]
        for pair in answer.prev_kvs:
            lines += _pair(pair, "Prev")
        return lines

    def txn(self, answer: "rpc.TxnResponse") -> None:
        """The header, the outcome, and the fields of each answer."""
        lines = [*self._header(answer.header), _field("Succeeded", answer.succeeded)]
        for op in answer.responses:
            kind = op.WhichOneof("response")
            if kind == "response_put":
                lines += self._put(op.response_put)
            elif kind == "response_range":
                lines += self._get(op.response_range)
            elif kind == "response_delete_range":
                lines += self._delete(op.response_delete_range)
        self._print(lines)

    def watch(self, update: "WatchUpdate") -> None:
        """The header, then kind and pairs of each event."""
        lines = self._header(update.response.header)
        for event in update.response.events:
            lines.append(f'"Type" : {"DELETE" if event.type else "PUT"}')
            if event.HasField("prev_kv"):
                lines += _pair(event.prev_kv, "Prev")
            lines += _pair(event.kv)
        self._print(lines)

    def lease_grant(self, answer: "rpc.LeaseGrantResponse") -> None:
        """The header and the lease."""
        self._print(
            [*self._header(answer.header), self._lease_id(answer.ID), _field("TTL", answer.TTL)]
        )

    def lease_revoke(self, lease_id: int, answer: "rpc.LeaseRevokeResponse") -> None:  # noqa: ARG002
        """The header."""
        self._print(self._header(answer.header))

    def lease_keep_alive(self, answer: "rpc.LeaseKeepAliveResponse") -> None:
        """The header and the lease."""
        self._print(
            [*self._header(answer.header), self._lease_id(answer.ID), _field("TTL", answer.TTL)]
        )

    def lease_time_to_live(self, answer: "rpc.LeaseTimeToLiveResponse", *, keys: bool) -> None:  # noqa: ARG002
        """The header, the lease and its keys."""
        lines = [
            *self._header(answer.header),
            self._lease_id(answer.ID),
            _field("TTL", answer.TTL),
            _field("GrantedTTL", answer.grantedTTL),
        ]
        self._print(lines + [_field("Key", key) for key in answer.keys])

    def lease_list(self, answer: "rpc.LeaseLeasesResponse") -> None:
        """The header and the IDs."""
        self._print(
            self._header(answer.header) + [self._lease_id(lease.ID) for lease in answer.leases]
        )

    def member_list(self, answer: "rpc.MemberListResponse") -> None:
        """The header, then a paragraph a member."""
        lines = self._header(answer.header)
        for member in answer.members:
            lines += [self._id("ID", member.ID), _field("Name", member.name)]
            lines += [_field("PeerURL", url) for url in member.peerURLs]
            lines += [_field("ClientURL", url) for url in member.clientURLs]
            lines += [_field("IsLearner", member.isLearner), ""]
        self._print(lines)

    def alarm(self, answer: "rpc.AlarmResponse") -> None:
        """The header, then a paragraph an alarm."""
        lines = self._header(answer.header)
        for item in answer.alarms:
            lines += [self._id("MemberID", item.memberID)]
            lines += [f'"AlarmType" : {alarm_name(item.alarm)}', ""]
        self._print(lines)

    def endpoint_health(self, items: Sequence[EndpointHealth]) -> None:
        """A paragraph an endpoint; took and error are not quoted."""
        for item in items:
            self._print(
                [
                    _field("Endpoint", item.endpoint),
                    _field("Health", item.healthy),
                    f'"Took" : {format_duration(item.took)}',
                    f'"Error" : {item.error}',
                    "",
                ]
            )

    def endpoint_status(self, items: Sequence[EndpointStatus]) -> None:
        """A paragraph an endpoint."""
        for item in items:
            self._print(self._status(item))

    def _status(self, item: EndpointStatus) -> Lines:
        status = item.status
        return [
            *self._header(status.header),
            _field("Version", status.version),
            _field("StorageVersion", status.storageVersion),
            _field("DBSize", status.dbSize),
            _field("DBSizeInUse", status.dbSizeInUse),
            _field("DBSizeQuota", status.dbSizeQuota),
            _field("Leader", status.leader),
            _field("IsLearner", status.isLearner),
            _field("RaftIndex", status.raftIndex),
            _field("RaftTerm", status.raftTerm),
            _field("RaftAppliedIndex", status.raftAppliedIndex),
            f'"Errors" : [{" ".join(status.errors)}]',
            _field("Endpoint", item.endpoint),
            _field("DowngradeTargetVersion", status.downgradeInfo.targetVersion),
            _field("DowngradeEnabled", status.downgradeInfo.enabled),
            "",
        ]

    def endpoint_hash(self, items: Sequence[EndpointHash]) -> None:
        """A paragraph an endpoint."""
        for item in items:
            self._print(
                [
                    *self._header(item.answer.header),
                    _field("Endpoint", item.endpoint),
                    _field("Hash", item.answer.hash),
                    _field("HashRevision", item.answer.hash_revision),
                    "",
                ]
            )

    def snapshot_status(self, status: "SnapshotStatus") -> None:
        """Five lines; there is no header, and the version stands without quotes."""
        self._print(
            [
                _field("Hash", status.hash),
                _field("Revision", status.revision),
                _field("Keys", status.total_keys),
                _field("Size", status.total_size),
                f'"Version" : {status.version}',
            ]
        )

    def snapshot_hash(self, answer: "SnapshotHash") -> None:
        """Three lines."""
        self._print(
            [
                _field("Hash", answer.hash),
                _field("Hash revision", answer.revision),
                _field("Compact revision", answer.compact_revision),
            ]
        )

    def auth_change(self, done: str, answer: "AuthChange") -> None:  # noqa: ARG002
        """The header."""
        self._print(self._header(answer.header))

    def role_get(self, name: str, answer: "rpc.AuthRoleGetResponse") -> None:  # noqa: ARG002
        """The header, then three lines a permission."""
        lines = self._header(answer.header)
        for permission in answer.perm:
            lines += [
                f'"PermType" :  {PERMISSION_TYPES[permission.permType]}',
                _field("Key", permission.key),
                _field("RangeEnd", permission.range_end),
            ]
        self._print(lines)

    def role_list(self, answer: "rpc.AuthRoleListResponse") -> None:
        """The header, then all names on one line."""
        self._print(
            [*self._header(answer.header), " ".join(['"Roles" :', *map(quote, answer.roles)])]
        )
