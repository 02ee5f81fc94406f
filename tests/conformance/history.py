"""A writer that knows what it did: the full event history, to hold watches against."""

import random
from dataclasses import dataclass

from pykvd.pb import kv_pb2, rpc_pb2
from tests.harness import Client, methods

Event = kv_pb2.Event
NOPUT = rpc_pb2.WatchCreateRequest.NOPUT
NODELETE = rpc_pb2.WatchCreateRequest.NODELETE
EVERYTHING = b"\x00"


def covers(key: bytes, range_end: bytes, candidate: bytes) -> bool:
    """Whether the range (key, range_end) selects `candidate`."""
    if not range_end:
        return candidate == key
    return candidate >= key and (range_end == EVERYTHING or candidate < range_end)


@dataclass(frozen=True)
class Watched:
    """What one watch asked for, and the first revision it is owed."""

    key: bytes
    range_end: bytes
    start: int
    prev_kv: bool = False
    filters: tuple[rpc_pb2.WatchCreateRequest.FilterType, ...] = ()

    def lets_through(self, event: Event) -> bool:
        """Whether the watch is owed an event."""
        refusing = NODELETE if event.type == Event.DELETE else NOPUT
        return refusing not in self.filters and covers(self.key, self.range_end, event.kv.key)

    def request(self) -> rpc_pb2.WatchCreateRequest:
        """The create request."""
        request = rpc_pb2.WatchCreateRequest(key=self.key, range_end=self.range_end)
        request.start_revision, request.prev_kv = self.start, self.prev_kv
        request.filters.extend(self.filters)
        return request


class Writer:
    """The only writer of a store: puts, deletes and transactions, mirrored in memory."""

    def __init__(self, client: Client, keys: list[bytes], rng: random.Random) -> None:
        self.client = client
        self.keys = keys
        self.rng = rng
        self.state: dict[bytes, kv_pb2.KeyValue] = {}
        self.history: dict[int, list[Event]] = {}
        self.revision = client.call(methods.RANGE, rpc_pb2.RangeRequest(key=b"a")).header.revision
        self.compacted = 0

    def write(self) -> None:
        """One random request that changes something."""
        choice = self.rng.random()
        if choice < 0.6 or not self.state:
            self.commit([self.put_op(self.rng.choice(self.keys))])
        elif choice < 0.8:
            self.commit([self.delete_op(self.rng.choice(sorted(self.state)))])
        else:
            count = self.rng.randrange(2, 9)
            self.commit([self.put_op(key) for key in self.rng.sample(self.keys, count)])

    def delete_all(self) -> None:
        """One revision that deletes every key."""
        self.commit([self.delete_op(EVERYTHING, EVERYTHING)])

    def compact(self, behind: int) -> None:
        """Compact `behind` revisions before the current one."""
        revision = self.revision - behind
        if revision > self.compacted:
            self.compacted = revision
            self.client.call(methods.COMPACT, rpc_pb2.CompactionRequest(revision=revision))

    def owed(self, watched: Watched, until: int | None = None) -> list[Event]:
        """The events that a watch must get, up to a revision (default: all)."""
        events = []
        for revision in sorted(self.history):
            if revision < watched.start or (until is not None and revision > until):
                continue
            for event in self.history[revision]:
                if watched.lets_through(event):
                    shown = event if watched.prev_kv else without_previous(event)
                    events.append(shown)
        return events

    def commit(self, ops: list[rpc_pb2.RequestOp]) -> None:
        """Run operations that change something, as one transaction."""
        reply = self.client.call(methods.TXN, rpc_pb2.TxnRequest(success=ops))
        assert reply.header.revision == self.revision + 1
        self.revision += 1
        self.history[self.revision] = [event for op in ops for event in self._apply(op)]

    def put_op(self, key: bytes) -> rpc_pb2.RequestOp:
        """A put of a random value."""
        value = self.rng.randbytes(self.rng.choice((0, 8, 200, 2000)))
        return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value))

    def delete_op(self, key: bytes, range_end: bytes = b"") -> rpc_pb2.RequestOp:
        """A delete."""
        request = rpc_pb2.DeleteRangeRequest(key=key, range_end=range_end)
        return rpc_pb2.RequestOp(request_delete_range=request)

    def _apply(self, op: rpc_pb2.RequestOp) -> list[Event]:
        if op.HasField("request_put"):
            return [self._apply_put(op.request_put)]
        request = op.request_delete_range
        gone = [key for key in sorted(self.state) if covers(request.key, request.range_end, key)]
        return [
            Event(
                type=Event.DELETE,
                kv=kv_pb2.KeyValue(key=key, mod_revision=self.revision),
                prev_kv=self.state.pop(key),
            )
            for key in gone
        ]

    def _apply_put(self, request: rpc_pb2.PutRequest) -> Event:
        before = self.state.get(request.key)
        kv = kv_pb2.KeyValue(
            key=request.key,
            value=request.value,
            create_revision=before.create_revision if before else self.revision,
            mod_revision=self.revision,
            version=before.version + 1 if before else 1,
        )
        self.state[request.key] = kv
        return Event(kv=kv, prev_kv=before) if before else Event(kv=kv)


def without_previous(event: Event) -> Event:
    """The event without `prev_kv`."""
    return Event(type=event.type, kv=event.kv)
