"""Every error of the etcd v3 API that this server raises: gRPC code and exact text.

Clients look errors up by their text, so the texts are part of the API.
"""

from enum import Enum

from pykvd.transport.service import Code, RpcError

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
    BAD_TRANSFEREE = Code.FAILED_PRECONDITION, "bad leader transferee"
    BAD_DOWNGRADE_VERSION_FORMAT = (
        Code.INVALID_ARGUMENT,
        "wrong downgrade target version format",
    )
    INVALID_DOWNGRADE_VERSION = Code.INVALID_ARGUMENT, "invalid downgrade target version"
    UNKNOWN_METHOD = Code.UNKNOWN, "unknown method"

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
