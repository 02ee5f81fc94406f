"""What the API says that a request does: a second implementation, without index, log or disk.

A state is a dict of live keys. It is slow, and it is simple on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pykvd.pb import rpc_pb2 as rpc
from pykvd.pb.kv_pb2 import KeyValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.simulation.truth import Truth

State = dict[bytes, KeyValue]
"""Live keys."""
Changes = list[tuple[bytes, KeyValue | None]]
"""Changes in their order; None for a deletion."""


class Model:
    """Runs one request on the state as of `revision`; `past(revision)` gives older states.

    If it writes, its changes have the next revision.
    """

    def __init__(self, truth: Truth, revision: int) -> None:
        self._truth = truth
        self._revision = revision
        self._main = revision + 1
        self.state: State = {kv.key: kv for kv in truth.state(revision)}
        self.changes: Changes = []

    @property
    def header_revision(self) -> int:
        """The revision in the answer."""
        return self._main if self.changes else self._revision

    def run(self, request: Any) -> Any:
        """The response without its header."""
        handlers: dict[type, Callable[[Any], Any]] = {
            rpc.RangeRequest: self.range,
            rpc.PutRequest: self.put,
            rpc.DeleteRangeRequest: self.delete_range,
            rpc.TxnRequest: self.txn,
        }
        return handlers[type(request)](request)

    def range(self, request: rpc.RangeRequest) -> rpc.RangeResponse:
        """Range: by key, at a revision or now."""
        if request.revision and request.revision < self.header_revision:
            found = self._truth.range(request.key, request.range_end, request.revision)
        else:
            found = [self.state[key] for key in _keys(self.state, request.key, request.range_end)]
        kvs: Sequence[KeyValue] = () if request.count_only else found
        return rpc.RangeResponse(kvs=kvs, count=len(found))

    def put(self, request: rpc.PutRequest) -> rpc.PutResponse:
        """Put with lease and prev_kv."""
        before = self.state.get(request.key)
        kv = KeyValue(
            key=request.key,
            create_revision=before.create_revision if before is not None else self._main,
            mod_revision=self._main,
            version=before.version + 1 if before is not None else 1,
            value=request.value,
            lease=request.lease,
        )
        self.state[request.key] = kv
        self.changes.append((request.key, kv))
        return rpc.PutResponse(prev_kv=before if request.prev_kv else None)

    def delete_range(self, request: rpc.DeleteRangeRequest) -> rpc.DeleteRangeResponse:
        """DeleteRange with prev_kv."""
        deleted = self.delete(_keys(self.state, request.key, request.range_end))
        previous = deleted if request.prev_kv else []
        return rpc.DeleteRangeResponse(deleted=len(deleted), prev_kvs=previous)

    def delete(self, keys: Iterable[bytes]) -> list[KeyValue]:
        """Delete live keys; returns what they were."""
        deleted = [self.state.pop(key) for key in keys]
        self.changes += [(kv.key, None) for kv in deleted]
        return deleted

    def txn(self, request: rpc.TxnRequest) -> rpc.TxnResponse:
        """Txn without nesting."""
        succeeded = all(self._holds(compare) for compare in request.compare)
        responses = []
        for op in request.success if succeeded else request.failure:
            kind = op.WhichOneof("request")
            assert kind
            inner = self.run(getattr(op, kind))
            inner.header.revision = self.header_revision
            responses.append(rpc.ResponseOp(**{kind.replace("request", "response"): inner}))
        return rpc.TxnResponse(succeeded=succeeded, responses=responses)

    def _holds(self, compare: rpc.Compare) -> bool:
        kv = self.state.get(compare.key)
        if compare.target == rpc.Compare.VALUE:
            return kv is not None and kv.value == compare.value
        assert compare.target == rpc.Compare.MOD
        return (kv.mod_revision if kv is not None else 0) == compare.mod_revision


def _keys(state: State, key: bytes, end: bytes) -> list[bytes]:
    if not end:
        return [key] if key in state else []
    return sorted(name for name in state if key <= name < end)
