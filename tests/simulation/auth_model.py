"""Who may do what: the rules of auth once more, without merging, caching or trees.

`needs` says what a request needs, an `AuthState` whether somebody has it. What a role may do with
keys is a list of intervals, looked through from the first key of a range to its last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pykvd.pb import rpc_pb2 as rpc
from pykvd.pb.auth_pb2 import Permission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pykvd.auth.store import AuthStore

ROOT = "root"


class Interval(NamedTuple):
    """Keys from `start` to before `end`; None is beyond all keys."""

    start: bytes
    end: bytes | None

    @classmethod
    def of(cls, key: bytes, range_end: bytes) -> Interval:
        """As the API has it: no end for one key, a zero byte for all from there.

        An inverted range stands for its key.
        """
        if range_end == b"\0":
            return cls(key, None)
        return cls(key, range_end if range_end > key else key + b"\0")


class Need(NamedTuple):
    """Keys that a request reads or writes; those of a lease, root may always."""

    writes: bool
    keys: Interval
    of_lease: bool = False


Users = dict[str, tuple[bytes, tuple[str, ...]]]
"""Password and roles of each."""
Roles = dict[str, tuple[tuple[int, Interval], ...]]
"""Kind of each permission, and where it holds."""


class AuthState(NamedTuple):
    """What the log had made of auth from some time on."""

    since: float
    enabled: bool
    revision: int
    users: Users
    roles: Roles

    @classmethod
    def of(cls, auth: AuthStore, now: float) -> AuthState:
        """As it is now."""
        users = {name: (user.password, tuple(user.roles)) for name, user in auth.users.items()}
        roles = {
            name: tuple(
                (int(each.permType), Interval.of(each.key, each.range_end))
                for each in role.keyPermission
            )
            for name, role in auth.roles.items()
        }
        return cls(now, auth.enabled, auth.revision, users, roles)

    def is_root(self, user: str) -> bool:
        """Whether a user may do everything."""
        return user in self.users and ROOT in self.users[user][1]

    def permits(self, user: str, wanted: Iterable[Need]) -> bool:
        """Whether a user has all that is needed; without auth everybody has."""
        return not self.enabled or all(self._has(user, need) for need in wanted)

    def _has(self, user: str, need: Need) -> bool:
        if user not in self.users:
            return False
        kinds = (Permission.READWRITE, Permission.WRITE if need.writes else Permission.READ)
        granted = [
            keys
            for role in self.users[user][1]
            for kind, keys in self.roles.get(role, ())
            if kind in kinds
        ]
        return self.is_root(user) or _cover(granted, need.keys)


def _cover(granted: list[Interval], wanted: Interval) -> bool:
    point = wanted.start
    while wanted.end is None or point < wanted.end:
        ends = [end for start, end in granted if start <= point and (end is None or point < end)]
        if None in ends:
            return True
        point = max((end for end in ends if end is not None), default=point)
        if not ends:
            return False
    return True


def needs(request: Any, keys_of: Callable[[int], Iterable[bytes]]) -> Iterator[Need]:
    """What a request on keys and leases needs; `keys_of` tells what hangs on a lease."""
    match request:
        case rpc.RangeRequest():
            yield Need(False, Interval.of(request.key, request.range_end))
        case rpc.PutRequest():
            yield Need(True, Interval.of(request.key, b""))
            for key in keys_of(request.lease) if request.lease else ():
                yield Need(True, Interval.of(key, b""), of_lease=True)
            if request.prev_kv:
                yield Need(False, Interval.of(request.key, b""))
        case rpc.DeleteRangeRequest():
            yield Need(True, Interval.of(request.key, request.range_end))
            if request.prev_kv:
                yield Need(False, Interval.of(request.key, request.range_end))
        case rpc.LeaseRevokeRequest():
            for key in keys_of(request.ID):
                yield Need(True, Interval.of(key, b""), of_lease=True)
        case rpc.TxnRequest():
            for compare in request.compare:
                yield Need(False, Interval.of(compare.key, compare.range_end))
            for op in (*request.success, *request.failure):
                kind = op.WhichOneof("request")
                assert kind
                yield from needs(getattr(op, kind), keys_of)
