"""Puts and deletions on store and lessor together, as apply and transactions need them."""

from pykvd.errors import Failure
from pykvd.lease.lessor import Lessor
from pykvd.mvcc.record import parse, varint
from pykvd.mvcc.store import Store
from pykvd.pb.rpc_pb2 import DeleteRangeRequest, PutRequest


class Writer:
    """Changes keys and keeps the leases' key sets in step. Store.begin() must have been called."""

    def __init__(self, store: Store, lessor: Lessor) -> None:
        self._store = store
        self._lessor = lessor

    def check_put(self, request: PutRequest) -> None:
        """Raise if the lease, then the key to keep things of, does not exist."""
        self._check_lease(request)
        self._check_key(request)

    def check_put_in_txn(self, request: PutRequest) -> None:
        """The same checks in the order that transactions have them (etcd up to 3.6)."""
        self._check_key(request)
        self._check_lease(request)

    def _check_lease(self, request: PutRequest) -> None:
        if request.lease and request.lease not in self._lessor.leases:
            raise Failure.LEASE_NOT_FOUND.error()

    def _check_key(self, request: PutRequest) -> None:
        keeps = request.ignore_value or request.ignore_lease
        if keeps and request.key not in self._store.index.live:
            raise Failure.KEY_NOT_FOUND.error()

    def put(self, request: PutRequest) -> bytes:
        """Put; returns `PutResponse.prev_kv` framed where it was asked for and exists."""
        store, key = self._store, request.key
        value, lease = request.value, request.lease
        previous = b""
        if request.prev_kv or request.ignore_value:
            previous = store.get(key) or b""
        if request.ignore_value:
            value = parse(previous).value
        held = store.lease_of.get(key, 0)
        if request.ignore_lease:
            lease = held
        store.put(key, value, lease)
        if held != lease:
            if held:
                self._lessor.detach(held, key)
            if lease:
                self._lessor.attach(lease, key)
        return previous if request.prev_kv else b""

    def delete_range(self, request: DeleteRangeRequest) -> bytes:
        """Delete; returns the fields of DeleteRangeResponse after its header."""
        keys = list(self._store.index.keys(request.key, request.range_end))
        previous = b""
        if request.prev_kv:
            previous = b"".join(b"\x1a" + framed[1:] for framed in self._store.get_all(keys))
        self.delete(keys)
        return (b"\x10" + varint(len(keys)) if keys else b"") + previous

    def delete(self, keys: list[bytes]) -> None:
        """Delete live keys."""
        for key, lease in self._store.delete(*keys):
            self._lessor.detach(lease, key)
