"""The hub: brings the events of every revision to the watchers.

A watcher is in one of four places. *Synced* ones get events as they are applied. *Unsynced* ones
need history: `catch_up` scans for all of them together, a slice at a time. *Future* ones wait for
their start revision. *Ended* ones (compacted away) wait for the client to cancel them.

A session that reads too slowly makes its watchers unsynced instead of filling memory; they resume
from the store when there is room again. Nothing is lost unless it is compacted, and then the
client is told.

Everything runs on the loop thread: `notify` and `flush` inside apply, `catch_up` between applies,
so a watcher that has seen everything up to the store's revision can be moved to synced without a
gap or a repetition.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import islice

from pykvd.mvcc.record import FRESH, MAIN_SHIFT, TOMBSTONE, encode_delete_event, key_of, varint
from pykvd.mvcc.store import Event, Store
from pykvd.watch.watcher import Group, Watcher, WatcherSet

#: Records read per slice of catching up: about two milliseconds of the loop.
CATCH_UP_RECORDS = 1000
#: Watchers served by one slice (etcd's figure).
CATCH_UP_WATCHERS = 512
#: Of a message on the wire: not compressed, and its length.
PREFIX_BYTES = 5
#: WatchResponse.fragment = true.
MORE_FOLLOWS = b"\x38\x01"


class Hub:
    """All watchers of a member.

    `header(revision)` is the framed ResponseHeader, `schedule` asks for a call of `catch_up` soon,
    `fragment_bytes` is the response size from which fragmenting watchers get pieces.
    """

    def __init__(
        self,
        store: Store,
        *,
        header: Callable[[int], bytes],
        schedule: Callable[[Callable[[], None]], object],
        fragment_bytes: int,
    ) -> None:
        self._store = store
        self._header = header
        self._schedule = schedule
        self._fragment_bytes = fragment_bytes
        self._synced = WatcherSet()
        self._unsynced: dict[Watcher, None] = {}
        self._future: list[tuple[int, int, Watcher]] = []
        self._sequence = 0
        self._touched: dict[Group, None] = {}
        self._catching_up = False
        #: Events sent, once for every watcher that got them.
        self.events_sent = 0

    @property
    def watchers(self) -> int:
        """Watchers of all kinds that are active."""
        waiting = sum(watcher.active for _, _, watcher in self._future)
        return len(self._synced) + len(self._unsynced) + waiting

    @property
    def slow_watchers(self) -> int:
        """Watchers that have not seen everything."""
        return len(self._unsynced)

    @property
    def pending_events(self) -> int:
        """Events of this turn that are not sent yet."""
        return sum(len(group.pending) for group in self._touched)

    # Watchers come and go

    def add(self, watcher: Watcher) -> None:
        """Start a watcher at its `next` revision; 0 means from the next change on."""
        current = self._store.revision
        watcher.next = watcher.next or current + 1
        if watcher.next > current + 1:
            self._sequence += 1
            heappush(self._future, (watcher.next, self._sequence, watcher))
        elif watcher.next == current + 1:
            self._sync(watcher)
        else:
            self._lag(watcher)

    def remove(self, watcher: Watcher) -> None:
        """Stop a watcher, wherever it is."""
        watcher.active = False
        if watcher.synced:
            watcher.synced = False
            self._synced.remove(watcher)
        self._unsynced.pop(watcher, None)

    def _sync(self, watcher: Watcher) -> None:
        watcher.synced = True
        self._synced.add(watcher)

    def _lag(self, watcher: Watcher) -> None:
        self._unsynced[watcher] = None
        self.wake()

    def wake(self) -> None:
        """Have lagging watchers served soon: called when a session can be written to again."""
        if self._unsynced and not self._catching_up:
            self._catching_up = True
            self._schedule(self.catch_up)

    def resync(self, seen: int) -> None:
        """The store, so far at revision `seen`, was replaced by a newer one: read on from there."""
        for watcher in list(self._synced):
            watcher.next = max(watcher.next, seen + 1)
            self._synced.remove(watcher)
            watcher.synced = False
            self._lag(watcher)
        while self._future and self._future[0][0] <= self._store.revision:
            watcher = heappop(self._future)[2]
            if watcher.active:
                self._lag(watcher)
        self.wake()

    # Live events

    def notify(self, main: int, events: list[Event]) -> None:
        """Take the events of one revision; `flush` sends them."""
        while self._future and self._future[0][0] <= main:
            watcher = heappop(self._future)[2]
            if watcher.active:
                self._sync(watcher)
        if not self._synced:
            return
        for event in events:
            for group in self._synced.match(event.key):
                if group.wants(event.record_id):
                    if not group.pending:
                        self._touched[group] = None
                    group.pending.append((main, self._encode(event, main, group.prev_kv)))

    def flush(self) -> None:
        """Send what `notify` collected: one response per watcher."""
        if not self._touched:
            return
        touched, self._touched = self._touched, {}
        header = self._header(self._store.revision)
        for group in touched:
            events, group.pending = group.pending, []
            self._deliver(group, events, header)

    def _deliver(self, group: Group, events: list[tuple[int, bytes]], header: bytes) -> None:
        body = b"".join([event for _, event in events])
        shared: dict[int, bytes] = {}
        lagging = []
        for watcher in group.watchers:
            session = watcher.session
            if session.congested:
                watcher.next = max(watcher.next, events[0][0])
                lagging.append(watcher)
                continue
            if watcher.fragment or watcher.next > events[0][0]:
                # A watcher that waited for its start may have become synced within this tick.
                self._send(watcher, header, [each for main, each in events if main >= watcher.next])
                continue
            watcher.noted = True
            self.events_sent += len(events)
            framed = shared.get(watcher.id)
            if framed is None:
                framed = shared[watcher.id] = _response(header, watcher.id, body)
            session.send_shared(framed)
        for watcher in lagging:
            watcher.synced = False
            self._synced.remove(watcher)
            self._lag(watcher)

    def _encode(self, event: Event, main: int, with_prev: bool) -> bytes:
        """The event as field 11 of a WatchResponse."""
        deleted = event.record_id & TOMBSTONE
        body = encode_delete_event(event.key, main) if deleted else event.framed
        # A key that is deleted and put again in one transaction has no value before the put.
        if with_prev and not event.record_id & FRESH:
            previous = self._store.get_at(event.key, main - 1)
            if previous:
                body += b"\x1a" + previous[1:]
        return b"\x5a" + varint(len(body)) + body

    def _send(self, watcher: Watcher, header: bytes, events: list[bytes]) -> None:
        """Send events of this watcher's own, if there are any."""
        if not events:
            return
        watcher.noted = True
        self.events_sent += len(events)
        response = _response(header, watcher.id, b"".join(events))
        if watcher.fragment and len(response) - PREFIX_BYTES >= self._fragment_bytes:
            self._send_fragments(watcher, header, events)
        else:
            watcher.session.send_shared(response)

    def _send_fragments(self, watcher: Watcher, header: bytes, events: list[bytes]) -> None:
        """Pack events greedily into responses below the fragment size (etcd API, fragment)."""
        piece: list[bytes] = []
        size = empty = len(_response(header, watcher.id, MORE_FOLLOWS)) - PREFIX_BYTES
        for event in events:
            if piece and size + len(event) >= self._fragment_bytes:
                body = MORE_FOLLOWS + b"".join(piece)
                watcher.session.send_shared(_response(header, watcher.id, body))
                piece, size = [], empty
            piece.append(event)
            size += len(event)
        watcher.session.send_shared(_response(header, watcher.id, b"".join(piece)))

    # History

    def catch_up(self) -> None:
        """Serve a slice of history to those who lag; goes on while any of them can be served."""
        self._catching_up = False
        self._end_compacted()
        ready = [watcher for watcher in self._unsynced if not watcher.session.congested]
        ready = list(islice(ready, CATCH_UP_WATCHERS))
        if not ready:
            return
        first = min(watcher.next for watcher in ready)
        events, last = self._history(first)
        batches = self._match(ready, events)
        header = self._header(self._store.revision)
        for watcher in ready:
            self._advance(watcher, batches.get(watcher, []), header, last)
        self.wake()

    def _end_compacted(self) -> None:
        compacted = self._store.compact_revision
        for watcher in [w for w in self._unsynced if w.next < compacted]:
            del self._unsynced[watcher]
            watcher.session.compacted(watcher, compacted)

    def _history(self, first: int) -> tuple[list[Event], int]:
        """Events from revision `first` on, whole revisions, and the last revision covered."""
        limit = CATCH_UP_RECORDS
        while True:
            records = self._store.backend.since(first << MAIN_SHIFT, limit)
            if len(records) < limit:
                last = self._store.revision
                break
            last = (records[-1][0] >> MAIN_SHIFT) - 1
            if last >= first:
                records = [item for item in records if item[0] >> MAIN_SHIFT <= last]
                break
            limit *= 4
        return [Event(key_of(framed), record_id, framed) for record_id, framed in records], last

    def _match(self, ready: list[Watcher], events: list[Event]) -> dict[Watcher, list[bytes]]:
        lookup = WatcherSet()
        for watcher in ready:
            lookup.add(watcher)
        batches: dict[Watcher, list[bytes]] = {}
        for event in events:
            main = event.record_id >> MAIN_SHIFT
            for group in lookup.match(event.key):
                if not group.wants(event.record_id):
                    continue
                encoded = b""
                for watcher in group.watchers:
                    if watcher.next <= main:
                        encoded = encoded or self._encode(event, main, group.prev_kv)
                        batches.setdefault(watcher, []).append(encoded)
        return batches

    def _advance(self, watcher: Watcher, events: list[bytes], header: bytes, last: int) -> None:
        watcher.next = max(watcher.next, last + 1)
        self._send(watcher, header, events)
        if watcher.active and watcher.next > self._store.revision:
            del self._unsynced[watcher]
            self._sync(watcher)


def _response(header: bytes, watch_id: int, body: bytes) -> bytes:
    """A WatchResponse behind its gRPC prefix: not compressed, four bytes of length."""
    identity = b"\x10" + varint(watch_id) if watch_id else b""
    size = len(header) + len(identity) + len(body)
    return b"\x00%b%b%b%b" % (size.to_bytes(4, "big"), header, identity, body)
