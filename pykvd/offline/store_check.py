"""Checks a data file record by record: what can be parsed, and what must hold between records.

LMDB keeps no checksums and trusts its pages, so a damaged file may kill the process that reads it.
`check_store` therefore runs this module in a process of its own (`python -m
pykvd.offline.store_check FILE`), which prints one JSON object.
"""

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import Struct
from typing import NamedTuple

import google_crc32c
import lmdb
from google.protobuf.message import DecodeError

from pykvd.auth.store import entry_key
from pykvd.cluster.membership import Member
from pykvd.mvcc.backend import DIGEST_KEY
from pykvd.mvcc.digest import Digest
from pykvd.mvcc.environment import Environment
from pykvd.mvcc.record import (
    FRESH,
    ID_BYTES,
    LEASED,
    MAIN_SHIFT,
    SUB_SHIFT,
    TOMBSTONE,
    parse,
    read_varint,
)
from pykvd.mvcc.store import COMPACT_KEY
from pykvd.node.storage import APPLIED, APPLIED_KEY, CONF_STATE_KEY
from pykvd.offline.findings import Finding, Severity
from pykvd.pb.auth_pb2 import Role, User
from pykvd.pb.kv_pb2 import KeyValue
from pykvd.raft import ConfState
from pykvd.raft.errors import MessageDecodeError
from pykvd.restore import RestoreError, opened

STORE_WAY_OUT = (
    "restore the data directory with `pykvctl snapshot restore`, or remove the member with "
    "`pykvctl member remove`, empty its data directory and add it again with `pykvctl member add`"
)
#: More findings than this tell nothing new.
FINDINGS_MAX = 20

_LEASE_KEY = Struct(">q")
_LEASE = Struct(">qq")
_ALARM = Struct(">Qi")
_TIME = Struct(">Q")
_SUB_MASK = (1 << MAIN_SHIFT) - 1


@dataclass
class StoreReport:
    """What a store holds; `problems` says what is wrong with it. Revisions as of the records."""

    revision: int = 1
    compact_revision: int = -1
    records: int = 0
    keys: int = 0
    leases: int = 0
    members: int = 0
    applied_index: int = 0
    applied_term: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)
    """Offset in bytes, -1 where none can be told, and what is wrong there."""


class Problem(NamedTuple):
    """What is wrong, and with which bytes of the file, if it is with a record."""

    text: str
    stored: bytes = b""


def check_store(file: Path) -> tuple[StoreReport, list[Finding]]:
    """Check a data file in a process of its own."""
    command = [sys.executable, "-m", "pykvd.offline.store_check", str(file)]
    child = subprocess.run(command, capture_output=True, check=False)
    if child.returncode:
        how = f"signal {-child.returncode}" if child.returncode < 0 else "an error"
        last = child.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        text = f"reading it ends in {how}: its pages are damaged" + (f" ({last})" if last else "")
        return StoreReport(), [Finding(Severity.DAMAGE, str(file), -1, text, STORE_WAY_OUT)]
    report = StoreReport(**json.loads(child.stdout))
    return report, [
        Finding(Severity.DAMAGE, str(file), offset, text, STORE_WAY_OUT)
        for offset, text in report.problems
    ]


def examine(file: Path) -> StoreReport:
    """Check a data file in this process."""
    report = StoreReport()
    try:
        size = file.stat().st_size
        with opened(file, size, readonly=True) as environment:
            problems = _problems(environment, report)
            found = list(islice(problems, FINDINGS_MAX))
            if next(problems, None) is not None:
                found.append(Problem("and more of the kind"))
        report.problems = [(_offset(file, each.stored), each.text) for each in found]
    except (RestoreError, lmdb.Error, OSError) as error:
        report.problems.append((-1, f"it is no whole store: {error}"))
    return report


def _offset(file: Path, stored: bytes) -> int:
    """Where bytes stand in the file; -1 if nowhere, or in an old page as well."""
    if not stored:
        return -1
    with file.open("rb") as opened_file, mmap(opened_file.fileno(), 0, access=ACCESS_READ) as data:
        first = data.find(stored)
        return first if data.find(stored, first + 1) < 0 else -1


def _problems(environment: Environment, report: StoreReport) -> Iterator[Problem]:
    yield from map(Problem, _check_meta(environment, report))
    leases: set[int] = set()
    yield from map(Problem, _check_tables(environment, report, leases))
    chains = _Chains(report.compact_revision)
    checksum = _Checksum(environment, report.compact_revision)
    record_id = 0
    for record_id, framed in environment.scan(0, (1 << 96) - 1):
        report.records += 1
        for text in chains.check(record_id, framed):
            yield Problem(text, record_id.to_bytes(ID_BYTES, "big") + framed)
        checksum.add(record_id, framed)
    report.keys = len(chains.live)
    report.revision = max(record_id >> MAIN_SHIFT, report.compact_revision, 1)
    for key, version in chains.live.items():
        if version.lease and version.lease not in leases:
            yield Problem(f"key {key!r} hangs on lease {version.lease:x}, which does not exist")
    yield from map(Problem, checksum.check(record_id >> MAIN_SHIFT))


def _check_meta(environment: Environment, report: StoreReport) -> Iterator[str]:
    meta = dict(environment.table("meta"))
    try:
        report.applied_index, report.applied_term = APPLIED.unpack(meta[APPLIED_KEY])
        if COMPACT_KEY in meta:
            report.compact_revision = int(meta[COMPACT_KEY])
        conf_state = ConfState.decode(meta[CONF_STATE_KEY])
    except (KeyError, ValueError, struct.error, MessageDecodeError) as error:
        yield f"table meta cannot be read: {error!r}"
        return
    known = {int.from_bytes(key, "big") for key, _ in environment.table("member")}
    for member in conf_state.members():
        if member not in known:
            yield f"member {member:x} takes part in consensus, but is not in table member"


