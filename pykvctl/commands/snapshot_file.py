"""snapshot status and restore: what a saved file holds, and a new member made from it.

No server takes part, so neither reads `--endpoints`.
"""

from pathlib import Path
from typing import Any

import click

from pykvctl.errors import BadArgumentsError, CommandError
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL, STRING, UINT
from pykvctl.session import Session

_CALLER = "pykvctl/commands/snapshot_file.py"


@command(
    "status",
    usage="status <filename>",
    short_help="Gets backend snapshot status of a given file",
    help="Prints hash, revision, number of live keys and size; refuses a file that was cut short\n"
    "or altered.",
)
@click.pass_obj
def status(session: Session, args: list[str]) -> None:
    """Print what a snapshot file holds."""
    if len(args) != 1:
        raise BadArgumentsError("snapshot status requires exactly one argument")
    printer = session.printer
    # The server's parts take a while to import.
    from pykvd.offline.directory import OfflineError, unused  # noqa: PLC0415
    from pykvd.restore import RestoreError, snapshot_status  # noqa: PLC0415

    file = Path(args[0])
    try:
        with unused(file):
            found = snapshot_status(file)
    except (RestoreError, OfflineError) as error:
        raise CommandError(str(error)) from None
    printer.snapshot_status(found)


@command(
    "restore",
    usage="restore <filename> [options]",
    short_help="Restores an etcd member snapshot to an etcd directory",
    help="Makes the data directory of one member of a new cluster. Every member is restored from\n"
    "the same file with the same --initial-cluster and --initial-cluster-token.",
)
@flag("--bump-revision", type=UINT, default=0, help="How much to raise the latest revision by")
@flag("--data-dir", type=STRING, default="", help="Directory to make (default NAME.etcd)")
@flag(
    "--initial-advertise-peer-urls",
    type=STRING,
    default="http://localhost:2380",
    help="Peer URLs of this member that the others are told",
)
@flag(
    "--initial-cluster",
    type=STRING,
    default="default=http://localhost:2380",
    help="Members of the new cluster as name=peer-url,name=peer-url",
)
@flag(
    "--initial-cluster-token",
    type=STRING,
    default="etcd-cluster",
    help="Keeps clusters apart that are made from the same addresses",
)
@flag("--initial-memory-map-size", type=UINT, default=0, help="Accepted, without effect")
@flag(
    "--mark-compacted",
    type=BOOL,
    default=False,
    help="Mark the raised revision as compacted; goes with --bump-revision",
)
@flag("--name", type=STRING, default="default", help="Name of this member")
@flag(
    "--skip-hash-check",
    type=BOOL,
    default=False,
    help="Do not check the digest; needed for a copied data file, which has none",
)
@flag("--wal-dir", type=STRING, default="", help="Directory of the log (default in --data-dir)")
@click.pass_obj
def restore(
    session: Session,
    /,
    args: list[str],
    data_dir: str,
    wal_dir: str,
    skip_hash_check: bool,
    bump_revision: int,
    mark_compacted: bool,
    initial_memory_map_size: int,  # noqa: ARG001
    **member: str,
) -> None:
    """Make the data directory of one member; what happens is told on standard error."""
    if len(args) != 1:
        raise BadArgumentsError("snapshot restore requires exactly one argument")
    # The server's parts take a while to import.
    from pykvd.restore import RestoreError, Target, UsageError  # noqa: PLC0415
    from pykvd.restore import restore as make_directory  # noqa: PLC0415

    def report(message: str, **fields: Any) -> None:
        session.log("info", message, caller=_CALLER, **fields)

    directory = Path(data_dir or f"{member['name']}.etcd")
    log_directory = Path(wal_dir) if wal_dir else None
    try:
        make_directory(
            Path(args[0]),
            Target(data_dir=directory, wal_dir=log_directory, **member),
            skip_hash_check=skip_hash_check,
            bump_revision=bump_revision,
            mark_compacted=mark_compacted,
            report=report,
        )
    except UsageError as error:
        raise BadArgumentsError(str(error)) from None
    except RestoreError as error:
        raise CommandError(str(error)) from None
