"""Checks a stopped member's directory, changing nothing in it.

The log is read as a start reads it (checksums, chain, segments in sequence) through a file system
that cannot write, then the content of each entry is parsed; the store is read record by record; at
last the two are compared.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.message import DecodeError

from pykvd.cluster.membership import MemberChange
from pykvd.node.commands import decode_batch_head, decode_commands
from pykvd.node.storage import Identity
from pykvd.offline.directory import DATA_FILE, MemberDirectory
from pykvd.offline.findings import Finding, Severity
from pykvd.offline.store_check import STORE_WAY_OUT, StoreReport, check_store
from pykvd.raft import ConfChange, EntryKind
from pykvd.raft.errors import MessageDecodeError
from pykvd.wal import Entry, Replay, Wal, WalDamaged, WalError
from pykvd.wal.errors import DAMAGE_WAY_OUT
from pykvd.wal.filesystem import OsFileSystem
from pykvd.wal.log import SUFFIX
from pykvd.wal.segment import SegmentReader


@dataclass
class Verification:
    """What was looked at, and what was found; None stands for a part that cannot be read."""

    segments: int = 0
    replay: Replay | None = None
    store: StoreReport | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether a member may start from the directory."""
        return all(finding.severity is not Severity.DAMAGE for finding in self.findings)


class ReadOnlyFileSystem(OsFileSystem):
    """The real disk, on which nothing is ever changed."""

    def open(self, path: Path, *, create: bool) -> int:
        """Open for reading."""
        if create:
            raise PermissionError(f"{path} would be made")
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def pwritev(
        self,
        fd: int,  # noqa: ARG002
        buffers: Sequence[bytes],
        offset: int,  # noqa: ARG002
        *,
        durable: bool = False,  # noqa: ARG002
    ) -> int:
        """Drop it."""
        return sum(map(len, buffers))

    def truncate(self, fd: int, size: int) -> None:
        """Leave it."""

    def fdatasync(self, fd: int) -> None:
        """Nothing was written."""

    def unlink(self, path: Path) -> None:
        """Leave it."""

    def fsync_dir(self, path: Path) -> None:
        """Nothing was changed."""


def verify(member: MemberDirectory) -> Verification:
    """Check the log, the store, and whether they belong together."""
    result = Verification()
    _check_log(member.wal, result)
    if member.store is None:
        text = "there is no store"
        place = str(member.path / "db")
        result.findings.append(Finding(Severity.DAMAGE, place, -1, text, STORE_WAY_OUT))
    else:
        report, findings = check_store(member.store / DATA_FILE)
        result.findings += findings
        result.store = report if report.records or not findings else None
        result.findings += _leftovers(member.store)
    if result.replay and result.store:
        result.findings += _compare(member, result.replay, result.store)
    return result


def _check_log(directory: Path, result: Verification) -> None:
    names = sorted(path for path in directory.glob(f"*{SUFFIX}"))
    result.segments = len(names)
    try:
        wal, replay = Wal.open(directory, filesystem=ReadOnlyFileSystem())
    except WalDamaged as error:
        finding = Finding(
            Severity.DAMAGE, str(error.file), error.offset, error.reason, DAMAGE_WAY_OUT
        )
        result.findings.append(finding)
        return
    except WalError as error:
        finding = Finding(Severity.DAMAGE, str(directory), -1, str(error), DAMAGE_WAY_OUT)
        result.findings.append(finding)
        return
    wal.close()
    result.replay = replay
    if replay.torn:
        text = f"a crash left an unfinished write, which the next start cuts: {replay.torn}"
        result.findings.append(Finding(Severity.NOTE, str(directory), -1, text))
    result.findings += _check_identity(directory, replay)
    for path in names:
        result.findings += _check_entries(path)


def _check_identity(directory: Path, replay: Replay) -> Iterator[Finding]:
    try:
        Identity.decode(replay.metadata)
    except (ValueError, KeyError, TypeError):
        text = f"the log does not say whose it is: {replay.metadata!r}"
        yield Finding(Severity.DAMAGE, str(directory), -1, text, DAMAGE_WAY_OUT)
    term = max((entry.term for entry in replay.entries), default=replay.snapshot.term)
    state = replay.hard_state
    if state.term < term:
        text = f"it holds entries of term {term}, but the member has only been in {state.term}"
        yield Finding(Severity.DAMAGE, str(directory), -1, text, DAMAGE_WAY_OUT)
    if state.commit > replay.last_index:
        text = f"entry {state.commit} was committed, but the log ends with {replay.last_index}"
        yield Finding(Severity.DAMAGE, str(directory), -1, text, DAMAGE_WAY_OUT)


def _check_entries(path: Path) -> Iterator[Finding]:
    """Parse what the entries of a segment hold; its checksums are known to be right."""
    reader = SegmentReader(path.read_bytes())
    reader.read_head()
    for offset, record in reader.records():
        if not isinstance(record, Entry):
            continue
        try:
            _parse(record)
        except (ValueError, KeyError, struct.error, DecodeError, MessageDecodeError) as error:
            text = f"entry {record.index} cannot be parsed: {error!r}"
            yield Finding(Severity.DAMAGE, str(path), offset, text, DAMAGE_WAY_OUT)


def _parse(entry: Entry) -> None:
    if not entry.data:
        return
    if EntryKind(entry.kind) is EntryKind.CONF_CHANGE:
        context = ConfChange.decode(entry.data).context
        if context:
            MemberChange.decode(context)
        return
    decode_batch_head(entry.data)
    for _ in decode_commands(entry.data):
        pass


def _leftovers(store: Path) -> Iterator[Finding]:
    for path in sorted(store.parent.iterdir()):
        if path != store:
            text = "left over from an interrupted copy; the next start removes it"
            yield Finding(Severity.NOTE, str(path), -1, text)


def _compare(member: MemberDirectory, replay: Replay, store: StoreReport) -> Iterator[Finding]:
    """The store must be at an entry that the log holds, or at its mark.

    What `node.storage.follow_store` sets right is a note.
    """
    assert member.store is not None
    file = str(member.store / DATA_FILE)
    index, term = store.applied_index, store.applied_term
    mark = replay.snapshot
    if index < mark.index:
        text = f"it is at entry {index}, but the log goes on behind entry {mark.index}"
        yield Finding(Severity.DAMAGE, file, -1, text, STORE_WAY_OUT)
    elif index > replay.last_index:
        text = f"it is at entry {index}, ahead of the log, which ends with {replay.last_index}"
        yield Finding(Severity.NOTE, file, -1, f"{text}; the next start marks it in the log")
    else:
        entries = replay.entries
        held = mark.term if index == mark.index else entries[index - mark.index - 1].term
        if held != term:
            text = f"it is at entry {index} of term {term}, where the log holds one of {held}"
            yield Finding(Severity.NOTE, file, -1, f"{text}; the next start follows the store")
