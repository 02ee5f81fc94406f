"""Clients that write as fast as they are answered, and remember every answer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import grpc

from pykvd.pb import rpc_pb2
from tests.harness import Client
from tests.harness.methods import COMPACT, DELETE, GRANT, PUT, RANGE, REVOKE, TXN
from tests.integration.crash.history import Compaction, Grant, Write

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

__all__ = ["Journal", "Writer"]

SHARED_KEYS = 12
PAIRS = 4
LEASE_TTL_S = 3600
VALUE_BYTES = (0, 20, 200, 200, 2_000, 30_000)
CALL_TIMEOUT_S = 30.0


class Journal:
    """What all writers of one round tried and were told; they only ever add.

    The writer that gets answer number `end_at` calls `end` at once: a server that answers before
    it is done is caught in the act.
    """

    def __init__(self, end_at: int, end: Callable[[], object]) -> None:
        self._end_at = end_at
        self._end = end
        self.writes: list[Write] = []
        self.grants: list[Grant] = []
        self.compactions: list[Compaction] = []
        self.surprises: list[str] = []
        self._acknowledged = 0
        self._news = threading.Condition()

    def surprise(self, what: str) -> None:
        """Something that no killing explains."""
        with self._news:
            self.surprises.append(what)
            self._news.notify_all()

    def count(self) -> None:
        """One more answer has come."""
        with self._news:
            self._acknowledged += 1
            if self._acknowledged == self._end_at:
                self._end()
                self._news.notify_all()

    def wait_ended(self, timeout: float = 60.0) -> None:
        """Return when `end` has been called; AssertionError on a surprise before."""
        with self._news:
            self._news.wait_for(
                lambda: self.surprises or self._acknowledged >= self._end_at, timeout
            )
        told = f"{self._acknowledged} answers in {timeout} s; {self.surprises}"
        assert self._acknowledged >= self._end_at, told


class Writer:
    """A thread with a connection of its own, ended by its first call that fails.

    `compact_below` is the revision up to which compaction may forget.
    """

    def __init__(
        self, endpoint: str, name: str, rng: Random, journal: Journal, compact_below: int
    ) -> None:
        self._endpoint = endpoint
        self._prefix = name
        self._rng = rng
        self._journal = journal
        self._compact_below = compact_below
        self._serial = 0
        self._deletable: list[bytes] = []
        self._granted: list[Grant] = []
        self._thread = threading.Thread(target=self._run, name=f"writer-{name}", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until it has met the end of the server."""
        self._thread.join()

    def _run(self) -> None:
        actions: list[Callable[[Client], None]] = [
            *[self._put] * 6,
            *[self._put_deletable] * 2,
            *[self._delete] * 2,
            *[self._put_pair] * 4,
            self._grant_and_put,
            self._revoke,
        ]
        with Client(self._endpoint) as client:
            try:
                while True:
                    self._rng.choice(actions)(client)
                    if self._rng.random() < 0.01:
                        self._compact(client)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    self._journal.surprise(f"{error.code().name} {error.details()}")
            except Exception as error:  # noqa: BLE001 - whatever it is, the main thread must know
                self._journal.surprise(repr(error))

    def _name(self) -> bytes:
        """A name that was never used before."""
        self._serial += 1
        return f"{self._prefix}/{self._serial}".encode()

    def _value(self) -> bytes:
        name = self._name()
        return name + b"." * self._rng.choice(VALUE_BYTES)

    def _write(self, write: Write) -> Write:
        self._journal.writes.append(write)
        return write

    def _done(self, write: Write, revision: int | None) -> None:
        write.acknowledge(revision)
        self._journal.count()

    def _put(self, client: Client) -> None:
        self._put_one(client, b"k/%d" % self._rng.randrange(SHARED_KEYS))

    def _put_deletable(self, client: Client) -> None:
        key = b"d/" + self._name()
        self._put_one(client, key)
        self._deletable.append(key)

    def _put_one(self, client: Client, key: bytes, lease: int = 0) -> None:
        write = self._write(Write({key: self._value()}, lease=lease))
        request = rpc_pb2.PutRequest(key=key, value=write.puts[key], lease=lease)
        self._done(write, client.call(PUT, request, timeout=CALL_TIMEOUT_S).header.revision)

    def _delete(self, client: Client) -> None:
        if not self._deletable:
            return
        key = self._deletable.pop()
        write = self._write(Write(deletes=frozenset({key})))
        reply = client.call(DELETE, rpc_pb2.DeleteRangeRequest(key=key), timeout=CALL_TIMEOUT_S)
        assert reply.deleted == 1, f"{key!r} was acknowledged and is not there to delete"
        self._done(write, reply.header.revision)

    def _put_pair(self, client: Client) -> None:
        """Two keys that always hold the same value, changed only from what was just read."""
        number = self._rng.randrange(PAIRS)
        left, right = b"p/%d/left" % number, b"p/%d/right" % number
        found = client.call(RANGE, rpc_pb2.RangeRequest(key=left), timeout=CALL_TIMEOUT_S).kvs
        gone = frozenset({self._deletable.pop()} if self._deletable else ())
        value = self._value()
        write = Write({left: value, right: value}, gone)
        compare = rpc_pb2.Compare(
            target=rpc_pb2.Compare.MOD,
            key=left,
            mod_revision=found[0].mod_revision if found else 0,
        )
        puts = [
            rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value))
            for key in (left, right)
        ]
        deletes = [
            rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=key))
            for key in gone
        ]
        self._write(write)
        request = rpc_pb2.TxnRequest(compare=[compare], success=[*puts, *deletes])
        reply = client.call(TXN, request, timeout=CALL_TIMEOUT_S)
        if reply.succeeded:
            self._done(write, reply.header.revision)
        else:
            write.refused = True
            self._deletable.extend(gone)

    def _grant_and_put(self, client: Client) -> None:
        grant = Grant(lease=self._rng.getrandbits(62) + 1)
        self._journal.grants.append(grant)
        request = rpc_pb2.LeaseGrantRequest(ID=grant.lease, TTL=LEASE_TTL_S)
        client.call(GRANT, request, timeout=CALL_TIMEOUT_S)
        grant.acknowledged = True
        self._journal.count()
        for _ in range(self._rng.randint(0, 2)):
            key = b"l/%d/" % grant.lease + self._name()
            grant.keys.append(key)
            self._put_one(client, key, grant.lease)
        self._granted.append(grant)

    def _revoke(self, client: Client) -> None:
        if not self._granted:
            return
        grant = self._granted.pop()
        grant.revoke = self._write(Write(deletes=frozenset(grant.keys)))
        request = rpc_pb2.LeaseRevokeRequest(ID=grant.lease)
        client.call(REVOKE, request, timeout=CALL_TIMEOUT_S)
        self._done(grant.revoke, None)

    def _compact(self, client: Client) -> None:
        done = max((it.revision for it in self._journal.compactions), default=0)
        if self._compact_below <= done + 1:
            return
        compaction = Compaction(self._rng.randint(done + 1, self._compact_below))
        self._journal.compactions.append(compaction)
        request = rpc_pb2.CompactionRequest(
            revision=compaction.revision, physical=self._rng.random() < 0.5
        )
        try:
            client.call(COMPACT, request, timeout=CALL_TIMEOUT_S)
        except grpc.RpcError as error:
            # Another writer was faster with a later revision.
            if error.code() is not grpc.StatusCode.OUT_OF_RANGE:
                raise
        compaction.acknowledged = True
        self._journal.count()
