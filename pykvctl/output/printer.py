"""What every output format can be asked to print.

Each method prints one kind of answer. Formats that treat all messages alike (json, protobuf)
override `message`; the others override the kinds they know. What a format does not know it refuses,
after the request was carried out, as etcdctl does.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pykvctl.errors import CommandError, ExitCode
from pykvctl.streams import Streams

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from pykvctl.watcher import WatchUpdate
    from pykvd.pb import rpc_pb2 as rpc
    from pykvd.restore import SnapshotHash, SnapshotStatus

    MemberChange = rpc.MemberRemoveResponse | rpc.MemberUpdateResponse | rpc.MemberPromoteResponse
    AuthChange = (
        rpc.AuthUserAddResponse
        | rpc.AuthUserDeleteResponse
        | rpc.AuthUserChangePasswordResponse
        | rpc.AuthUserGrantRoleResponse
        | rpc.AuthUserRevokeRoleResponse
        | rpc.AuthRoleAddResponse
        | rpc.AuthRoleDeleteResponse
        | rpc.AuthRoleGrantPermissionResponse
        | rpc.AuthRoleRevokePermissionResponse
    )


class EndpointHealth(NamedTuple):
    """Result of a health check; `took` in nanoseconds, `error` empty if healthy."""

    endpoint: str
    healthy: bool
    took: int
    error: str


class EndpointStatus(NamedTuple):
    """Status of the member behind one endpoint."""

    endpoint: str
    status: "rpc.StatusResponse"


class EndpointHash(NamedTuple):
    """Hash of the key-value store behind one endpoint."""

    endpoint: str
    answer: "rpc.HashKVResponse"


class Printer:
    """Base of all formats; refuses everything."""

    def __init__(self, name: str, streams: Streams, *, hex_bytes: bool) -> None:
        self.name = name
        self.streams = streams
        self.hex = hex_bytes

    def message(self, message: "Message") -> None:  # noqa: ARG002
        """Any answer without a form of its own."""
        self.unsupported()

    def unsupported(self) -> None:
        """Refuse."""
        raise CommandError(f"{self.name} not supported as output format", ExitCode.BAD_FEATURE)

    def put(self, answer: "rpc.PutResponse") -> None:
        """A pair was written."""
        self.message(answer)

    def get(self, answer: "rpc.RangeResponse", *, value_only: bool = False) -> None:  # noqa: ARG002
        """Pairs; `value_only` leaves the keys out and is for the simple format."""
        self.message(answer)

    def delete(self, answer: "rpc.DeleteRangeResponse") -> None:
        """Pairs were deleted."""
        self.message(answer)

    def txn(self, answer: "rpc.TxnResponse") -> None:
        """A transaction took one of its branches."""
        self.message(answer)

    def watch(self, update: "WatchUpdate") -> None:
        """Events, progress, or the end of a watch."""
        self.message(update.response)

    def lease_grant(self, answer: "rpc.LeaseGrantResponse") -> None:
        """A lease was granted."""
        self.message(answer)

    def lease_revoke(self, lease_id: int, answer: "rpc.LeaseRevokeResponse") -> None:  # noqa: ARG002
        """A lease was revoked."""
        self.message(answer)

    def lease_keep_alive(self, answer: "rpc.LeaseKeepAliveResponse") -> None:
        """A lease was renewed."""
        self.message(answer)

    def lease_time_to_live(self, answer: "rpc.LeaseTimeToLiveResponse", *, keys: bool) -> None:  # noqa: ARG002
        """A lease's time left; `keys` tells whether its keys were asked for."""
        self.message(answer)

    def lease_list(self, answer: "rpc.LeaseLeasesResponse") -> None:
        """All leases."""
        self.message(answer)

    def member_list(self, answer: "rpc.MemberListResponse") -> None:
        """All members."""
        self.message(answer)

    def member_add(self, name: str, peer_urls: str, answer: "rpc.MemberAddResponse") -> None:  # noqa: ARG002
        """A member was added; it will be started as `name` with `peer_urls`."""
        self.message(answer)

    def member_change(self, member_id: int, done: str, answer: "MemberChange") -> None:  # noqa: ARG002
        """A member was removed, updated or promoted, as `done` says."""
        self.message(answer)

    def snapshot_status(self, status: "SnapshotStatus") -> None:  # noqa: ARG002
        """What a snapshot file holds."""
        self.unsupported()

    def snapshot_hash(self, answer: "SnapshotHash") -> None:  # noqa: ARG002
        """Hash of the keys in a snapshot file."""
        self.unsupported()

    def report(self, lines: Iterable[str], value: object) -> None:  # noqa: ARG002
        """What no etcd client has: as lines of text, or as a value for programs."""
        self.unsupported()

    def move_leader(self, leader: int, target: int, answer: "rpc.MoveLeaderResponse") -> None:  # noqa: ARG002
        """The leadership went from one member to another."""
        self.message(answer)

    def alarm(self, answer: "rpc.AlarmResponse") -> None:
        """Alarms that are active or were disarmed."""
        self.message(answer)

    def endpoint_health(self, items: Sequence[EndpointHealth]) -> None:  # noqa: ARG002
        """Health of each endpoint."""
        self.unsupported()

    def endpoint_status(self, items: Sequence[EndpointStatus]) -> None:  # noqa: ARG002
        """Status of each endpoint."""
        self.unsupported()

    def endpoint_hash(self, items: Sequence[EndpointHash]) -> None:  # noqa: ARG002
        """Hash of each endpoint."""
        self.unsupported()

    def auth_change(self, done: str, answer: "AuthChange") -> None:  # noqa: ARG002
        """A user or a role was changed, as `done` says."""
        self.message(answer)

    def auth_status(self, answer: "rpc.AuthStatusResponse") -> None:
        """Whether callers have to say who they are."""
        self.message(answer)

    def user_get(self, name: str, answer: "rpc.AuthUserGetResponse") -> None:  # noqa: ARG002
        """The roles of a user."""
        self.message(answer)

    def user_list(self, answer: "rpc.AuthUserListResponse") -> None:
        """All users."""
        self.message(answer)

    def role_get(self, name: str, answer: "rpc.AuthRoleGetResponse") -> None:  # noqa: ARG002
        """What a role may do."""
        self.message(answer)

    def role_list(self, answer: "rpc.AuthRoleListResponse") -> None:
        """All roles."""
        self.message(answer)

    def downgrade(self, action: str, answer: "rpc.DowngradeResponse") -> None:  # noqa: ARG002
        """A downgrade was validated, started or cancelled, as `action` says."""
        self.message(answer)
