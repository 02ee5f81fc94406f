"""Snapshots between members: the store's file, copied, sent, received and put in place."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pykvd.logs import get_logger
from pykvd.node.committer import Committer
from pykvd.node.network import Network
from pykvd.node.storage import Storage, read_state
from pykvd.raft import Message, Snapshot

_log = get_logger("snapshot")


class SnapshotShipper:
    """Sends this member's state to others and installs theirs here."""

    def __init__(
        self, storage: Storage, committer: Committer, failed: Callable[[int], None]
    ) -> None:
        """`failed(member)` is told of a snapshot that could not be made."""
        self._failed = failed
        self._storage = storage
        self._committer = committer
        self._received: tuple[int, Path] | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def send(self, message: Message, network: Network) -> None:
        """Send the state as it is now in answer to Raft's SNAPSHOT message."""
        task = asyncio.get_running_loop().create_task(self._send(message, network))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, message: Message, network: Network) -> None:
        """The file may be newer than what Raft asked for; the message must say what it is."""
        directory = Path(tempfile.mkdtemp(prefix="snapshot-", dir=self._storage.scratch))
        made = False
        try:
            await self._committer.flush()
            await self._storage.backend.copy(directory / "copy")
            applied, conf_state = read_state(directory / "copy")
            message = replace(message, snapshot=Snapshot(*applied, conf_state))
            _log.info("sending a snapshot", to=f"{message.to:x}", index=applied[0])
            made = True
            await network.send_snapshot(message, directory / "copy" / "data.mdb")
        finally:
            if not made:
                self._failed(message.to)
            shutil.rmtree(directory)

    def received(self, message: Message, path: Path) -> None:
        """Remember the file that belongs to a SNAPSHOT message."""
        assert message.snapshot
        self._received = (message.snapshot.index, path)

    async def install(self, snapshot: Snapshot, reload: Callable[[], None]) -> None:
        """Put the received file in the place of the store's; `reload` reads it."""
        assert self._received
        index, path = self._received
        assert index == snapshot.index
        self._received = None
        await self._storage.backend.install(path, reload)
        self._committer.installed(snapshot.index, snapshot.term)
        _log.info("installed a snapshot", index=snapshot.index, term=snapshot.term)

    def stop(self) -> None:
        """Give up what is being sent."""
        for task in self._sending:
            task.cancel()
