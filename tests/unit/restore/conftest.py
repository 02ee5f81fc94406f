"""A store of an old cluster of two, and the snapshot file that its member would have sent."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from struct import pack

import pytest

from pykvd.cluster.membership import Member
from pykvd.mvcc.environment import Environment
from pykvd.mvcc.record import FRESH, LEASED, TOMBSTONE, encode_key_value, encode_tombstones
from pykvd.node.storage import Founding, Identity, write_founding

LEASE = 77
OLD_MEMBERS = [
    Member(5, "a", ("http://10.0.0.1:2380",), ("http://10.0.0.1:2379",)),
    Member(6, "b", ("http://10.0.0.2:2380",), is_learner=True),
]
RECORDS = [
    (2 << 32 | FRESH, encode_key_value(b"foo", 2, 2, 1, b"bar", 0)),
    (3 << 32 | LEASED, encode_key_value(b"foo", 2, 3, 2, b"baz", LEASE)),
    (4 << 32 | FRESH, encode_key_value(b"abc", 4, 4, 1, b"123", 0)),
    (4 << 32 | 1 << 3 | FRESH, encode_key_value(b"abd", 4, 4, 1, b"124", 0)),
    (5 << 32 | TOMBSTONE, encode_tombstones([b"abc"])[0]),
]
REVISION = 5
LEASE_ENTRY = (pack(">q", LEASE), pack(">qq", 600, 480))
ALARM_ENTRY = (pack(">Qi", 5, 1), b"")


@dataclass(frozen=True)
class Old:
    """What is left of the old cluster: a snapshot file, and its parts."""

    file: Path
    data: bytes
    """The file without the digest."""


def make_snapshot(folder: Path, records: list[tuple[int, bytes]]) -> Old:
    """The snapshot of a store with these records, a lease, an alarm, two members, one removed."""
    founding = Founding(Identity(5, 1), OLD_MEMBERS, joining=False)
    write_founding(folder / "member", folder / "wal", founding, sync=False)
    environment = Environment.open_latest(folder / "member" / "db", sync=False)
    meta: dict[tuple[str, bytes], bytes | None] = {
        ("lease", LEASE_ENTRY[0]): LEASE_ENTRY[1],
        ("alarm", ALARM_ENTRY[0]): ALARM_ENTRY[1],
        ("removed", pack(">Q", 4)): b"",
        ("meta", b"applied"): pack(">QQ", 1234, 9),
    }
    environment.write(records, [], meta)
    environment.copy_to(folder / "copy")
    environment.close()
    data = (folder / "copy" / "data.mdb").read_bytes()
    file = folder / "backup.db"
    file.write_bytes(data + sha256(data).digest())
    return Old(file, data)


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Old:
    """The snapshot; tests only read it."""
    return make_snapshot(tmp_path_factory.mktemp("old"), RECORDS)
