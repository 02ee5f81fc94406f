"""The client for plain code."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

from pykvd.client import arguments, calls, leases, requests, settings
from pykvd.client.engine import DEFAULT_TIMEOUT
from pykvd.client.errors import LeaseNotFound
from pykvd.client.recipes.stm import Memory
from pykvd.client.sync import recipes, stm
from pykvd.client.sync.admin import Auth, Cluster, Maintenance
from pykvd.client.sync.lease import Lease, LeaseThread
from pykvd.client.sync.runner import Runner
from pykvd.client.sync.watch import Watch
from pykvd.client.txn import Draft, commit
from pykvd.client.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pykvd.client.arguments import Data, HasId
    from pykvd.client.engine import Engine
    from pykvd.client.options import RangeOptions
    from pykvd.client.recipes.stm import Isolation
    from pykvd.client.requests import Skip
    from pykvd.client.transport import Transport
    from pykvd.client.values import DeleteResult, KeyValue, PutResult, RangeResult, TxnResult
    from pykvd.client.wire.limits import Times
    from pykvd.client.wire.tls import TLS

T = TypeVar("T")


class Client:
    """A client of the etcd v3 API. Any number of threads may share one.

    Every call takes a `timeout` in seconds; without one it is the client's. Within it the call is
    answered, or raises: it is tried again on other endpoints as long as that cannot do anything
    twice. Keys and values are bytes or text (sent as UTF-8) and come back as bytes.
    """

    def __init__(
        self,
        endpoints: str | Iterable[str] = settings.DEFAULT_ENDPOINT,
        *,
        user: str | None = None,
        password: str | None = None,
        tls: TLS | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_request_bytes: int = arguments.MAX_REQUEST_BYTES,
        sync_interval: float | None = None,
        times: Times | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Nothing is connected yet.

        Args:
            endpoints: `host:port`, `https://host:port`, `unix:path`; several as a list or with
                commas. Calls go to each in turn, and past those that do not answer.
            user: who to log in as; the login is renewed when the server asks for it.
            password: of that user.
            tls: how to trust the servers, and a certificate of our own.
            timeout: seconds for calls that do not say otherwise.
            max_request_bytes: larger requests raise ValueError.
            sync_interval: learn the endpoints from the cluster itself every so many seconds.
            times: how long connections wait.
            transport: carries the calls instead of sockets (see `pykvd.client.transport`).

        """
        names = [settings.IN_PROCESS] if transport else settings.parse_endpoints(endpoints)
        settings.check_tls(tls)
        self._engine = settings.make_engine(
            names,
            user=user,
            password=password,
            timeout=timeout,
            max_request_bytes=max_request_bytes,
            sync_interval=sync_interval,
            signal=threading.Event,
        )

        def dial(endpoint: str) -> Transport:
            if transport is not None:
                return transport
            from pykvd.client.wire.blocking import BlockingTransport  # noqa: PLC0415 - in-process

            return BlockingTransport(*settings.locate(endpoint, tls), times)

        self._runner = Runner(dial)
        self._leases = LeaseThread(self._runner, leases.Keeper(self._engine))
        self.cluster = Cluster(self._runner, self._engine)
        self.maintenance = Maintenance(self._runner, self._engine)
        self.auth = Auth(self._runner, self._engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything that goes on; every later call raises ClientClosed.

        In a child process after `fork` nothing ends: it is the parent's.
        """
        self._runner.end(self._close)

    def _close(self) -> None:
        self._runner.close()
        self._leases.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._runner.closed

    @property
    def endpoints(self) -> list[str]:
        """The endpoints in use."""
        return self._engine.pool.endpoints

    def sync_endpoints(self, *, timeout: float | None = None) -> list[str]:
        """Use the client URLs of all voting members from now on; these."""
        return self._runner.run(self._engine.sync(timeout))

    # Keys.

    def get(
        self,
        key: Data,
        *,
        revision: int = 0,
        serializable: bool = False,
        timeout: float | None = None,
    ) -> KeyValue | None:
        """A key; None if there is no such key.

        Args:
            key: the key.
            revision: as it was at this revision; 0 for now.
            serializable: answer from what the member knows: faster, maybe stale, needs no leader.
            timeout: seconds.

        """
        request = requests.range_request(key, revision=revision, serializable=serializable)
        return self._runner.run(calls.get(self._engine, request, timeout))

    def range(
        self,
        key: Data,
        end: Data | None = None,
        *,
        timeout: float | None = None,
        **options: Unpack[RangeOptions],
    ) -> RangeResult:
        """The keys from `key` up to `end`, or with a prefix, in one answer (see `scan`).

        An empty `key` stands for the beginning, an empty `end` for the end of all keys.

        Args:
            key: the first key, or the prefix.
            end: the first key that is not in the range any more.
            timeout: seconds.
            **options: see `pykvd.client.options.RangeOptions`.

        """
        request = requests.range_request(key, end, **options)
        return self._runner.run(calls.range_(self._engine, request, timeout))

    def count(
        self,
        key: Data,
        end: Data | None = None,
        *,
        prefix: bool = False,
        revision: int = 0,
        serializable: bool = False,
        timeout: float | None = None,
    ) -> int:
        """How many keys there are in a range."""
        request = requests.range_request(
            key,
            end,
            prefix=prefix,
            revision=revision,
            serializable=serializable,
            count_only=True,
        )
        return self._runner.run(calls.range_(self._engine, request, timeout)).count

    def scan(
        self,
        key: Data,
        end: Data | None = None,
        *,
        prefix: bool = False,
        revision: int = 0,
        serializable: bool = False,
        keys_only: bool = False,
        page_size: int = settings.PAGE_SIZE,
        timeout: float | None = None,
    ) -> Iterator[KeyValue]:
        """The keys of a range one by one, read in pages, all as of one revision.

        Raises Compacted if that revision is compacted before the end is reached.
        """
        request = requests.range_request(
            key,
            end,
            prefix=prefix,
            revision=revision,
            serializable=serializable,
            keys_only=keys_only,
        )
        self._runner.check()
        return self._pages(calls.Scan(self._engine, request, page_size, timeout))

    def _pages(self, scan: calls.Scan) -> Iterator[KeyValue]:
        while not scan.done:
            yield from self._runner.run(scan.page())

    def put(
        self,
        key: Data,
        value: Data,
        *,
        lease: HasId | int | None = None,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
        timeout: float | None = None,
    ) -> PutResult:
        """Write a key.

        Never sent twice: if the connection is lost before the answer, it raises Unavailable with
        `maybe_applied` set.

        Args:
            key: the key.
            value: its value; empty with `ignore_value`.
            lease: the key vanishes with this lease.
            prev_kv: return what was there before.
            ignore_value: keep the value that is there.
            ignore_lease: keep the lease that is there.
            timeout: seconds.

        """
        request = requests.put_request(
            key,
            value,
            lease=lease,
            prev_kv=prev_kv,
            ignore_value=ignore_value,
            ignore_lease=ignore_lease,
        )
        return self._runner.run(calls.put(self._engine, request, timeout))

    def delete(
        self,
        key: Data,
        end: Data | None = None,
        *,
        prefix: bool = False,
        prev_kv: bool = False,
        timeout: float | None = None,
    ) -> DeleteResult:
        """Delete a key, a range or a prefix."""
        request = requests.delete_request(key, end, prefix=prefix, prev_kv=prev_kv)
        return self._runner.run(calls.delete(self._engine, request, timeout))

    def txn(self) -> Txn:
        """A transaction: `.when(...)`, `.then(...)`, `.otherwise(...)`, `.commit()`."""
        return Txn(self._runner, self._engine)

    def compact(
        self, revision: int, *, physical: bool = False, timeout: float | None = None
    ) -> None:
        """Forget the history before a revision; `physical` waits until the space is free."""
        self._runner.run(calls.compact(self._engine, revision, timeout, physical=physical))

    # Watches and leases.

    def watch(
        self,
        key: Data,
        end: Data | None = None,
        *,
        prefix: bool = False,
        start_revision: int = 0,
        prev_kv: bool = False,
        progress: bool = False,
        skip: Skip | Iterable[Skip] = (),
        patience: float | None = settings.PATIENCE,
        timeout: float | None = None,
    ) -> Watch:
        """Changes of a key, a range or a prefix; returns once the server has confirmed it.

        Args:
            key: the key, the first key, or the prefix.
            end: the first key that is not in the range any more.
            prefix: all keys that begin with `key`.
            start_revision: from this revision on; 0 for what comes from now on.
            prev_kv: events tell what was there before.
            progress: let the server tell now and then how far the watch has got.
            skip: leave out `put` or `delete` events.
            patience: seconds without any server before it raises Unavailable; None for ever.
            timeout: seconds until the server has confirmed it.

        """
        request = requests.watch_request(
            key,
            end,
            prefix=prefix,
            start_revision=start_revision,
            prev_kv=prev_kv,
            progress=progress,
            skip=skip,
        )
        watcher = Watcher(self._engine, request, patience)
        return Watch(self._runner, watcher, self._engine.deadline(timeout))

    def lease(self, ttl: int, *, id: int = 0, timeout: float | None = None) -> Lease:  # noqa: A002
        """Grant a lease of `ttl` seconds (servers raise it to their least), with an id if given.

        In a `with` block it is renewed, and revoked at the end.
        """
        plan = leases.grant(self._engine, ttl, id, timeout)
        return self._lease(*self._runner.run(plan))

    def existing_lease(self, id: int, *, timeout: float | None = None) -> Lease:  # noqa: A002
        """A lease granted by somebody else; raises LeaseNotFound."""
        number = arguments.lease(id, "id")
        info = self._runner.run(leases.time_to_live(self._engine, number, timeout, keys=False))
        if info.ttl < 0:
            raise LeaseNotFound
        return self._lease(number, info.granted_ttl)

    def leases(self, *, timeout: float | None = None) -> list[int]:
        """The ids of all leases."""
        return self._runner.run(leases.all_leases(self._engine, timeout))

    def _lease(self, lease_id: int, ttl: int) -> Lease:
        return Lease(self._runner, self._engine, self._leases, lease_id, ttl)

    # Recipes, compatible with those of etcd's Go client.

    def lock(self, name: Data, *, ttl: int = 60, lease: Lease | None = None) -> recipes.Lock:
        """A lock on `name`: `with client.lock("name"):`.

        It rests on `lease`, or on one of its own that is renewed while the lock is needed and that
        frees it `ttl` seconds after this process died.
        """
        session = recipes.Session(self, self._engine, ttl, lease)
        return recipes.Lock(self._runner, self._engine, name, session)

    def election(
        self, name: Data, *, ttl: int = 60, lease: Lease | None = None
    ) -> recipes.Election:
        """An election on `name`; `ttl` and `lease` as for `lock`."""
        session = recipes.Session(self, self._engine, ttl, lease)
        return recipes.Election(self._runner, self._engine, name, session)

    def barrier(self, name: Data) -> recipes.Barrier:
        """A gate on the key `name`."""
        return recipes.Barrier(self._runner, self._engine, name)

    def double_barrier(
        self, name: Data, count: int, *, ttl: int = 60, lease: Lease | None = None
    ) -> recipes.DoubleBarrier:
        """A start and an end for `count` clients; `ttl` and `lease` as for `lock`."""
        session = recipes.Session(self, self._engine, ttl, lease)
        return recipes.DoubleBarrier(self._runner, self._engine, name, count, session)

    def queue(self, name: Data) -> recipes.Queue:
        """A queue, first in first out."""
        return recipes.Queue(self._runner, self._engine, name)

    def priority_queue(self, name: Data) -> recipes.PriorityQueue:
        """A queue by priority."""
        return recipes.PriorityQueue(self._runner, self._engine, name)

    def stm(
        self,
        function: Callable[[stm.STM], T],
        *,
        isolation: Isolation = "serializable_snapshot",
        prefetch: Iterable[Data] = (),
        timeout: float | None = None,
    ) -> T:
        """Call a function whose reads and writes become one transaction; its result.

        It is called again whenever somebody else changed what it has read or written.

        Args:
            function: reads and writes with what it is given, and has no other effects.
            isolation: what it may see of others (see `pykvd.client.Isolation`).
            prefetch: keys that it will read in any case: they are read at once.
            timeout: seconds for each of the calls.

        """
        if not callable(function):
            raise TypeError(f"function: expected one, got {type(function).__name__}")
        memory = Memory(self._engine, isolation, prefetch, timeout)
        return stm.run(self._runner, memory, function)


class Txn(Draft):
    """A transaction that can be committed; made by `Client.txn`."""

    def __init__(self, runner: Runner, engine: Engine) -> None:
        super().__init__()
        self._runner = runner
        self._engine = engine

    def commit(self, *, timeout: float | None = None) -> TxnResult:
        """Carry it out; never twice, unless it only reads."""
        return self._runner.run(commit(self._engine, self.request, timeout))
