"""Every failure of a call as an exception of its own, so that nobody compares texts.

All are `EtcdError`. Servers tell errors apart by their text, so the classes do too; what has no
class of its own becomes the class of its gRPC code. Wrong arguments are TypeError and ValueError,
raised before anything is sent.
"""
# Errors of the API are named as the API names them, without a suffix.
# ruff: noqa: N818

from __future__ import annotations

from typing import ClassVar

from pykvd.status import Code


class EtcdError(Exception):
    """A call that failed: the gRPC `code` and the `message` of the server or the connection."""

    text: ClassVar[str] = ""
    default_code: ClassVar[Code] = Code.UNKNOWN

    def __init__(
        self, message: str = "", *, code: int | None = None, maybe_applied: bool = False
    ) -> None:
        super().__init__(message or self.text)
        self.message = message or self.text
        self.code = self.default_code if code is None else code
        self.maybe_applied = maybe_applied
        """Whether the server may have done what it was asked all the same."""
        self.repeated = False
        """Whether an earlier attempt at this call may have been carried out before this failure."""


# By gRPC code.


class InvalidArgument(EtcdError):
    """The request makes no sense to the server."""

    default_code = Code.INVALID_ARGUMENT


class NotFound(EtcdError):
    """Something named in the request is not there."""

    default_code = Code.NOT_FOUND


class FailedPrecondition(EtcdError):
    """The state of the cluster does not allow it."""

    default_code = Code.FAILED_PRECONDITION


class OutOfRange(EtcdError):
    """A number is beyond what there is."""

    default_code = Code.OUT_OF_RANGE


class ResourceExhausted(EtcdError):
    """A limit is reached."""

    default_code = Code.RESOURCE_EXHAUSTED


class PermissionDenied(EtcdError):
    """The user may not do that."""

    text = "etcdserver: permission denied"
    default_code = Code.PERMISSION_DENIED


class Unauthenticated(EtcdError):
    """The server does not know who asks."""

    default_code = Code.UNAUTHENTICATED


class Unimplemented(EtcdError):
    """The server does not know the call."""

    default_code = Code.UNIMPLEMENTED


class Cancelled(EtcdError):
    """The call was given up."""

    default_code = Code.CANCELLED


class DataLoss(EtcdError):
    """Data is lost or differs between members."""

    default_code = Code.DATA_LOSS


class Unavailable(EtcdError):
    """No server could do it now: nobody reached, connection lost, no leader."""

    default_code = Code.UNAVAILABLE


class DeadlineExceeded(Unavailable, TimeoutError):
    """No answer within the time the call was given."""

    default_code = Code.DEADLINE_EXCEEDED


# Of this client.


class ClientClosed(EtcdError, RuntimeError):
    """The client, or what was made from it, is closed."""

    text = "the client is closed"
    default_code = Code.CANCELLED


class LeaseLost(EtcdError):
    """The lease that something rests on is gone: expired, revoked, or not renewed in time."""

    text = "the lease is lost"


class SessionExpired(LeaseLost):
    """The lease of a lock ended while its turn had not come."""

    text = "mutex: session is expired"


class ElectionNotLeader(EtcdError):
    """Who announces a value does not lead (any more)."""

    text = "election: not leader"


class ElectionNoLeader(EtcdError):
    """Nobody leads."""

    text = "election: no leader"


class KeyExists(EtcdError):
    """A key that was to be made is there already."""

    text = "key already exists"


class TooManyClients(EtcdError):
    """More came to a double barrier than it waits for."""

    text = "too many clients"


# Keys, values, transactions.


class EmptyKey(InvalidArgument):
    """A request without a key."""

    text = "etcdserver: key is not provided"


class KeyNotFound(InvalidArgument):
    """`ignore_value` or `ignore_lease` of a key that does not exist."""

    text = "etcdserver: key not found"


class ValueProvided(InvalidArgument):
    """`ignore_value` together with a value."""

    text = "etcdserver: value is provided"


class LeaseProvided(InvalidArgument):
    """`ignore_lease` together with a lease."""

    text = "etcdserver: lease is provided"


class TooManyOps(InvalidArgument):
    """More operations than `--max-txn-ops`."""

    text = "etcdserver: too many operations in txn request"


class DuplicateKey(InvalidArgument):
    """One transaction changes a key twice."""

    text = "etcdserver: duplicate key given in txn request"


class InvalidClientAPIVersion(InvalidArgument):
    """The version that the client gave is not text."""

    text = "etcdserver: invalid client api version"


