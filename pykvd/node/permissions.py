"""What each request needs rights for, down to every operation of a transaction.

The one place that knows: `apply` asks it for writes, on every member alike, and the services ask
it for reads. All checks raise RpcError; none is made while auth is off.
"""

from collections.abc import Collection, Iterable

from pykvd.auth.identity import Identity
from pykvd.auth.store import AuthStore
from pykvd.errors import Failure
from pykvd.lease.lessor import Lessor
from pykvd.pb import rpc_pb2 as rpc

Caller = Identity | None


class Permissions:
    """Checks requests against the auth store; keys of leases come from the lessor."""

    def __init__(self, auth: AuthStore, lessor: Lessor) -> None:
        self._auth = auth
        self.lessor = lessor
        self.check_read = auth.check_read

    def check_range(self, caller: Caller, request: rpc.RangeRequest) -> None:
        """A Range reads its range."""
        self._auth.check_read(caller, request.key, request.range_end)

    def check_put(self, caller: Caller, request: rpc.PutRequest) -> None:
        """A Put writes its key, may read it, and may hang it on a lease.

        Whoever may attach a key may also let the lease run out: the keys that it has already must
        be the caller's to delete.
        """
        self._auth.check_write(caller, request.key)
        if request.lease:
            self.check_lease_writes(caller, request.lease)
        if request.prev_kv:
            self._auth.check_read(caller, request.key)

    def check_delete(self, caller: Caller, request: rpc.DeleteRangeRequest) -> None:
        """A DeleteRange writes its range, and may read it."""
        self._auth.check_write(caller, request.key, request.range_end)
        if request.prev_kv:
            self._auth.check_read(caller, request.key, request.range_end)

    def check_txn(self, caller: Caller, request: rpc.TxnRequest) -> None:
        """A Txn does everything that is in it, in both branches and at all levels.

        An empty one needs nobody's right, as in etcd.
        """
        for compare in request.compare:
            self._auth.check_read(caller, compare.key, compare.range_end)
        self._check_ops(caller, request.success)
        self._check_ops(caller, request.failure)

    def _check_ops(self, caller: Caller, ops: Iterable[rpc.RequestOp]) -> None:
        for op in ops:
            match op.WhichOneof("request"):
                case "request_range":
                    self.check_range(caller, op.request_range)
                case "request_put":
                    self.check_put(caller, op.request_put)
                case "request_delete_range":
                    self.check_delete(caller, op.request_delete_range)
                case "request_txn":
                    self.check_txn(caller, op.request_txn)

    def check_revoke(self, caller: Caller, request: rpc.LeaseRevokeRequest) -> None:
        """A LeaseRevoke deletes the lease's keys."""
        self.check_lease_writes(caller, request.ID)

    def check_lease_writes(self, caller: Caller, lease_id: int) -> None:
        """Raise unless the caller may write every key of a lease, if there is one."""
        lease = self.lessor.leases.get(lease_id)
        if lease is None or self._auth.is_admin(caller):
            return
        if not lease.keys:
            return
        grants = self._auth.grants_of(caller)
        # A lease may have very many keys, and one is put after the other.
        keys = lease.fresh if lease.checked_by is grants else lease.keys
        if keys and not grants.write.covers_all(keys):
            raise Failure.PERMISSION_DENIED.error()
        lease.checked_by, lease.fresh = grants, set()

    def check_lease_reads(self, caller: Caller, lease_ids: Iterable[int]) -> None:
        """Raise unless the caller may read every key of these leases."""
        for keys in self.unsure_reads(caller, lease_ids):
            self.check_reads(caller, keys)

    def unsure_reads(self, caller: Caller, lease_ids: Iterable[int]) -> list[set[bytes]]:
        """The keys of those leases whose bounds do not tell that the caller may read them all."""
        if self._auth.is_admin(caller):
            return []
        found = map(self.lessor.leases.get, lease_ids)
        held = [lease for lease in found if lease and lease.keys]
        if not held:
            return []
        covers = self._auth.grants_of(caller).read.covers
        return [lease.keys for lease in held if not covers(lease.first, lease.last + b"\x00")]

    def check_reads(self, caller: Caller, keys: Collection[bytes]) -> None:
        """Raise unless the caller may read each of the keys."""
        if not keys or self._auth.is_admin(caller):
            return
        if not self._auth.grants_of(caller).read.covers_all(keys):
            raise Failure.PERMISSION_DENIED.error()
