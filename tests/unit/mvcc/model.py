"""The store as plain as can be: a list of all changes, and everything computed from it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import google_crc32c

from pykvd.pb.kv_pb2 import KeyValue
from pykvd.pb.rpc_pb2 import RangeRequest


class Change(NamedTuple):
    """One put or, without a `kv`, one delete."""

    main: int
    sub: int
    key: bytes
    kv: KeyValue | None


def in_range(name: bytes, key: bytes, end: bytes) -> bool:
    """The range conventions (api of etcd, KV): single key, from-key, interval."""
    if not end:
        return name == key
    return name >= key and (end == b"\x00" or name < end)


TARGETS: dict[int, Callable[[KeyValue], bytes | int]] = {
    RangeRequest.KEY: lambda kv: kv.key,
    RangeRequest.VERSION: lambda kv: kv.version,
    RangeRequest.CREATE: lambda kv: kv.create_revision,
    RangeRequest.MOD: lambda kv: kv.mod_revision,
    RangeRequest.VALUE: lambda kv: kv.value,
}


@dataclass
class Answer:
    """What a Range may return: `candidates` in the right order of `targets`, cut to `length`."""

    candidates: list[KeyValue]
    length: int
    more: bool
    count: int


@dataclass
class Model:
    """All changes so far, those of the write in progress included."""

    changes: list[Change] = field(default_factory=list)
    live: dict[bytes, KeyValue] = field(default_factory=dict)
    revision: int = 1
    compacted: int = -1
    sub: int = 0

    def copy(self) -> "Model":
        """The model as it is now."""
        return Model(list(self.changes), dict(self.live), self.revision, self.compacted, self.sub)

    # Writes

    def put(self, key: bytes, value: bytes, lease: int) -> None:
        main = self.revision + 1
        old = self.live.get(key)
        kv = KeyValue(
            key=key,
            create_revision=old.create_revision if old else main,
            mod_revision=main,
            version=old.version + 1 if old else 1,
            value=value,
            lease=lease,
        )
        self.live[key] = kv
        self._add(key, kv)

    def delete(self, key: bytes) -> None:
        del self.live[key]
        self._add(key, None)

    def _add(self, key: bytes, kv: KeyValue | None) -> None:
        self.changes.append(Change(self.revision + 1, self.sub, key, kv))
        self.sub += 1

    def end(self) -> list[Change]:
        """Finish the write; returns its changes."""
        count, self.sub = self.sub, 0
        if count:
            self.revision += 1
        return self.changes[len(self.changes) - count :]

    # Reads

    def at(self, revision: int) -> dict[bytes, KeyValue]:
        """All keys as of a revision."""
        state: dict[bytes, KeyValue] = {}
        for change in self.changes:
            if change.main > revision:
                break
            if change.kv is None:
                del state[change.key]
            else:
                state[change.key] = change.kv
        return state

    def range(self, request: RangeRequest, revision: int) -> Answer:
        """The answer to a Range; revision 0 is the newest state."""
        state = self.at(revision) if revision > 0 else self.live
        names = sorted(name for name in state if in_range(name, request.key, request.range_end))
        rows = [state[name] for name in names]
        count = len(rows)
        if request.count_only:
            return Answer([], 0, False, count)
        kept = [row for row in rows if _passes(request, row)]
        limit = max(0, request.limit)
        # etcd applies the limit before the sort where nothing but the target asks for one.
        if limit and request.sort_order == RangeRequest.NONE and not _filtered(request):
            kept = kept[: limit + 1]
        by = TARGETS[request.sort_target]
        kept.sort(key=by, reverse=request.sort_order == RangeRequest.DESCEND)
        more = 0 < limit < len(kept)
        return Answer(kept, limit if more else len(kept), more, count)

    # Compaction

    def kept(self, revision: int) -> set[tuple[int, int]]:
        """(main, sub) of the live versions that a compaction at `revision` has to keep."""
        newest: dict[bytes, Change] = {}
        for change in self.changes:
            if change.main <= revision:
                newest[change.key] = change
        return {(each.main, each.sub) for each in newest.values() if each.kv is not None}

    def stored(self) -> list[Change]:
        """The changes that are left when the compaction is finished."""
        kept = self.kept(self.compacted)
        last = {change.key: change for change in self.changes if change.main <= self.compacted}
        return [
            change
            for change in self.changes
            if change.main > self.compacted
            or (change.main, change.sub) in kept
            or (change.main == self.compacted and last[change.key] is change)
        ]

    def hash_kv(self, revision: int) -> int:
        """HashKV as etcd's API describes it."""
        kept = self.kept(revision) if self.compacted >= 0 else set()
        crc = int(google_crc32c.value(b"key"))
        for change in self.stored():
            if change.main > revision:
                continue
            if change.main <= self.compacted and kept and (change.main, change.sub) not in kept:
                continue
            if change.main == self.compacted and change.kv is None:
                continue
            mark = b"t" if change.kv is None else b""
            key = change.main.to_bytes(8, "big") + b"_" + change.sub.to_bytes(8, "big") + mark
            kv = change.kv or KeyValue(key=change.key)
            crc = google_crc32c.extend(crc, key + kv.SerializeToString(deterministic=True))
        return crc


def _filtered(request: RangeRequest) -> bool:
    return any(
        (
            request.min_mod_revision,
            request.max_mod_revision,
            request.min_create_revision,
            request.max_create_revision,
        )
    )


def _passes(request: RangeRequest, kv: KeyValue) -> bool:
    return (
        (not request.min_mod_revision or kv.mod_revision >= request.min_mod_revision)
        and (not request.max_mod_revision or kv.mod_revision <= request.max_mod_revision)
        and (not request.min_create_revision or kv.create_revision >= request.min_create_revision)
        and (not request.max_create_revision or kv.create_revision <= request.max_create_revision)
    )
