"""snapshot: copy the store of a member to a file."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import BinaryIO

import click

from pykvctl.errors import BadArgumentsError, CommandError, ExitCode, RequestError
from pykvctl.gotext.durations import format_duration
from pykvctl.gotext.numbers import human_bytes
from pykvctl.options.command import Group
from pykvctl.session import Session
from pykvctl.terminal import progress_of_bytes
from pykvd.methods import SNAPSHOT
from pykvd.pb import rpc_pb2 as rpc

snapshot = Group(
    "snapshot",
    short_help="Snapshot related commands",
    lazy={
        "restore": "pykvctl.commands.snapshot_file:restore",
        "status": "pykvctl.commands.snapshot_file:status",
    },
)

_CALLER = "pykvctl/commands/snapshot.py"

DIGEST_BYTES = sha256().digest_size
#: A store is a whole number of these; what is left over is the checksum.
SECTOR_BYTES = 512


@snapshot.subcommand(
    "save",
    usage="save <filename>",
    short_help="Stores an etcd node backend snapshot to a given file",
    help="The file ends with the SHA-256 of what precedes it.",
)
@click.pass_obj
def save(session: Session, args: list[str]) -> None:
    """Download to FILE.part, sync it, and rename it to FILE."""
    if len(args) != 1:
        raise BadArgumentsError("snapshot save expects one argument <filename>")
    client = session.client
    if len(client.endpoints) != 1:
        texts = " ".join(endpoint.text for endpoint in client.endpoints)
        raise CommandError(
            f"snapshot must be requested to one selected node, not multiple [{texts}]",
            ExitCode.INTERRUPTED,
        )
    path, part = args[0], f"{args[0]}.part"
    with _worded(lambda why: f"could not open {part} (open {part}: {why})"):
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with _worded(lambda why: f"write {part}: {why}"), os.fdopen(descriptor, "wb") as file:
        _log(session, "created temporary db file", path=part)
        version = _fetch(session, file)
        file.flush()
        os.fsync(descriptor)
    with _worded(lambda why: f"could not rename {part} to {path} (rename {part} {path}: {why})"):
        os.replace(part, path)
    _log(session, "saved", path=path)
    session.streams.line(f"Snapshot saved at {path}")
    if version:
        session.streams.line(f"Server version {version}")


@contextmanager
def _worded(text: Callable[[str], str]) -> Iterator[None]:
    """A failure of the system ends the command with a text about its reason."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CommandError(text(reason), ExitCode.INTERRUPTED) from None


def _log(session: Session, message: str, *, logger: str = "", **fields: object) -> None:
    session.log("info", message, logger=logger, caller=_CALLER, **fields)


def _fetch(session: Session, file: BinaryIO) -> str:
    """Write the snapshot to `file`; returns the storage version that the server tells, if any."""
    client = session.client
    endpoint = client.endpoints[0]
    started = time.monotonic_ns()
    version, size, checksum = "", 0, _Checksum()
    # The file grows with the store: only a deadline that was asked for holds.
    timeout_s = session.timeout_s if "command_timeout" in session.given else None
    try:
        with progress_of_bytes(session, "fetching snapshot") as progress:
            for piece in client.download(SNAPSHOT, rpc.SnapshotRequest(), timeout_s):
                if not size:
                    _log(session, "opened snapshot stream; downloading", logger="client")
                    _log(session, "fetching snapshot", endpoint=endpoint.text)
                version = version or piece.version
                size += file.write(piece.blob)
                checksum.add(piece.blob)
                progress(size, size + piece.remaining_bytes if piece.remaining_bytes else 0)
    except RequestError as error:
        text = "streamer failed to create ClientStream"
        session.log("error", text, logger="client", caller=_CALLER, error=error.grpc_text)
        raise CommandError(str(error), ExitCode.INTERRUPTED) from None
    checksum.check(size)
    _log(session, "completed snapshot read; closing", logger="client")
    _log(
        session,
        "fetched snapshot",
        endpoint=endpoint.text,
        size=human_bytes(size),
        took=format_duration(time.monotonic_ns() - started),
    )
    return version


class _Checksum:
    """Compares the SHA-256 at the end of a stream of bytes with that of what precedes it."""

    def __init__(self) -> None:
        self._digest = sha256()
        self._tail = b""

    def add(self, blob: bytes) -> None:
        """Take in the next bytes."""
        data = self._tail + blob
        self._digest.update(data[:-DIGEST_BYTES])
        self._tail = data[-DIGEST_BYTES:]

    def check(self, size: int) -> None:
        """Refuse, after `size` bytes in all, what came without a checksum or altered."""
        if size % SECTOR_BYTES != DIGEST_BYTES:
            raise CommandError(f"sha256 checksum not found [bytes: {size}]", ExitCode.INTERRUPTED)
        if self._digest.digest() != self._tail:
            expected, got = (
                " ".join(map(str, digest)) for digest in (self._tail, self._digest.digest())
            )
            raise CommandError(f"expected sha256 [{expected}], got [{got}]", ExitCode.INTERRUPTED)
