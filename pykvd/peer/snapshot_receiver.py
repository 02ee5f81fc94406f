"""Receives the file of a snapshot into a scratch directory, and has it installed.

A partial file is named by the snapshot's id and outlives cut connections and restarts; its length
says how much is there. Only the newest one is kept, so the disk holds at most one more snapshot.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections import Counter
from typing import TYPE_CHECKING

from pykvd.errors import Code, RpcError
from pykvd.logs import get_logger
from pykvd.peer import wire
from pykvd.peer.blocking import off_loop
from pykvd.raft import MessageKind

if TYPE_CHECKING:
    from hashlib import _Hash as Hash
    from pathlib import Path

    from pykvd.peer.handler import PeerHandler
    from pykvd.peer.inbound import Doorkeeper
    from pykvd.peer.limits import PeerLimits
    from pykvd.raft import Message
    from pykvd.transport import AsyncStream

SUFFIX = ".snapshot.part"
READ_AT_ONCE = 1 << 20
"""Bytes read at a time to hash what an earlier attempt left."""

_log = get_logger("peer")


class SnapshotReceiver:
    """One transfer at a time; the same snapshot on a newer connection replaces the older one."""

    def __init__(
        self, scratch: Path, door: Doorkeeper, handler: PeerHandler, limits: PeerLimits
    ) -> None:
        self._scratch = scratch
        self._door = door
        self._handler = handler
        self._limits = limits
        self._current_id = b""
        self._current: asyncio.Task[None] | None = None
        self._installed_id = b""
        self._installing: asyncio.Task[None] | None = None
        self.received: Counter[int] = Counter()
        """Snapshots installed, by sender."""

    async def serve(self, stream: AsyncStream) -> None:
        """A coroutine for `async_stream`."""
        greeting = self._door.check(stream.metadata)
        stream.send_headers()
        offer = _expect_offer(await stream.recv(), greeting.sender)
        if offer.id == self._installed_id:
            return
        if self._installing is not None and offer.id == self._current_id:
            await stream.send(wire.encode_resume(offer.size))
            await asyncio.shield(self._installing)
            return
        await self._take_over(offer)
        task = asyncio.current_task()
        assert task is not None
        self._current, self._current_id = task, offer.id
        try:
            path = await self._receive(stream, offer)
            await self._install(offer, path)
            self.received[greeting.sender] += 1
        finally:
            if self._current is task:
                self._current = None

    async def close(self) -> None:
        """Stop; what was received so far stays."""
        tasks = [task for task in (self._current, self._installing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take_over(self, offer: wire.Offer) -> None:
        if self._installing is not None:
            raise RpcError(Code.UNAVAILABLE, "peer: a snapshot is being installed")
        while (current := self._current) is not None:
            if offer.id != self._current_id:
                raise RpcError(Code.UNAVAILABLE, "peer: another snapshot is being received")
            # The sender has given its former connection up, whatever we believe.
            current.cancel()
            await asyncio.wait([current])

    async def _receive(self, stream: AsyncStream, offer: wire.Offer) -> Path:
        """The complete, verified and synced file."""
        path = self._scratch / f"{offer.id.hex()}{SUFFIX}"
        partial = await off_loop(_open_partial, path, offer, self._limits.max_snapshot_bytes)
        try:
            await stream.send(wire.encode_resume(partial.size))
            await self._receive_chunks(stream, partial, offer.size)
            await off_loop(os.fsync, partial.descriptor)
        except RpcError as error:
            if error.code == Code.ABORTED:  # the whole is wrong, so no part of it can be trusted
                await off_loop(_remove, path)
            raise
        finally:
            os.close(partial.descriptor)
        return path

    async def _receive_chunks(self, stream: AsyncStream, partial: _Partial, size: int) -> None:
        told = partial.size
        async for message in stream:
            try:
                part = wire.decode_transfer(message)
            except wire.WireError as error:
                raise RpcError(Code.INVALID_ARGUMENT, f"peer: {error}") from error
            if isinstance(part, wire.Chunk):
                if part.offset != partial.size or part.offset + len(part.data) > size:
                    raise RpcError(Code.DATA_LOSS, f"peer: chunk at {part.offset} is misplaced")
                await off_loop(partial.append, part.data)
                if partial.size - told >= self._limits.progress_bytes:
                    told = partial.size
                    await stream.send(wire.encode_progress(told))
            elif isinstance(part, wire.Digest):
                partial.verify(part.sha256, size)
                return
            else:
                raise RpcError(Code.INVALID_ARGUMENT, "peer: a snapshot has one offer")
        raise RpcError(Code.DATA_LOSS, "peer: snapshot ended early")

    async def _install(self, offer: wire.Offer, path: Path) -> None:
        """Hand the file on. Goes on when the connection is lost; a repeated offer then finds it."""
        _log.info(
            "received a snapshot", size=offer.size, remote_peer_id=f"{offer.message.sender:x}"
        )
        self._installing = asyncio.get_running_loop().create_task(
            self._run_install(offer, path), name="peer-install-snapshot"
        )
        await asyncio.shield(self._installing)

    async def _run_install(self, offer: wire.Offer, path: Path) -> None:
        try:
            await self._handler.snapshot_received(offer.message, path)
            self._installed_id = offer.id
        except Exception as error:
            _log.error("installing a snapshot failed", error=str(error))
            raise
        finally:
            await off_loop(_remove, path)
            self._installing = None


def _expect_offer(message: bytes | None, sender: int) -> wire.Offer:
    try:
        offer = wire.decode_transfer(message or b"")
    except wire.WireError as error:
        raise RpcError(Code.INVALID_ARGUMENT, f"peer: {error}") from error
    if not isinstance(offer, wire.Offer) or not _is_snapshot(offer.message, sender):
        raise RpcError(Code.INVALID_ARGUMENT, "peer: a snapshot begins with its offer")
    return offer


def _is_snapshot(message: Message, sender: int) -> bool:
    return message.kind is MessageKind.SNAPSHOT and message.sender == sender


class _Partial:
    """A file being received: its length and the digest so far."""

    def __init__(self, descriptor: int, size: int, digest: Hash) -> None:
        self.descriptor = descriptor
        self.size = size
        self._digest = digest

    def append(self, data: bytes) -> None:
        """Add a verified chunk. Raises RpcError when the disk is full."""
        written = 0
        try:
            while written < len(data):
                position = self.size + written
                written += os.pwrite(self.descriptor, memoryview(data)[written:], position)
        except OSError as error:
            os.ftruncate(self.descriptor, self.size)
            raise RpcError(Code.RESOURCE_EXHAUSTED, f"peer: snapshot: {error}") from error
        self.size += written
        self._digest.update(data)

    def verify(self, sha256: bytes, size: int) -> None:
        """Check that the file is whole. Raises RpcError."""
        if self.size != size:
            raise RpcError(Code.DATA_LOSS, f"peer: snapshot has {self.size} of {size} bytes")
        if self._digest.digest() != sha256:
            raise RpcError(Code.ABORTED, "peer: snapshot does not match its digest")


def _open_partial(path: Path, offer: wire.Offer, max_bytes: int) -> _Partial:
    """What is there of this snapshot; all others are deleted. Raises RpcError without room."""
    directory = path.parent
    directory.mkdir(parents=True, exist_ok=True)
    for other in directory.glob(f"*{SUFFIX}"):
        if other != path:
            other.unlink(missing_ok=True)
    size = path.stat().st_size if path.exists() else 0
    if size > offer.size:
        path.unlink()
        size = 0
    if offer.size > max_bytes or offer.size - size > shutil.disk_usage(directory).free:
        raise RpcError(Code.RESOURCE_EXHAUSTED, f"peer: no room for {offer.size} bytes")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        digest = hashlib.sha256()
        for offset in range(0, size, READ_AT_ONCE):
            digest.update(os.pread(descriptor, min(READ_AT_ONCE, size - offset), offset))
    except BaseException:
        os.close(descriptor)
        raise
    return _Partial(descriptor, size, digest)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
