"""Every error of the etcd v3 API that this server raises: gRPC code and exact text.

Clients look errors up by their text, so the texts are part of the API.
"""

from enum import Enum

from pykvd.status import Code, RpcError

__all__ = ["Code", "Failure", "RpcError"]


class Failure(Enum):
    """An error of the API; `raise Failure.EMPTY_KEY.error()`."""

    EMPTY_KEY = Code.INVALID_ARGUMENT, "key is not provided"
    KEY_NOT_FOUND = Code.INVALID_ARGUMENT, "key not found"
    VALUE_PROVIDED = Code.INVALID_ARGUMENT, "value is provided"
    LEASE_PROVIDED = Code.INVALID_ARGUMENT, "lease is provided"
    TOO_MANY_OPS = Code.INVALID_ARGUMENT, "too many operations in txn request"
    DUPLICATE_KEY = Code.INVALID_ARGUMENT, "duplicate key given in txn request"
    INVALID_SORT_OPTION = Code.INVALID_ARGUMENT, "invalid sort option"
    REQUEST_TOO_LARGE = Code.INVALID_ARGUMENT, "request is too large"
    COMPACTED = Code.OUT_OF_RANGE, "mvcc: required revision has been compacted"
    FUTURE_REVISION = Code.OUT_OF_RANGE, "mvcc: required revision is a future revision"
    NO_SPACE = Code.RESOURCE_EXHAUSTED, "mvcc: database space exceeded"
    LEASE_NOT_FOUND = Code.NOT_FOUND, "requested lease not found"
    LEASE_EXISTS = Code.FAILED_PRECONDITION, "lease already exists"
    LEASE_TTL_TOO_LARGE = Code.OUT_OF_RANGE, "too large lease TTL"
    # Declared as ResourceExhausted in etcd, but this is what leaves its server.
    TOO_MANY_REQUESTS = Code.UNKNOWN, "too many requests"
    NO_LEADER = Code.UNAVAILABLE, "no leader"
    NOT_LEADER = Code.FAILED_PRECONDITION, "not leader"
    STOPPED = Code.UNAVAILABLE, "server stopped"
    TIMEOUT = Code.UNAVAILABLE, "request timed out"
    CORRUPT = Code.DATA_LOSS, "corrupt cluster"
    MEMBER_EXISTS = Code.FAILED_PRECONDITION, "member ID already exist"
    PEER_URL_EXISTS = Code.FAILED_PRECONDITION, "Peer URLs already exists"
    BAD_MEMBER_URLS = Code.INVALID_ARGUMENT, "given member URLs are invalid"
    MEMBER_NOT_FOUND = Code.NOT_FOUND, "member not found"
    MEMBER_NOT_LEARNER = Code.FAILED_PRECONDITION, "can only promote a learner member"
    LEARNER_NOT_READY = (
        Code.FAILED_PRECONDITION,
        "can only promote a learner member which is in sync with leader",
    )
    TOO_MANY_LEARNERS = Code.FAILED_PRECONDITION, "too many learner members in cluster"
    # Declared as FailedPrecondition in etcd, but this is what leaves its server.
    NOT_ENOUGH_STARTED = (
        Code.UNKNOWN,
        "re-configuration failed due to not enough started members",
    )
    UNHEALTHY = Code.UNAVAILABLE, "unhealthy cluster"
    LEARNER = Code.FAILED_PRECONDITION, "rpc not supported for learner"
    BAD_TRANSFEREE = Code.FAILED_PRECONDITION, "bad leader transferee"
    BAD_DOWNGRADE_VERSION_FORMAT = (
        Code.INVALID_ARGUMENT,
        "wrong downgrade target version format",
    )
    INVALID_DOWNGRADE_VERSION = Code.INVALID_ARGUMENT, "invalid downgrade target version"
    DOWNGRADE_IN_PROGRESS = (
        Code.FAILED_PRECONDITION,
        "cluster has a downgrade job in progress",
    )
    TRANSFER_TIMEOUT = Code.UNKNOWN, "request timed out, leader transfer took too long"
    UNKNOWN_METHOD = Code.UNKNOWN, "unknown method"
    ROOT_USER_MISSING = Code.FAILED_PRECONDITION, "root user does not exist"
    ROOT_ROLE_MISSING = Code.FAILED_PRECONDITION, "root user does not have root role"
    USER_EXISTS = Code.FAILED_PRECONDITION, "user name already exists"
    USER_EMPTY = Code.INVALID_ARGUMENT, "user name is empty"
    USER_NOT_FOUND = Code.FAILED_PRECONDITION, "user name not found"
    ROLE_EXISTS = Code.FAILED_PRECONDITION, "role name already exists"
    ROLE_NOT_FOUND = Code.FAILED_PRECONDITION, "role name not found"
    ROLE_EMPTY = Code.INVALID_ARGUMENT, "role name is empty"
    AUTH_FAILED = (
        Code.INVALID_ARGUMENT,
        "authentication failed, invalid user ID or password",
    )
    PERMISSION_NOT_GIVEN = Code.INVALID_ARGUMENT, "permission not given"
    PERMISSION_DENIED = Code.PERMISSION_DENIED, "permission denied"
    ROLE_NOT_GRANTED = Code.FAILED_PRECONDITION, "role is not granted to the user"
    PERMISSION_NOT_GRANTED = (
        Code.FAILED_PRECONDITION,
        "permission is not granted to the role",
    )
    AUTH_NOT_ENABLED = Code.FAILED_PRECONDITION, "authentication is not enabled"
    INVALID_TOKEN = Code.UNAUTHENTICATED, "invalid auth token"
    INVALID_AUTH_MANAGEMENT = Code.INVALID_ARGUMENT, "invalid auth management"
    AUTH_OLD_REVISION = Code.INVALID_ARGUMENT, "revision of auth store is old"

    @property
    def code(self) -> Code:
        """The gRPC status code."""
        return self.value[0]

    @property
    def text(self) -> str:
        """The status message, with etcd's prefix."""
        return f"etcdserver: {self.value[1]}"

    def error(self) -> RpcError:
        """A new exception of this kind."""
        return RpcError(self.code, self.text)
