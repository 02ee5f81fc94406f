"""Simple output: keys and values on lines of their own, raw or in hexadecimal."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pykvctl.gotext.durations import format_duration
from pykvctl.gotext.quoting import quote
from pykvctl.output.printer import EndpointHash, EndpointHealth, EndpointStatus, Printer
from pykvctl.output.rows import (
    Rows,
    alarm_name,
    hash_rows,
    member_rows,
    snapshot_hash_rows,
    snapshot_rows,
    status_rows,
    yes_no,
)
from pykvctl.ranges import ZERO, prefix_end
from pykvctl.streams import encode

if TYPE_CHECKING:
    from pykvctl.output.printer import AuthChange, MemberChange
    from pykvctl.watcher import WatchUpdate
    from pykvd.pb import auth_pb2 as authpb
    from pykvd.pb import kv_pb2 as kvpb
    from pykvd.pb import rpc_pb2 as rpc
    from pykvd.restore import SnapshotHash, SnapshotStatus

ROOT_ROLE = "root"
# authpb.Permission.Type: READ 0, WRITE 1, READWRITE 2.
READING = (0, 2)
WRITING = (1, 2)


class SimplePrinter(Printer):
    """The default format."""

    def _data(self, data: bytes) -> bytes:
        if not self.hex:
            return data + b"\n"
        return "".join(f"\\x{byte:02x}" for byte in data).encode() + b"\n"

    def _pair(self, pair: "kvpb.KeyValue") -> bytes:
        return self._data(pair.key) + self._data(pair.value)

    def put(self, answer: "rpc.PutResponse") -> None:
        """`OK`, then the previous pair."""
        self.streams.write(self._put(answer))

    def _put(self, answer: "rpc.PutResponse") -> bytes:
        return b"OK\n" + (self._pair(answer.prev_kv) if answer.HasField("prev_kv") else b"")

    def get(self, answer: "rpc.RangeResponse", *, value_only: bool = False) -> None:
        """Key and value of each pair."""
        self.streams.write(self._get(answer, value_only=value_only))

    def _get(self, answer: "rpc.RangeResponse", *, value_only: bool = False) -> bytes:
        if value_only:
            return b"".join(self._data(pair.value) for pair in answer.kvs)
        return b"".join(map(self._pair, answer.kvs))

    def delete(self, answer: "rpc.DeleteRangeResponse") -> None:
        """The number of deleted pairs, then the pairs."""
        self.streams.write(self._delete(answer))

    def _delete(self, answer: "rpc.DeleteRangeResponse") -> bytes:
        return f"{answer.deleted}\n".encode() + b"".join(map(self._pair, answer.prev_kvs))

    def txn(self, answer: "rpc.TxnResponse") -> None:
        """The branch taken, then an empty line and the output of each request."""
        parts = [b"SUCCESS\n" if answer.succeeded else b"FAILURE\n"]
        for op in answer.responses:
            kind = op.WhichOneof("response")
            parts.append(b"\n")
            if kind == "response_put":
                parts.append(self._put(op.response_put))
            elif kind == "response_range":
                parts.append(self._get(op.response_range))
            elif kind == "response_delete_range":
                parts.append(self._delete(op.response_delete_range))
        self.streams.write(b"".join(parts))

    def watch(self, update: "WatchUpdate") -> None:
        """Kind, previous pair and pair of each event."""
        parts: list[bytes] = []
        for event in update.response.events:
            parts.append(b"DELETE\n" if event.type else b"PUT\n")
            if event.HasField("prev_kv"):
                parts.append(self._pair(event.prev_kv))
            parts.append(self._pair(event.kv))
        self.streams.write(b"".join(parts))

    def lease_grant(self, answer: "rpc.LeaseGrantResponse") -> None:
        """The ID and the granted time."""
        self.streams.line(f"lease {answer.ID:016x} granted with TTL({answer.TTL}s)")

    def lease_revoke(self, lease_id: int, answer: "rpc.LeaseRevokeResponse") -> None:  # noqa: ARG002
        """The ID."""
        self.streams.line(f"lease {lease_id & (1 << 64) - 1:016x} revoked")

    def lease_keep_alive(self, answer: "rpc.LeaseKeepAliveResponse") -> None:
        """The ID and the time, or that it is gone."""
        if answer.TTL > 0:
            self.streams.line(f"lease {answer.ID:016x} keepalived with TTL({answer.TTL})")
        else:
            self.streams.line(f"lease {answer.ID:016x} expired or revoked.")

    def lease_time_to_live(self, answer: "rpc.LeaseTimeToLiveResponse", *, keys: bool) -> None:
        """Time granted and left, and the keys if asked for."""
        if answer.grantedTTL == 0 or answer.TTL < 0:
            self.streams.line(f"lease {answer.ID:016x} already expired")
            return
        text = (
            f"lease {answer.ID:016x} granted with TTL({answer.grantedTTL}s), "
            f"remaining({answer.TTL}s)"
        ).encode()
        if keys:
            text += b", attached keys([" + b" ".join(answer.keys) + b"])"
        self.streams.write(text + b"\n")

    def lease_list(self, answer: "rpc.LeaseLeasesResponse") -> None:
        """The number of leases, then their IDs."""
        lines = [f"found {len(answer.leases)} leases"]
        lines += [f"{lease.ID:016x}" for lease in answer.leases]
        self.streams.line("\n".join(lines))

    def member_list(self, answer: "rpc.MemberListResponse") -> None:
        """One line a member."""
        self._rows(member_rows(answer))

    def member_add(self, name: str, peer_urls: str, answer: "rpc.MemberAddResponse") -> None:
        """The ID, and the settings that the new member is to be started with."""
        kind = "as learner " if answer.member.isLearner else ""
        cluster = ",".join(
            f"{name if member.ID == answer.member.ID else member.name}={url}"
            for member in answer.members
            for url in member.peerURLs
        )
        self.streams.line(
            f"Member {answer.member.ID:16x} added {kind}to cluster {answer.header.cluster_id:16x}\n"
            f"\nETCD_NAME={quote(name)}"
            f"\nETCD_INITIAL_CLUSTER={quote(cluster)}"
            f"\nETCD_INITIAL_ADVERTISE_PEER_URLS={quote(peer_urls)}"
            '\nETCD_INITIAL_CLUSTER_STATE="existing"'
        )

    def member_change(self, member_id: int, done: str, answer: "MemberChange") -> None:
        """The ID and the cluster."""
        self.streams.line(f"Member {member_id:16x} {done} cluster {answer.header.cluster_id:16x}")

    def snapshot_status(self, status: "SnapshotStatus") -> None:
        """One line."""
        self._rows(snapshot_rows(status))

    def snapshot_hash(self, answer: "SnapshotHash") -> None:
        """One line."""
        self._rows(snapshot_hash_rows(answer))

    def report(self, lines: Iterable[str], value: object) -> None:  # noqa: ARG002
        """The lines."""
        for line in lines:
            self.streams.line(line)

    def move_leader(self, leader: int, target: int, answer: "rpc.MoveLeaderResponse") -> None:  # noqa: ARG002
        """From whom to whom."""
        self.streams.line(f"Leadership transferred from {leader:x} to {target:x}")

    def alarm(self, answer: "rpc.AlarmResponse") -> None:
        """One line an alarm, with a blank at its end as etcdctl has it."""
        for item in answer.alarms:
            self.streams.line(f"memberID:{item.memberID} alarm:{alarm_name(item.alarm)} ")

    def endpoint_health(self, items: Sequence[EndpointHealth]) -> None:
        """Healthy endpoints on standard output, the others on standard error."""
        for item in items:
            if item.healthy:
                took = format_duration(item.took)
                self.streams.line(
                    f"{item.endpoint} is healthy: successfully committed proposal: took = {took}"
                )
            else:
                self.streams.error_line(
                    f"{item.endpoint} is unhealthy: failed to commit proposal: {item.error}"
                )

    def endpoint_status(self, items: Sequence[EndpointStatus]) -> None:
        """One line an endpoint."""
        self._rows(status_rows(items))

    def endpoint_hash(self, items: Sequence[EndpointHash]) -> None:
        """One line an endpoint."""
        self._rows(hash_rows(items))

    def auth_change(self, done: str, answer: "AuthChange") -> None:  # noqa: ARG002
        """What was done."""
        self.streams.line(done)

    def auth_status(self, answer: "rpc.AuthStatusResponse") -> None:
        """Two lines."""
        self.streams.line(
            f"Authentication Status: {yes_no(answer.enabled)}\nAuthRevision: {answer.authRevision}"
        )

    def user_get(self, name: str, answer: "rpc.AuthUserGetResponse") -> None:
        """The name, and the roles on one line."""
        self.streams.line(f"User: {name}\n" + " ".join(["Roles:", *answer.roles]))

    def user_list(self, answer: "rpc.AuthUserListResponse") -> None:
        """One name a line."""
        self._rows([[user] for user in answer.users])

    def role_get(self, name: str, answer: "rpc.AuthRoleGetResponse") -> None:
        """Ranges that may be read, then those that may be written."""
        lines = [encode(f"Role {name}")]
        for kind, allowing in (("Read", READING), ("Write", WRITING)):
            lines.append(f"KV {kind}:".encode())
            if name == ROOT_ROLE and not answer.perm:
                lines.append(b"\t[, <open ended>")
            lines += [_permission(p) for p in answer.perm if p.permType in allowing]
        self.streams.write(b"\n".join(lines) + b"\n")

    def role_list(self, answer: "rpc.AuthRoleListResponse") -> None:
        """One name a line."""
        self._rows([[role] for role in answer.roles])

    def downgrade(self, action: str, answer: "rpc.DowngradeResponse") -> None:
        """That it was done, and the version of the cluster."""
        self.streams.line(f"Downgrade {action} success, cluster version {answer.version}")

    def _rows(self, rows: Rows) -> None:
        for row in rows:
            self.streams.line(", ".join(row))


def _permission(permission: "authpb.Permission") -> bytes:
    """A key or a range; one that equals a prefix says so."""
    key, end = permission.key, permission.range_end
    if not end:
        return b"\t" + key
    if end == ZERO:
        line = b"\t[%b, <open ended>" % key
    else:
        line = b"\t[%b, %b)" % (key, end)
    return line + (b" (prefix %b)" % key if key and prefix_end(key) == end else b"")
