"""A state machine on a real store, without Raft: commands go straight to `Applier.apply`."""

from google.protobuf.message import Message

from pykvd.auth.identity import Identity
from pykvd.errors import RpcError
from pykvd.node.apply import Applier
from pykvd.node.commands import Command
from pykvd.node.header import HeaderEncoder
from pykvd.pb import rpc_pb2 as rpc
from tests.unit.mvcc.disk import Disk

MIN_TTL = 2


class Machine:
    """An Applier that can be closed and loaded again. `now` is its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.disk = Disk()
        self.applier = self._load()

    def _load(self) -> Applier:
        applier = Applier(
            self.disk.store, HeaderEncoder(1, 2), min_lease_ttl=MIN_TTL, clock=lambda: self.now
        )
        applier.load()
        return applier

    def apply(self, command: Command, request: Message, caller: Identity | None = None) -> bytes:
        """The response, or the code and text of the refusal as bytes."""
        try:
            return self.applier.apply(command, request, caller)
        except RpcError as error:
            return str(error).encode()

    def put(self, key: bytes, value: bytes = b"v", **fields: int | bool) -> rpc.PutResponse:
        """Put; raises RpcError."""
        request = rpc.PutRequest(key=key, value=value)
        for name, value_of_field in fields.items():
            setattr(request, name, value_of_field)
        return rpc.PutResponse.FromString(self.applier.apply(Command.PUT, request))

    def delete(self, key: bytes, end: bytes = b"") -> rpc.DeleteRangeResponse:
        """Delete; raises RpcError."""
        request = rpc.DeleteRangeRequest(key=key, range_end=end)
        reply = self.applier.apply(Command.DELETE_RANGE, request)
        return rpc.DeleteRangeResponse.FromString(reply)

    def txn(self, request: rpc.TxnRequest) -> rpc.TxnResponse:
        """Run a transaction; raises RpcError."""
        return rpc.TxnResponse.FromString(self.applier.apply(Command.TXN, request))

    def grant(self, lease_id: int, ttl: int = 60) -> rpc.LeaseGrantResponse:
        """Grant a lease; raises RpcError."""
        request = rpc.LeaseGrantRequest(ID=lease_id, TTL=ttl)
        reply = self.applier.apply(Command.LEASE_GRANT, request)
        return rpc.LeaseGrantResponse.FromString(reply)

    def get(self, key: bytes, end: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Keys and values of a range."""
        request = rpc.TxnRequest(
            success=[rpc.RequestOp(request_range=rpc.RangeRequest(key=key, range_end=end))]
        )
        response = rpc.TxnResponse.FromString(self.applier.read_txn(request))
        return [(kv.key, kv.value) for kv in response.responses[0].response_range.kvs]

    def sweep(self) -> None:
        """Finish the compaction."""
        for _ in self.disk.store.sweep(1000):
            pass

    def commit(self) -> None:
        """Write everything applied so far."""
        self.disk.commit()

    def reload(self) -> None:
        """Close and load what is committed."""
        self.disk.settle()
        self.disk.close()
        self.disk.open()
        self.applier = self._load()

    def close(self) -> None:
        """Close and remove everything."""
        self.disk.remove()


# Short forms for tables of transactions.


def put_op(key: bytes, value: bytes = b"v", **fields: int | bool) -> rpc.RequestOp:
    """A put."""
    op = rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value))
    for name, value_of_field in fields.items():
        setattr(op.request_put, name, value_of_field)
    return op


def delete_op(key: bytes, end: bytes = b"", *, prev_kv: bool = False) -> rpc.RequestOp:
    """A delete."""
    request = rpc.DeleteRangeRequest(key=key, range_end=end, prev_kv=prev_kv)
    return rpc.RequestOp(request_delete_range=request)


def range_op(key: bytes, end: bytes = b"", revision: int = 0) -> rpc.RequestOp:
    """A range."""
    request = rpc.RangeRequest(key=key, range_end=end, revision=revision)
    return rpc.RequestOp(request_range=request)


def txn_op(
    then: list[rpc.RequestOp],
    otherwise: list[rpc.RequestOp] | None = None,
    compare: list[rpc.Compare] | None = None,
) -> rpc.RequestOp:
    """A nested transaction."""
    return rpc.RequestOp(
        request_txn=rpc.TxnRequest(compare=compare, success=then, failure=otherwise)
    )
