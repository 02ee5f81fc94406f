"""A snapshot as it is downloaded, without I/O."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pykvd.client import methods
from pykvd.client.errors import DataLoss, DeadlineExceeded, EtcdError
from pykvd.client.retry import translate
from pykvd.client.steps import Receive
from pykvd.client.transport import CallError, decode
from pykvd.pb import rpc_pb2 as rpc

if TYPE_CHECKING:
    from pykvd.client.engine import Engine
    from pykvd.client.steps import Plan
    from pykvd.client.transport import AsyncStream, Stream

DIGEST_BYTES = 32


class Snapshot:
    """The pieces of the file, the last one being the SHA-256 of those before."""

    def __init__(self, engine: Engine, endpoint: str | None, timeout: float | None) -> None:
        self._engine = engine
        self._timeout = timeout
        self._start = engine.download(methods.SNAPSHOT, rpc.SnapshotRequest(), timeout, endpoint)
        self._stream: Stream | AsyncStream | None = None
        self._digest = hashlib.sha256()
        self._complete = False
        self.closed = False

    def next(self) -> Plan[bytes | None]:
        """The next piece; None at the end.

        Raises:
            DataLoss: what came is not what was sent.
            DeadlineExceeded: no piece within the time.

        """
        if self.closed:
            return None
        try:
            return self._check((yield from self._receive()))
        except EtcdError:
            self.close()
            raise

    def close(self) -> None:
        """Give it up."""
        self.closed = True
        if self._stream is not None:
            self._stream.close()

    def _receive(self) -> Plan[bytes | None]:
        if self._stream is None:
            self._stream, data = yield from self._start
            return data
        try:
            later: bytes | None
            later = yield Receive(self._stream, self._engine.deadline(self._timeout))
        except CallError as failure:
            raise translate(failure, repeatable=True) from None
        except TimeoutError as timeout:
            raise DeadlineExceeded(str(timeout)) from None
        return later

    def _check(self, data: bytes | None) -> bytes | None:
        if data is None:
            self.close()
            if not self._complete:
                raise DataLoss("the snapshot ended before its checksum")
            return None
        try:
            blob = decode(rpc.SnapshotResponse, data).blob
        except CallError as failure:
            raise translate(failure, repeatable=True) from None
        if len(blob) == DIGEST_BYTES and blob == self._digest.digest():
            self._complete = True
        elif self._complete:
            raise DataLoss("the snapshot goes on after its checksum")
        self._digest.update(blob)
        return blob
