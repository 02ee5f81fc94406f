"""Rows of the answers that come as tables; the simple format joins their cells by commas."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pykvctl.gotext.durations import format_duration
from pykvctl.gotext.numbers import human_bytes
from pykvctl.output.printer import EndpointHash, EndpointHealth, EndpointStatus

if TYPE_CHECKING:
    from pykvd.pb import rpc_pb2 as rpc
    from pykvd.restore import SnapshotHash, SnapshotStatus

Rows = list[list[str]]

MEMBER_COLUMNS = ("ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner")
HEALTH_COLUMNS = ("endpoint", "health", "took", "error")
HASH_COLUMNS = ("endpoint", "hash", "hash revision")
SNAPSHOT_COLUMNS = ("hash", "revision", "total keys", "total size", "version")
SNAPSHOT_HASH_COLUMNS = ("hash", "hash revision", "compact revision")
STATUS_COLUMNS = (
    "endpoint",
    "ID",
    "version",
    "storage version",
    "db size",
    "in use",
    "percentage not in use",
    "quota",
    "is leader",
    "is learner",
    "raft term",
    "raft index",
    "raft applied index",
    "errors",
    "downgrade target version",
    "downgrade enabled",
)


_ALARM_NAMES = ("NONE", "NOSPACE", "CORRUPT")


def alarm_name(alarm: int) -> str:
    """Name of an alarm type."""
    return _ALARM_NAMES[alarm] if alarm < len(_ALARM_NAMES) else str(alarm)


def yes_no(value: bool) -> str:
    """`true` or `false`."""
    return "true" if value else "false"


def member_rows(answer: "rpc.MemberListResponse") -> Rows:
    """One row a member; a member that never started has no name."""
    return [
        [
            f"{member.ID:x}",
            "started" if member.name else "unstarted",
            member.name,
            ",".join(member.peerURLs),
            ",".join(member.clientURLs),
            yes_no(member.isLearner),
        ]
        for member in answer.members
    ]


def health_rows(items: Sequence[EndpointHealth]) -> Rows:
    """One row an endpoint."""
    return [
        [item.endpoint, yes_no(item.healthy), format_duration(item.took), item.error]
        for item in items
    ]


def status_rows(items: Sequence[EndpointStatus]) -> Rows:
    """One row an endpoint."""
    return [_status_row(item) for item in items]


def _status_row(item: EndpointStatus) -> list[str]:
    status = item.status
    used = status.dbSizeInUse * 100 // status.dbSize if status.dbSize else 100
    return [
        item.endpoint,
        f"{status.header.member_id:x}",
        status.version,
        status.storageVersion,
        human_bytes(status.dbSize),
        human_bytes(status.dbSizeInUse),
        f"{100 - used}%",
        human_bytes(status.dbSizeQuota),
        yes_no(status.leader == status.header.member_id),
        yes_no(status.isLearner),
        str(status.raftTerm),
        str(status.raftIndex),
        str(status.raftAppliedIndex),
        ", ".join(status.errors),
        status.downgradeInfo.targetVersion,
        yes_no(status.downgradeInfo.enabled),
    ]


def hash_rows(items: Sequence[EndpointHash]) -> Rows:
    """One row an endpoint."""
    return [
        [item.endpoint, str(item.answer.hash), str(item.answer.hash_revision)] for item in items
    ]


def snapshot_rows(status: "SnapshotStatus") -> Rows:
    """One row."""
    keys, size = str(status.total_keys), human_bytes(status.total_size)
    return [[f"{status.hash:x}", str(status.revision), keys, size, status.version]]


def snapshot_hash_rows(answer: "SnapshotHash") -> Rows:
    """One row."""
    return [[str(answer.hash), str(answer.revision), str(answer.compact_revision)]]
