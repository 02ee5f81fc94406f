"""Sends the file of one snapshot to one peer, going on after cuts where the receiver stopped."""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING

from pykvd.errors import Code, RpcError
from pykvd.logs import get_logger
from pykvd.peer import wire
from pykvd.peer.blocking import off_loop
from pykvd.peer.channel import Channel
from pykvd.peer.outbound import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash as Hash
    from pathlib import Path

    from pykvd.peer.outbound import Peer, PeerContext
    from pykvd.raft import Message
    from pykvd.transport.client_call import Call

FINAL = REFUSALS | {Code.RESOURCE_EXHAUSTED, Code.UNIMPLEMENTED}
"""Outcomes that another attempt will not change."""
HASHED_AT_ONCE = 1 << 20
"""Bytes read at a time to hash what the receiver has already."""

_log = get_logger("peer")


class SnapshotSender:
    """One snapshot on its way; `run` tries until it is installed or there is no use in it."""

    def __init__(self, context: PeerContext, peer: Peer, message: Message, path: Path) -> None:
        self._context = context
        self._limits = context.limits
        self._peer = peer
        self._message = message
        self._path = path
        self._attempts_left = self._limits.snapshot_attempts
        self._confirmed = 0

    async def run(self) -> None:
        """Send the file. Raises RpcError when it was given up, OSError when it cannot be read."""
        descriptor = os.open(self._path, os.O_RDONLY)
        totals = self._peer.totals
        try:
            offer = self._make_offer(descriptor)
            totals.snapshot_size = offer.size
            await self._send(descriptor, offer)
        finally:
            totals.snapshot_sent = totals.snapshot_size = 0
            os.close(descriptor)

    def _make_offer(self, descriptor: int) -> wire.Offer:
        """The same file has the same id, also in a later call: an attempt then goes on from it."""
        status = os.fstat(descriptor)
        snapshot = self._message.snapshot
        assert snapshot is not None
        identity = (
            *(self._message.sender, snapshot.index, snapshot.term),
            *(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns),
        )
        digest = hashlib.sha256(repr(identity).encode()).digest()
        return wire.Offer(digest[: wire.SNAPSHOT_ID_BYTES], status.st_size, self._message)

    async def _send(self, descriptor: int, offer: wire.Offer) -> None:
        while True:
            before = self._confirmed
            try:
                await self._attempt(descriptor, offer)
            except (RpcError, OSError, ValueError, TimeoutError) as error:
                self._note(error, advanced=self._confirmed > before)
                final = isinstance(error, RpcError) and error.code in FINAL
                if final or not self._attempts_left or self._peer.closed:
                    raise
            else:
                return
            await asyncio.sleep(self._limits.backoff_min * self._context.rng.uniform(1.0, 2.0))

    def _note(self, error: Exception, *, advanced: bool) -> None:
        self._attempts_left = (
            self._limits.snapshot_attempts if advanced else self._attempts_left - 1
        )
        _log.warn(
            "sending a snapshot was interrupted",
            remote_peer_id=f"{self._peer.member_id:x}",
            confirmed_bytes=self._confirmed,
            attempts_left=self._attempts_left,
            error=str(error),
        )

    async def _attempt(self, descriptor: int, offer: wire.Offer) -> None:
        """One connection of its own, so that heartbeats do not queue behind the file."""
        urls = self._peer.urls
        if not urls:
            raise RpcError(Code.UNAVAILABLE, "peer has no URLs")
        url = urls[self._attempts_left % len(urls)]
        channel = await Channel.connect(url, self._limits, self._context.tls)
        try:
            metadata = self._context.greeting(self._peer.member_id).metadata()
            transfer = _Transfer(channel, channel.open(wire.SNAPSHOT, metadata), self._confirm)
            transfer.send(wire.encode_offer(offer))
            patience = self._limits.snapshot_stall_timeout
            await transfer.until(lambda: transfer.resume is not None, patience)
            if transfer.resume is not None:
                await self._send_file(descriptor, offer.size, transfer.resume, transfer)
            # Installing may take the receiver a while; only the connection limits it.
            await transfer.until(lambda: False, None)
        finally:
            await channel.wait_closed()

    async def _send_file(
        self, descriptor: int, size: int, offset: int, transfer: _Transfer
    ) -> None:
        patience = self._limits.snapshot_stall_timeout
        digest = hashlib.sha256()
        await off_loop(_hash_prefix, digest, descriptor, offset)
        while offset < size:
            if self._peer.closed:
                raise RpcError(Code.CANCELLED, "peer was removed")
            want = min(self._limits.chunk_bytes, size - offset)
            data = await off_loop(_read_chunk, digest, descriptor, offset, want)
            transfer.send(wire.encode_chunk(offset, data))
            offset += want
            await transfer.until(lambda: not transfer.congested, patience)
        transfer.send(wire.encode_digest(digest.digest()), last=True)

    def _confirm(self, offset: int) -> None:
        self._confirmed = self._peer.totals.snapshot_sent = offset


class _Transfer:
    """What we tell the receiver of a snapshot, and what it says."""

    def __init__(self, channel: Channel, call: Call, confirm: Callable[[int], None]) -> None:
        self._channel = channel
        self._call = call
        self._confirm = confirm
        self._changed = asyncio.Event()
        self.resume: int | None = None
        """Where the receiver wants us to begin; None until it says so, or if it has it all."""
        call.changed = self._on_change

    @property
    def congested(self) -> bool:
        """Whether enough waits to be sent."""
        return self._call.congested

    def send(self, message: bytes, *, last: bool = False) -> None:
        """Queue a message."""
        self._channel.send(self._call, message, last=last)

    async def until(self, condition: Callable[[], bool], patience: float | None) -> None:
        """Wait for the condition or a good end.

        Raises RpcError for a bad end, TimeoutError when nothing happens for `patience` seconds.
        """
        call = self._call
        while call.code is None and not condition():
            self._changed.clear()
            async with asyncio.timeout(patience):
                await self._changed.wait()
        if call.code:  # refused, failed or cut
            raise RpcError(call.code, call.text)

    def _on_change(self) -> None:
        self._changed.set()
        while self._call.messages:
            message = self._channel.take(self._call)
            try:
                self._progress(wire.decode_offset(message))
            except wire.WireError as error:
                self._channel.cancel(self._call, str(error), Code.INTERNAL)
                return

    def _progress(self, offset: int) -> None:
        """Resume here, or: so far so good."""
        if self.resume is None:
            self.resume = offset
        self._confirm(offset)


def _hash_prefix(digest: Hash, descriptor: int, size: int) -> None:
    """Take in what the receiver has already."""
    for offset in range(0, size, HASHED_AT_ONCE):
        digest.update(os.pread(descriptor, min(HASHED_AT_ONCE, size - offset), offset))


def _read_chunk(digest: Hash, descriptor: int, offset: int, size: int) -> bytes:
    data = os.pread(descriptor, size, offset)
    if len(data) != size:
        raise OSError(f"snapshot ends at {offset + len(data)}, before its size")
    digest.update(data)
    return data
