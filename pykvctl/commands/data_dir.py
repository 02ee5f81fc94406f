"""verify, migrate, hashkv: work on the files of a member that does not run.

No server takes part. A directory in use is refused. The server's parts take a while to import, so
each command does it when its arguments are right.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pykvctl.errors import BadArgumentsError, CommandError, ReportedError
from pykvctl.gotext.durations import format_duration
from pykvctl.gotext.numbers import human_bytes
from pykvctl.gotext.quoting import quote
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL, INT, STRING
from pykvctl.session import Session
from pykvd.version import STORAGE_VERSION

if TYPE_CHECKING:
    from pykvd.offline.verify import Verification

_CALLER = "pykvctl/commands/data_dir.py"
MINIMAL_VERSION = (3, 5)


def require_flags(**values: str) -> None:
    """Refuse a command line that leaves out flags that have no default."""
    missing = [quote(name.replace("_", "-")) for name, value in values.items() if not value]
    if missing:
        raise CommandError(f"required flag(s) {', '.join(missing)} not set")


def defragment_directory(session: Session, data_dir: str) -> None:
    """Rewrite the data file of a stopped member; what happens is told on standard error."""
    from pykvd.offline.directory import OfflineError, defragment, stopped_member  # noqa: PLC0415

    def started(file: Path, size: int, used: int) -> None:
        session.log(
            "info",
            "defragmenting",
            caller=_CALLER,
            path=str(file),
            current_db_size_bytes=size,
            current_db_size=human_bytes(size),
            current_db_size_in_use_bytes=used,
            current_db_size_in_use=human_bytes(used),
        )

    try:
        with stopped_member(Path(data_dir)) as member:
            done = defragment(member, started)
    except OfflineError as error:
        raise CommandError(f"Failed to defragment etcd data[{data_dir}] ({error})") from None
    session.log(
        "info",
        "finished defragmenting directory",
        caller=_CALLER,
        path=str(done.path),
        current_db_size_bytes_diff=done.size - done.size_before,
        current_db_size_bytes=done.size,
        current_db_size=human_bytes(done.size),
        current_db_size_in_use_bytes_diff=done.used - done.used_before,
        current_db_size_in_use_bytes=done.used,
        current_db_size_in_use=human_bytes(done.used),
        took=format_duration(done.took),
    )


@command(
    "verify",
    usage="verify --data-dir <directory>",
    short_help="Checks the log and the store of a stopped member",
    help="Reads every record and changes nothing. Damage is told with its file and offset and\n"
    "with the way out; the exit status is 1 then.",
)
@flag("--data-dir", type=STRING, default="", help="Data directory of the member")
@flag("--wal-dir", type=STRING, default="", help="Directory of the log (default in --data-dir)")
@click.pass_obj
def verify(session: Session, args: list[str], data_dir: str, wal_dir: str) -> None:
    """Check a directory and print what was found."""
    if args:
        raise BadArgumentsError("verify command accepts no arguments")
    require_flags(data_dir=data_dir)
    printer = session.printer
    from pykvd.offline.directory import OfflineError, stopped_member  # noqa: PLC0415
    from pykvd.offline.verify import verify as check  # noqa: PLC0415

    try:
        with stopped_member(Path(data_dir), Path(wal_dir) if wal_dir else None) as member:
            found = check(member)
    except OfflineError as error:
        raise CommandError(str(error)) from None
    printer.report(_lines(data_dir, found), _value(found))
    if not found.sound:
        raise ReportedError


def _lines(data_dir: str, found: "Verification") -> list[str]:
    lines = []
    if found.replay is not None:
        replay = found.replay
        first, last = replay.snapshot.index + 1, replay.last_index
        entries = f"entries {first} to {last}" if first <= last else f"no entries above {last}"
        lines.append(
            f"log: {_count(found.segments, 'segment')}, {entries}, term {replay.hard_state.term}"
        )
    if found.store is not None:
        store = found.store
        compacted = store.compact_revision
        lines.append(
            f"store: revision {store.revision}, "
            f"{f'compacted {compacted}' if compacted > 0 else 'never compacted'}, "
            f"{_count(store.keys, 'key')}, {_count(store.records, 'record')}, "
            f"{_count(store.leases, 'lease')}, {_count(store.members, 'member')}, "
            f"at entry {store.applied_index}"
        )
    for finding in found.findings:
        lines.append(f"{finding.severity}: {finding.place}: {finding.text}")
        if finding.way_out:
            lines.append(f"way out: {finding.way_out}")
    lines.append(f"{data_dir} is {'sound' if found.sound else 'DAMAGED'}")
    return lines


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _value(found: "Verification") -> dict[str, object]:
    replay, store = found.replay, found.store
    return {
        "sound": found.sound,
        "log": replay
        and {
            "segments": found.segments,
            "firstIndex": replay.snapshot.index + 1,
            "lastIndex": replay.last_index,
            "term": replay.hard_state.term,
        },
        "store": store
        and {
            "revision": store.revision,
            "compactRevision": store.compact_revision,
            "keys": store.keys,
            "records": store.records,
            "leases": store.leases,
            "members": store.members,
            "appliedIndex": store.applied_index,
        },
        "findings": [
            {
                "severity": finding.severity,
                "file": finding.file,
                "offset": finding.offset,
                "text": finding.text,
                "wayOut": finding.way_out,
            }
            for finding in found.findings
        ],
    }


@command(
    "hashkv",
    usage="hashkv <filename> [options]",
    short_help="Prints the KV history hash of a given file",
    help="The file is a saved snapshot or the data file of a stopped member. The hash is that of\n"
    "`endpoint hashkv` for the same revision.",
)
@flag("--rev", type=INT, default=0, help="Revision to hash up to (0: the newest)")
@click.pass_obj
def hashkv(session: Session, args: list[str], rev: int) -> None:
    """Print hash, hash revision and compact revision of a file."""
    if len(args) != 1:
        raise CommandError(f"accepts 1 arg(s), received {len(args)}")
    printer = session.printer
    from pykvd.offline.directory import OfflineError, unused  # noqa: PLC0415
    from pykvd.restore import RestoreError, snapshot_hash  # noqa: PLC0415

    file = Path(args[0])
    try:
        with unused(file):
            answer = snapshot_hash(file, rev)
    except (RestoreError, OfflineError) as error:
        raise CommandError(str(error)) from None
    printer.snapshot_hash(answer)


@command(
    "migrate",
    usage="migrate --data-dir <directory> --target-version <version> [options]",
    short_help="Migrates the storage of a stopped member to another version",
    help="The storage has had one format so far, that of 3.6: there is nothing to migrate yet.",
)
@flag("--data-dir", type=STRING, default="", help="Data directory of the member")
@flag("--force", type=BOOL, default=False, help="Accepted, without effect")
@flag("--target-version", type=STRING, default="", help="Version to migrate to, as X.Y")
@click.pass_obj
def migrate(
    session: Session,
    args: list[str],  # noqa: ARG001
    data_dir: str,
    force: bool,  # noqa: ARG001
    target_version: str,
) -> None:
    """Tell whether the storage is of the version asked for."""
    require_flags(data_dir=data_dir, target_version=target_version)
    target = read_target(target_version)
    from pykvd.offline.directory import OfflineError, stopped_member  # noqa: PLC0415

    try:
        with stopped_member(Path(data_dir)):
            pass
    except OfflineError as error:
        raise CommandError(str(error)) from None
    if target != ".".join(STORAGE_VERSION.split(".")[:2]):
        raise CommandError(f"storage of version {STORAGE_VERSION} cannot be migrated to {target}")
    session.log(
        "info", "storage version up-to-date", caller=_CALLER, storage_version=STORAGE_VERSION
    )


def read_target(text: str) -> str:
    """A version in two parts; BadArgumentsError, in etcdutl's words, if there never was such."""
    if text.count(".") != 1:
        raise BadArgumentsError(f'wrong target version format, expected "X.Y", got {quote(text)}')
    if not re.fullmatch(r"[0-9]+\.[0-9]+", text):
        raise BadArgumentsError(
            f"failed to parse target version: {text} is not in dotted-tri format"
        )
    major, minor = map(int, text.split("."))
    if (major, minor) < MINIMAL_VERSION:
        minimal = ".".join(map(str, MINIMAL_VERSION))
        raise BadArgumentsError(
            f"target version {quote(text)} not supported. Minimal {quote(minimal)}"
        )
    return f"{major}.{minor}"