class InvalidSortOption(InvalidArgument):
    """A sort order or target that the server does not know."""

    text = "etcdserver: invalid sort option"


class Compacted(OutOfRange):
    """The history before `compact_revision` is gone (0 where the server does not tell it)."""

    text = "etcdserver: mvcc: required revision has been compacted"
    compact_revision = 0


class FutureRevision(OutOfRange):
    """The revision is not reached yet."""

    text = "etcdserver: mvcc: required revision is a future revision"


class NoSpace(ResourceExhausted):
    """The quota is used up; writes fail until space is made and the alarm is disarmed."""

    text = "etcdserver: mvcc: database space exceeded"


class RequestTooLarge(InvalidArgument):
    """More than `--max-request-bytes`."""

    text = "etcdserver: request is too large"


class TooManyRequests(ResourceExhausted):
    """The server is behind with applying."""

    text = "etcdserver: too many requests"


class WatchCanceled(Cancelled):
    """The server ended a watch."""

    text = "etcdserver: watch canceled"


class EmptyWatchRange(InvalidArgument):
    """A watch of a range that contains nothing."""

    text = "etcdserver: mvcc: watcher range is empty"


# Leases.


class LeaseNotFound(NotFound):
    """No such lease, or not any more."""

    text = "etcdserver: requested lease not found"


class LeaseExists(FailedPrecondition):
    """The lease id is in use."""

    text = "etcdserver: lease already exists"


class LeaseTTLTooLarge(OutOfRange):
    """More than 9 000 000 000 seconds."""

    text = "etcdserver: too large lease TTL"


# Members.


class MemberExists(FailedPrecondition):
    """The member id is taken."""

    text = "etcdserver: member ID already exist"


class PeerURLExists(FailedPrecondition):
    """Another member has this peer URL."""

    text = "etcdserver: Peer URLs already exists"


class NotEnoughStartedMembers(FailedPrecondition):
    """The change would leave too few members that run."""

    text = "etcdserver: re-configuration failed due to not enough started members"


class InvalidMemberURLs(InvalidArgument):
    """The peer URLs cannot be parsed."""

    text = "etcdserver: given member URLs are invalid"


class MemberNotFound(NotFound):
    """No such member."""

    text = "etcdserver: member not found"


class MemberNotLearner(FailedPrecondition):
    """Only learners can be promoted."""

    text = "etcdserver: can only promote a learner member"


class LearnerNotReady(FailedPrecondition):
    """The learner lags behind too far to be promoted."""

    text = "etcdserver: can only promote a learner member which is in sync with leader"


class TooManyLearners(FailedPrecondition):
    """The cluster has as many learners as it may have."""

    text = "etcdserver: too many learner members in cluster"


class ClusterIDMismatch(FailedPrecondition):
    """Members of different clusters."""

    text = "etcdserver: cluster ID mismatch"


# Auth.


class RootUserNotExist(FailedPrecondition):
    """Auth needs a user `root`."""

    text = "etcdserver: root user does not exist"


class RootRoleNotExist(FailedPrecondition):
    """The user `root` needs the role `root`."""

    text = "etcdserver: root user does not have root role"


class UserExists(FailedPrecondition):
    """The user name is taken."""

    text = "etcdserver: user name already exists"


class UserEmpty(InvalidArgument):
    """No user name; also the answer to calls without a login while auth is on."""

    text = "etcdserver: user name is empty"


class UserNotFound(FailedPrecondition):
    """No such user."""

    text = "etcdserver: user name not found"


class RoleExists(FailedPrecondition):
    """The role name is taken."""

    text = "etcdserver: role name already exists"


class RoleNotFound(FailedPrecondition):
    """No such role."""

    text = "etcdserver: role name not found"


class RoleEmpty(InvalidArgument):
    """No role name."""

    text = "etcdserver: role name is empty"


class AuthFailed(InvalidArgument):
    """Wrong user or password."""

    text = "etcdserver: authentication failed, invalid user ID or password"


class PermissionNotGiven(InvalidArgument):
    """A grant without a permission."""

    text = "etcdserver: permission not given"


class RoleNotGranted(FailedPrecondition):
    """The user does not have the role."""

    text = "etcdserver: role is not granted to the user"


class PermissionNotGranted(FailedPrecondition):
    """The role does not have the permission."""

    text = "etcdserver: permission is not granted to the role"


class AuthNotEnabled(FailedPrecondition):
    """Auth is off."""

    text = "etcdserver: authentication is not enabled"


class InvalidAuthToken(Unauthenticated):
    """The token is unknown or too old."""

    text = "etcdserver: invalid auth token"


