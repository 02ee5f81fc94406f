"""The Maintenance service."""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import lmdb

from pykvd.api.access import Access
from pykvd.api.decode import decode
from pykvd.api.hashing import hash_kv
from pykvd.api.tasks import CallTasks
from pykvd.errors import Code, Failure, RpcError
from pykvd.logs import get_logger
from pykvd.node.commands import Command
from pykvd.node.disk import explained
from pykvd.node.node import Node
from pykvd.node.quota import Quota
from pykvd.pb import rpc_pb2 as rpc
from pykvd.transport import AsyncStream, Call, StreamHandler, UnaryHandler, async_stream
from pykvd.version import API_VERSION, STORAGE_VERSION

#: etcd's size of a snapshot message, in bytes.
SNAPSHOT_CHUNK = 32 * 1024
#: How long a defragmentation waits for a compaction that is still removing records, in seconds;
#: tools give both together five.
SWEEP_PATIENCE_S = 3.0

_VERSION = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})(?:\.[0-9]+)?(?:[-+].*)?")
_ALARM_NAMES = {number: name for name, number in rpc.AlarmType.items()}
_log = get_logger("maintenance")


class MaintenanceService:
    """Alarm, Status, Defragment, Hash, HashKV, Snapshot, MoveLeader, Downgrade."""

    def __init__(self, node: Node, quota: Quota, access: Access, *, scratch: Path) -> None:
        self._node = node
        self._access = access
        self._backend = node.store.backend
        self._quota = quota
        self._scratch = scratch
        self._tasks = CallTasks()

    def unary(self) -> dict[str, UnaryHandler]:
        """The service's unary methods by path."""
        return {
            "/etcdserverpb.Maintenance/Alarm": self.alarm,
            "/etcdserverpb.Maintenance/Status": self.status,
            "/etcdserverpb.Maintenance/Defragment": self.defragment,
            "/etcdserverpb.Maintenance/Hash": self.hash,
            "/etcdserverpb.Maintenance/HashKV": self.hash_kv,
            "/etcdserverpb.Maintenance/MoveLeader": self.move_leader,
            "/etcdserverpb.Maintenance/Downgrade": self.downgrade,
        }

    def streams(self) -> dict[str, StreamHandler]:
        """The service's streaming methods by path."""
        return {"/etcdserverpb.Maintenance/Snapshot": async_stream(self.snapshot)}

    def alarm(self, call: Call, payload: bytes) -> None:
        """Get, activate or deactivate alarms, through the log."""
        request = decode(rpc.AlarmRequest, payload)
        if request.action == rpc.AlarmRequest.GET:
            caller = self._access.require_user(call, "alarm")
        else:
            caller = self._access.require_admin(call, "alarm")
        self._node.propose(Command.ALARM, payload, request, call, caller=caller)

    def status(self, call: Call, _payload: bytes) -> bytes:
        """Tell how this member is."""
        self._access.require_user(call, "status")
        node = self._node
        raft = node.raft.status()
        response = rpc.StatusResponse(
            version=API_VERSION,
            dbSize=self._backend.size,
            leader=node.leader,
            raftIndex=raft.commit,
            raftTerm=raft.term,
            raftAppliedIndex=node.committer.index,
            errors=self._errors(),
            dbSizeInUse=self._backend.size_in_use,
            isLearner=node.is_learner,
            storageVersion=STORAGE_VERSION,
            dbSizeQuota=max(0, self._quota.limit),
            downgradeInfo=self._downgrade_info(),
        )
        return self._header() + response.SerializeToString()

    def _downgrade_info(self) -> rpc.DowngradeInfo:
        target = self._node.applier.downgrade_target
        return rpc.DowngradeInfo(enabled=bool(target), targetVersion=target)

    def _errors(self) -> list[str]:
        errors = [] if self._node.leader else [Failure.NO_LEADER.text]
        for member, kind in sorted(self._node.applier.alarms):
            errors.append(f"memberID:{member} alarm:{_ALARM_NAMES.get(kind, kind)} ")
        return errors

    def defragment(self, call: Call, _payload: bytes) -> None:
        """Rewrite the file without its free pages; reads and writes go on meanwhile."""
        self._access.require_admin(call, "defragment")

        async def work() -> None:
            size = self._backend.size
            # A compaction just before is to count: what it has not removed yet would be copied.
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_PATIENCE_S):
                    await self._node.sweeper.swept()
            await self._node.committer.flush()
            with self._telling("defragment"):
                await self._backend.defragment()
            _log.info("finished defragmenting", before=size, after=self._backend.size)
            call.reply(b"")

        self._tasks.run(call, work())

    def hash(self, call: Call, _payload: bytes) -> None:
        """Hash this member's whole file."""
        self._access.require_admin(call, "hash")

        async def work() -> None:
            await self._node.committer.flush()
            number = await self._backend.hash()
            response = rpc.HashResponse(hash=number)
            call.reply(self._header() + response.SerializeToString())

        self._tasks.run(call, work())

    def hash_kv(self, call: Call, payload: bytes) -> None:
        """Hash the key-value records up to a revision."""
        request = decode(rpc.HashKVRequest, payload)
        self._access.require_admin(call, "hash_kv")

        async def work() -> None:
            response = await hash_kv(self._node, request.revision)
            call.reply(self._header() + response.SerializeToString())

        self._tasks.run(call, work())

    async def snapshot(self, stream: AsyncStream) -> None:
        """Stream a copy of the file, then its SHA-256."""
        await stream.recv()
        self._access.require_admin(stream, "snapshot")
        await self._node.committer.flush()
        with self._telling("snapshot"):
            directory = Path(tempfile.mkdtemp(prefix="snapshot-", dir=self._scratch))
        try:
            with self._telling("snapshot"):
                await self._backend.copy(directory / "copy")
            with (directory / "copy" / "data.mdb").open("rb") as file:
                await _send_file(stream, file)
        finally:
            shutil.rmtree(directory)

    @contextmanager
    def _telling(self, purpose: str) -> Iterator[None]:
        """Tell the caller why a copy of the store cannot be made; mostly there is no room."""
        try:
            yield
        except (OSError, lmdb.Error) as error:
            cause = explained(error, self._scratch)
            _log.error(f"failed to {purpose}", error=str(cause))
            raise RpcError(Code.UNKNOWN, f"failed to {purpose}: {cause}") from error

    def move_leader(self, call: Call, payload: bytes) -> None:
        """Hand leadership over; answered when the other member leads."""
        request = decode(rpc.MoveLeaderRequest, payload)
        self._access.require_admin(call, "move_leader")

        async def work() -> None:
            await self._node.move_leader(request.targetID)
            call.reply(b"")

        self._tasks.run(call, work())

    def downgrade(self, call: Call, payload: bytes) -> bytes | None:
        """Check a version to downgrade to, announce it to all members, or call that off.

        The API's version does not change with it, nor does the store: there is no older format
        that members would have to write.
        """
        request = decode(rpc.DowngradeRequest, payload)
        caller = self._access.require_admin(call, "downgrade")
        version = self._downgrade_version(request)
        body = rpc.DowngradeResponse(version=version).SerializeToString()
        if request.action == rpc.DowngradeRequest.VALIDATE:
            return self._header() + body

        async def work() -> None:
            command = rpc.DowngradeRequest(action=request.action, version=f"{version}.0")
            header = await self._node.execute(Command.DOWNGRADE, command, caller)
            call.reply(header + body)

        self._tasks.run(call, work())
        return None

    def _downgrade_version(self, request: rpc.DowngradeRequest) -> str:
        """The version that the response names; raises for one that cannot be gone to."""
        major, minor = (int(part) for part in API_VERSION.split(".")[:2])
        if request.action == rpc.DowngradeRequest.CANCEL:
            return f"{major}.{minor}"
        if request.action not in (rpc.DowngradeRequest.VALIDATE, rpc.DowngradeRequest.ENABLE):
            raise Failure.UNKNOWN_METHOD.error()
        found = _VERSION.fullmatch(request.version)
        if not found:
            raise Failure.BAD_DOWNGRADE_VERSION_FORMAT.error()
        if (int(found[1]), int(found[2])) != (major, minor - 1):
            raise Failure.INVALID_DOWNGRADE_VERSION.error()
        if self._node.applier.downgrade_target:
            raise Failure.DOWNGRADE_IN_PROGRESS.error()
        return f"{major}.{minor - 1}"

    def _header(self) -> bytes:
        return self._node.header(self._node.store.revision)


async def _send_file(stream: AsyncStream, file: BinaryIO) -> None:
    digest = sha256()
    remaining = os.fstat(file.fileno()).st_size
    while blob := file.read(SNAPSHOT_CHUNK):
        digest.update(blob)
        remaining -= len(blob)
        await stream.send(_snapshot_message(remaining, blob))
    await stream.send(_snapshot_message(0, digest.digest()))


def _snapshot_message(remaining: int, blob: bytes) -> bytes:
    response = rpc.SnapshotResponse(remaining_bytes=remaining, blob=blob, version=STORAGE_VERSION)
    return response.SerializeToString()
