"""The hash of the store that members compare, computed exactly as etcd computes HashKV.

CRC-32C over `key` (the bucket name), then over every record in revision order: its 17 or 18 byte
key (`main`, `_`, `sub`, and `t` for a tombstone) and its serialized KeyValue.
"""

import google_crc32c

from pykvd.mvcc.environment import Environment
from pykvd.mvcc.record import FLAGS, MAIN_SHIFT, SUB_SHIFT, TOMBSTONE, body_of, key_of

#: The hash of no records.
SEED: int = google_crc32c.extend(0, b"key")


def record_key(record_id: int) -> bytes:
    """What etcd stores a record under."""
    main = record_id >> MAIN_SHIFT
    sub = (record_id & (1 << MAIN_SHIFT) - 1) >> SUB_SHIFT
    mark = b"t" if record_id & TOMBSTONE else b""
    return main.to_bytes(8, "big") + b"_" + sub.to_bytes(8, "big") + mark


def hash_kv(environment: Environment, revision: int, compact_revision: int) -> int:
    """Hash the records up to `revision`.

    Records at or below `compact_revision` count only where a compaction at `revision` would keep
    them, unless that keeps nothing; tombstones of `compact_revision` itself never do. Before the
    first compaction it is -1. No record has a negative revision.
    """
    if revision < 0:
        return SEED
    last = (revision + 1 << MAIN_SHIFT) - 1
    kept = _kept(environment, last) if compact_revision >= 0 else set()
    compacted = (compact_revision + 1 << MAIN_SHIFT) - 1
    crc = SEED
    for record_id, framed in environment.scan(0, last):
        if record_id <= compacted and record_id not in kept and (kept or record_id & TOMBSTONE):
            continue
        crc = google_crc32c.extend(crc, record_key(record_id))
        crc = google_crc32c.extend(crc, body_of(framed))
    return crc


def _kept(environment: Environment, last: int) -> set[int]:
    newest: dict[bytes, int] = {}
    for record_id, framed in environment.scan(0, last):
        key = key_of(framed)
        if record_id & TOMBSTONE:
            newest.pop(key, None)
        else:
            newest[key] = record_id
    return set(newest.values())


def hash_all(environment: Environment) -> int:
    """CRC-32C over every table, key and value: of one member's file, not comparable elsewhere."""
    crc, current = 0, ""
    for table, key, value in environment.everything():
        if table != current:
            crc, current = google_crc32c.extend(crc, table.encode()), table
        crc = google_crc32c.extend(google_crc32c.extend(crc, key), value)
    return crc


assert FLAGS < 1 << SUB_SHIFT
