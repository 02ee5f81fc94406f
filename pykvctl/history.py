"""The changes of one key that the store still holds.

A watch from the oldest revision on tells them all; what compaction has taken, the server tells when
it refuses an older start.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from pykvctl.client import Client
from pykvctl.errors import CommandError, ExitCode, RequestError
from pykvctl.watcher import COMPACTED, WatchStream, WatchUpdate
from pykvd.methods import RANGE
from pykvd.pb import kv_pb2 as kvpb
from pykvd.pb import rpc_pb2 as rpc

#: How often a watch is asked whether it has caught up, seconds.
PROGRESS_S = 0.05

#: Servers before 3.4.25 tell progress up to 0.1 s before they tell events. Where no pair is left
#: that shows which event is the last, nothing must come for so long, seconds.
SETTLED_S = 0.3


@dataclass(frozen=True)
class Change:
    """One change of the key; None stands for no pair."""

    revision: int
    before: kvpb.KeyValue | None
    after: kvpb.KeyValue | None

    @property
    def kind(self) -> str:
        """PUT or DELETE."""
        return "DELETE" if self.after is None else "PUT"

    @property
    def changed(self) -> list[str]:
        """What it did: `created`, `deleted`, or which of `value` and `lease` it changed."""
        if self.after is None:
            return ["deleted"]
        if self.before is None:
            return ["created"] if self.after.version == 1 else ["value"]
        names = ["value", "lease"]
        return [name for name in names if getattr(self.before, name) != getattr(self.after, name)]


@dataclass(frozen=True)
class History:
    """Changes in order; `base` is the pair as of `compact_revision`, before which nothing is held.

    `compact_revision` is 0 if nothing was ever compacted.
    """

    compact_revision: int
    base: kvpb.KeyValue | None
    changes: list[Change]


def history_of(client: Client, key: bytes, timeout_s: float | None) -> History:
    """All changes up to now; raises RequestError, CommandError."""
    now = client.unary(RANGE, rpc.RangeRequest(key=key), timeout_s)
    current = now.kvs[0] if now.kvs else None
    compacted = 0
    with WatchStream(client) as stream:
        while True:
            base = None
            if compacted:
                try:
                    base = _as_of(client, key, compacted, timeout_s)
                except RequestError as error:
                    if error.details != COMPACTED:
                        raise
            request = rpc.WatchCreateRequest(key=key, start_revision=compacted + 1)
            events, newer = _replay(stream, request, current, now.header.revision, timeout_s)
            if not newer:
                return History(compacted, base, _changes(base, events))
            # A revision that is compacted away right now is asked for again.
            compacted = newer


def _as_of(
    client: Client, key: bytes, revision: int, timeout_s: float | None
) -> kvpb.KeyValue | None:
    request = rpc.RangeRequest(key=key, revision=revision)
    found = client.unary(RANGE, request, timeout_s, quiet=True).kvs
    return found[0] if found else None


def _replay(
    stream: WatchStream,
    request: rpc.WatchCreateRequest,
    current: kvpb.KeyValue | None,
    newest: int,
    timeout_s: float | None,
) -> tuple[list[kvpb.Event], int]:
    """Events up to `newest`, or the revision that compaction has reached if it refuses."""
    if current is not None and current.mod_revision < request.start_revision:
        return [], 0
    watch = stream.watch(request)
    done = threading.Event()
    threading.Thread(target=_ask_for_progress, args=(stream, done), daemon=True).start()
    try:
        return _collect(watch.updates(timeout_s), current, newest)
    finally:
        done.set()


def _collect(
    updates: Iterable[WatchUpdate], current: kvpb.KeyValue | None, newest: int
) -> tuple[list[kvpb.Event], int]:
    events: list[kvpb.Event] = []
    heard = time.monotonic()
    for update in updates:
        response = update.response
        if response.compact_revision:
            return [], response.compact_revision
        if response.canceled:
            raise CommandError(f"watch was canceled ({update.reason})", ExitCode.INTERRUPTED)
        if response.events:
            heard = time.monotonic()
        events += [event for event in response.events if event.kv.mod_revision <= newest]
        if current is not None:
            if events and events[-1].kv.mod_revision >= current.mod_revision:
                break
        elif (
            update.is_progress
            and response.header.revision >= newest
            and time.monotonic() > heard + SETTLED_S
        ):
            break
    return events, 0


def _ask_for_progress(stream: WatchStream, done: threading.Event) -> None:
    while not done.wait(PROGRESS_S):
        stream.request_progress()


def _changes(base: kvpb.KeyValue | None, events: list[kvpb.Event]) -> list[Change]:
    changes = []
    before = base
    for event in events:
        after = None if event.type == kvpb.Event.DELETE else event.kv
        changes.append(Change(event.kv.mod_revision, before, after))
        before = after
    return changes
