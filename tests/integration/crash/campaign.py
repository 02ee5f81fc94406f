"""Rounds of writing, killing, restarting and checking, on one data directory.

A `kill -9` loses nothing that the kernel has: it proves that acknowledgements wait for the log,
that recovery repeats nothing and forgets nothing, and that it may itself be killed. What power cuts
lose is the subject of the log's unit tests.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Self

from pykvd.pb import kv_pb2, rpc_pb2
from tests.harness import (
    Client,
    Failure,
    Kind,
    Server,
    WatchStream,
    wait_until,
)
from tests.harness.methods import LEASES, RANGE, TIME_TO_LIVE
from tests.integration.crash.history import History, HistoryError, by_revision
from tests.integration.crash.workload import LEASE_TTL_S, Journal, Writer

__all__ = ["Campaign", "CrashServer", "on_slow_disk"]

WRITERS = 8
ANSWERS_PER_ROUND = (20, 400)
OLD_REVISIONS_READ = 3
START_TIMEOUT_S = 60.0
ALL_KEYS = rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0")


def on_slow_disk(kind: Kind) -> Kind:
    """The same server, with a log whose writes are slow (see `slow_disk/sitecustomize.py`)."""
    path = Path(__file__).with_name("slow_disk")
    return replace(kind, command=("env", f"PYTHONPATH={path}", *kind.command))


class CrashServer(Server):
    """A server that can be started again on its data, and killed while it starts."""

    def wait(self) -> None:
        """Wait for its end after a signal."""
        assert self.process is not None
        self.process.wait(START_TIMEOUT_S)
        self.process = None

    def kill_while_starting(self, delay_s: float) -> None:
        """Start, and kill after the delay or when ready, whichever comes first."""
        self.spawn()
        deadline = time.monotonic() + delay_s
        wait_until(
            lambda: time.monotonic() > deadline or self._settled(),
            "the moment to kill",
            delay_s + 5,
        )
        self.kill()


class Campaign:
    """One server and everything that is known to have happened to it; `seed` decides the rest."""

    def __init__(self, kind: Kind, home: Path, seed: int) -> None:
        self.seed = seed
        self.server = CrashServer(kind, home)
        self.acknowledged = 0
        self._rng = Random(seed)
        self._history = History()
        self._leases: set[int] = set()
        self._compacted = 0
        self._round = 0

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.kill()

    def round(self) -> None:
        """Write, kill at some moment, restart, check; raises `HistoryError`."""
        self._round += 1
        journal = self._write_and_kill()
        if self._rng.random() < 0.25:
            self.server.kill_while_starting(self._rng.uniform(0, 0.6))
        self.server.start()
        try:
            self._check(journal)
        except AssertionError as error:
            raise HistoryError(f"seed {self.seed}, round {self._round}: {error}") from error
        self.acknowledged += sum(write.acknowledged for write in journal.writes)

    def _write_and_kill(self) -> Journal:
        number = signal.SIGTERM if self._rng.random() < 0.1 else signal.SIGKILL
        end_at = self._rng.randint(*ANSWERS_PER_ROUND)
        journal = Journal(end_at, lambda: os.kill(self.server.pid, number))
        writers = [
            Writer(
                self.server.endpoint,
                f"{self._round}.{number}",
                Random(self._rng.getrandbits(64)),
                journal,
                self._history.revision,
            )
            for number in range(WRITERS)
        ]
        journal.wait_ended()
        for writer in writers:
            writer.join()
        self.server.wait()
        return journal

    def _check(self, journal: Journal) -> None:
        if journal.surprises:
            raise HistoryError(f"unexpected answers: {journal.surprises}")
        with Client(self.server.endpoint) as client:
            now = client.call(RANGE, ALL_KEYS)
            before = self._history.revision
            self._check_compactions(client, journal)
            events = self._read_events(client, before + 1, now.header.revision)
            self._check_old_revisions(client, events, before)
            self._history.extend(by_revision(events), journal.writes, now.header.revision)
            if list(now.kvs) != [kv for _, kv in sorted(self._history.keys.items())]:
                raise HistoryError("the keys are not what the history makes of them")
            self._check_leases(client, journal)

    def _read_events(self, client: Client, first: int, last: int) -> list[kv_pb2.Event]:
        """Everything from `first` to `last`, by a watch on all keys."""
        if last < first:
            return []
        with WatchStream(client) as stream:
            request = rpc_pb2.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=first)
            watch_id = stream.create(request).watch_id
            stream.wait(
                lambda: any(
                    event.kv.mod_revision >= last
                    for response in stream.responses[-1:]
                    for event in response.events
                ),
                f"the events up to revision {last}",
            )
            return stream.events(watch_id)

    def _check_old_revisions(self, client: Client, events: list[kv_pb2.Event], before: int) -> None:
        """Ranges at some of the revisions see exactly the keys of that moment."""
        chosen = sorted(self._rng.sample(range(len(events)), min(OLD_REVISIONS_READ, len(events))))
        for revision in {events[position].kv.mod_revision for position in chosen}:
            keys = dict(self._history.keys)
            for event in events:
                if event.kv.mod_revision > revision:
                    break
                if event.type == kv_pb2.Event.PUT:
                    keys[event.kv.key] = event.kv
                else:
                    keys.pop(event.kv.key, None)
            request = rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0", revision=revision)
            if list(client.call(RANGE, request).kvs) != [kv for _, kv in sorted(keys.items())]:
                raise HistoryError(f"the keys at revision {revision} are wrong (from {before})")

    def _check_compactions(self, client: Client, journal: Journal) -> None:
        """What was acknowledged as compacted stays so."""
        for compaction in journal.compactions:
            if compaction.acknowledged:
                self._compacted = max(self._compacted, compaction.revision)
        if self._compacted < 2:
            return
        request = rpc_pb2.RangeRequest(key=b"x", revision=self._compacted - 1)
        answer = client.attempt(RANGE, request)
        if not isinstance(answer, Failure) or "compacted" not in answer.text:
            raise HistoryError(f"revision {self._compacted - 1} is back from compaction: {answer}")

    def _check_leases(self, client: Client, journal: Journal) -> None:
        """Leases that were granted are there, those revoked are not, and keys know theirs."""
        alive = {status.ID for status in client.call(LEASES).leases}
        may, must = set(self._leases), set(self._leases)
        for grant in journal.grants:
            may.add(grant.lease)
            if grant.acknowledged and grant.revoke is None:
                must.add(grant.lease)
            if grant.revoke is not None and grant.revoke.acknowledged:
                may.discard(grant.lease)
        if not must <= alive <= may:
            raise HistoryError(f"leases lost: {must - alive}, unknown: {alive - may}")
        self._leases = alive
        for lease in self._rng.sample(sorted(alive), min(3, len(alive))):
            reply = client.call(TIME_TO_LIVE, rpc_pb2.LeaseTimeToLiveRequest(ID=lease, keys=True))
            keys = {kv.key for kv in self._history.keys.values() if kv.lease == lease}
            if set(reply.keys) != keys or reply.grantedTTL != LEASE_TTL_S:
                raise HistoryError(f"lease {lease} should hold {keys}: {reply}")