class InvalidAuthManagement(InvalidArgument):
    """Root and its role cannot be taken away, and permissions need a range with something in it."""

    text = "etcdserver: invalid auth management"


class AuthOldRevision(InvalidArgument):
    """Users or roles have changed since the token was given."""

    text = "etcdserver: revision of auth store is old"


# The cluster's state.


class NoLeader(Unavailable):
    """The member knows no leader."""

    text = "etcdserver: no leader"


class NotLeader(FailedPrecondition):
    """Only the leader can do that."""

    text = "etcdserver: not leader"


class LeaderChanged(Unavailable):
    """The leader changed meanwhile."""

    text = "etcdserver: leader changed"


class NotCapable(FailedPrecondition):
    """The cluster's version is too old for it."""

    text = "etcdserver: not capable"


class ServerStopped(Unavailable):
    """The server is going down."""

    text = "etcdserver: server stopped"


class RequestTimedOut(Unavailable):
    """The cluster did not agree in time; the change may still happen."""

    text = "etcdserver: request timed out"


class TimedOutLeaderFailure(RequestTimedOut):
    """The same, around the loss of a leader."""

    text = "etcdserver: request timed out, possibly due to previous leader failure"


class TimedOutConnectionLost(RequestTimedOut):
    """The same, with members cut off."""

    text = "etcdserver: request timed out, possibly due to connection lost"


class TimedOutAppliedIndex(RequestTimedOut):
    """The leader is behind with applying."""

    text = "etcdserver: request timed out, waiting for the applied index took too long"


class LeaderTransferTimedOut(RequestTimedOut):
    """The leadership was not handed over in time."""

    text = "etcdserver: request timed out, leader transfer took too long"


class Unhealthy(Unavailable):
    """Too few members are connected."""

    text = "etcdserver: unhealthy cluster"


class Corrupt(DataLoss):
    """Members disagree; writes are refused."""

    text = "etcdserver: corrupt cluster"


class NotSupportedForLearner(FailedPrecondition):
    """Learners answer few calls."""

    text = "etcdserver: rpc not supported for learner"


class BadLeaderTransferee(FailedPrecondition):
    """The member that is to lead cannot."""

    text = "etcdserver: bad leader transferee"


class WrongDowngradeVersionFormat(InvalidArgument):
    """The version cannot be parsed."""

    text = "etcdserver: wrong downgrade target version format"


class InvalidDowngradeVersion(InvalidArgument):
    """Only to the minor version just below."""

    text = "etcdserver: invalid downgrade target version"


class ClusterVersionUnknown(FailedPrecondition):
    """The cluster's version is not decided yet."""

    text = "etcdserver: cluster version not found during downgrade"


class DowngradeInProgress(FailedPrecondition):
    """A downgrade is going on."""

    text = "etcdserver: cluster has a downgrade job in progress"


class NoInflightDowngrade(FailedPrecondition):
    """No downgrade is going on."""

    text = "etcdserver: no inflight downgrade job"


class RequestCanceled(Cancelled):
    """The server gave the request up."""

    text = "etcdserver: request canceled"


_BY_CODE: dict[int, type[EtcdError]] = {
    kind.default_code: kind
    for kind in (
        InvalidArgument,
        NotFound,
        FailedPrecondition,
        OutOfRange,
        ResourceExhausted,
        PermissionDenied,
        Unauthenticated,
        Unimplemented,
        Cancelled,
        DataLoss,
        Unavailable,
        DeadlineExceeded,
    )
}


def _all_kinds(base: type[EtcdError]) -> list[type[EtcdError]]:
    return [base, *(kind for child in base.__subclasses__() for kind in _all_kinds(child))]


BY_TEXT: dict[str, type[EtcdError]] = {
    kind.text: kind for kind in _all_kinds(EtcdError) if kind.text
}
"""The class of each text of the API."""
BY_TEXT |= {
    "etcdserver: request cancelled": RequestCanceled,  # as it was spelled before 3.7
    "etcdserver: context deadline exceeded": DeadlineExceeded,
    # Some calls of 3.5 leave the prefix out.
    "auth: user name is empty": UserEmpty,
    "auth: invalid auth token": InvalidAuthToken,
    "auth: permission denied": PermissionDenied,
}


def from_status(code: int, message: str, *, maybe_applied: bool = False) -> EtcdError:
    """The exception for a status."""
    kind = BY_TEXT.get(message) or _BY_CODE.get(code, EtcdError)
    return kind(message, code=code, maybe_applied=maybe_applied)