def _check_tables(environment: Environment, report: StoreReport, leases: set[int]) -> Iterator[str]:
    """The small tables; ids of leases are added to `leases`."""

    def read_lease(key: bytes, value: bytes) -> None:
        _LEASE.unpack(value)
        leases.add(_LEASE_KEY.unpack(key)[0])

    def read_named(kind: type[User] | type[Role], key: bytes, value: bytes) -> None:
        if entry_key(kind.FromString(value).name) != key:
            raise ValueError("it holds another name than its key says")

    def read_member(key: bytes, value: bytes) -> None:
        if Member.decode(value).id != int.from_bytes(key, "big"):
            raise ValueError("it holds another member than its key says")

    readers: dict[str, Callable[[bytes, bytes], object]] = {
        "lease": read_lease,
        "member": read_member,
        "alarm": lambda key, _: _ALARM.unpack(key),
        "user": lambda key, value: read_named(User, key, value),
        "role": lambda key, value: read_named(Role, key, value),
        "time": lambda key, value: (_TIME.unpack(key), _TIME.unpack(value)),
    }
    for table, read in readers.items():
        for key, value in environment.table(table):
            try:
                read(key, value)
            except (ValueError, KeyError, TypeError, struct.error, DecodeError) as error:
                yield f"table {table}, key {key.hex()}: {error}"
    report.leases = len(leases)
    report.members = len(environment.table("member"))


class _Checksum:
    """The running checksum of the store, computed anew.

    That can be done only as long as compaction has taken nothing of what the checksum is of.
    """

    def __init__(self, environment: Environment, compact_revision: int) -> None:
        found = dict(environment.table("meta")).get(DIGEST_KEY)
        self._recorded = Digest.decode(found) if found else Digest()
        origin = self._recorded.origin
        self._first = origin << MAIN_SHIFT if origin > compact_revision else None
        self._crc = 0

    def add(self, record_id: int, framed: bytes) -> None:
        """Take in the next record."""
        if self._first is not None and record_id >= self._first:
            self._crc = google_crc32c.extend(self._crc, framed)

    def check(self, newest: int) -> Iterator[str]:
        """Compare; `newest` is the revision of the last record."""
        recorded = self._recorded
        if not recorded.origin or self._first is None:
            return
        if (newest, self._crc) != recorded.newest:
            yield (
                f"the checksum of revisions {recorded.origin} to {newest} is {self._crc:08x}, "
                f"where {recorded.newest.crc:08x} up to {recorded.newest.revision} was written"
            )


class _Version(NamedTuple):
    """What the next version of a key is compared with."""

    number: int
    create: int
    lease: int


class _Chains:
    """Follows the versions of every key; `live` holds the newest of those that exist.

    Of each key, the newest version at or below the compacted revision and all later ones are kept,
    so that above it no link of a chain may be missing.
    """

    def __init__(self, compact_revision: int) -> None:
        self.live: dict[bytes, _Version] = {}
        self._compacted = compact_revision

    def check(self, record_id: int, framed: bytes) -> Iterator[str]:
        """What is wrong with the next record."""
        place = f"record {record_id >> MAIN_SHIFT}.{(record_id & _SUB_MASK) >> SUB_SHIFT}"
        try:
            kv = _parse(framed)
        except (ValueError, IndexError, DecodeError) as error:
            yield f"{place} cannot be parsed: {error}"
            return
        before = self.live.get(kv.key)
        complaint = self._complaint(record_id, kv, before)
        if complaint:
            yield f"{place} of key {kv.key!r}: {complaint}"
        if record_id & TOMBSTONE:
            self.live.pop(kv.key, None)
        else:
            self.live[kv.key] = _Version(kv.version, kv.create_revision, kv.lease)

    def _complaint(self, record_id: int, kv: KeyValue, before: _Version | None) -> str:
        main = record_id >> MAIN_SHIFT
        missing = before is None and main > self._compacted
        if record_id & TOMBSTONE:
            return "it deletes a key that does not exist" if missing else ""
        fresh = kv.version == 1 and kv.create_revision == main
        if kv.mod_revision != main:
            return f"its mod_revision is {kv.mod_revision}"
        if fresh != bool(record_id & FRESH) or (kv.lease != 0) != bool(record_id & LEASED):
            return "its flags do not fit its content"
        if fresh:
            return "it creates a key that exists" if before is not None else ""
        if missing:
            return f"version {kv.version - 1} before it is missing"
        if before is None:
            return ""
        if (kv.version, kv.create_revision) != (before.number + 1, before.create):
            return f"version {kv.version} follows version {before.number}"
        return ""


def _parse(framed: bytes) -> KeyValue:
    """The record as a message; ValueError unless it is framed as it should be."""
    if framed[:1] != b"\x12":
        raise ValueError("it is not framed as a KeyValue")
    length, start = read_varint(framed, 1)
    if start + length != len(framed):
        raise ValueError(f"its length is {len(framed) - start}, not {length}")
    kv = parse(framed)
    if not kv.key:
        raise ValueError("it has no key")
    return kv


if __name__ == "__main__":
    print(json.dumps(asdict(examine(Path(sys.argv[1])))))  # noqa: T201
