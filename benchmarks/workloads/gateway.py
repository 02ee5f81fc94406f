"""Put through the JSON gateway: HTTP/1.1, one call at a time on each connection."""

import asyncio
import time
from base64 import b64encode
from typing import cast

from benchmarks.closed_loop import Outcome, Recorder, Share
from benchmarks.errors import CallError
from benchmarks.workload import Workload, throughput_row
from benchmarks.workloads.put import KEY_FORMAT, VALUE

_CALLERS = 100
_KEY_COUNT = 100_000
_BODY = '{{"key":"{}","value":"' + b64encode(VALUE).decode() + '"}}'


class _JsonCaller(asyncio.Protocol):
    """A closed loop of Puts on a connection of its own; answers have a Content-Length."""

    def __init__(self, share: Share, recorder: Recorder) -> None:
        self._recorder = recorder
        self._random = share.random.random
        self._head = f"POST /v3/kv/put HTTP/1.1\r\nHost: {share.authority}\r\nContent-Length: "
        self._sent_ns = 0
        self._answer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send(time.monotonic_ns())

    def _send(self, now_ns: int) -> None:
        self._sent_ns = now_ns
        key = b64encode(KEY_FORMAT % (self._random() * _KEY_COUNT)).decode()
        body = _BODY.format(key)
        self._transport.write(f"{self._head}{len(body)}\r\n\r\n{body}".encode())

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        length = head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
        if not end or len(body) < int(length):
            return
        now = time.monotonic_ns()
        if not head.startswith(b"HTTP/1.1 200 ") or b'"revision"' not in body:
            self._recorder.fail(CallError(self._answer.decode(errors="replace")))
            return
        self._answer = b""
        self._recorder.record(self._sent_ns, now)
        if now < self._recorder.end_ns:
            self._send(now)
        else:
            self._recorder.retire()

    def connection_lost(self, exc: Exception | None) -> None:
        self._recorder.fail(CallError(f"the connection was lost: {exc}"))


async def put_json(share: Share) -> Outcome:
    """Put as often as answers come, on one connection for each caller."""
    callers = _CALLERS // share.processes
    recorder = Recorder(share, callers)
    loop = asyncio.get_running_loop()
    transports = []
    try:
        for _ in range(callers):
            transport, _protocol = await loop.create_connection(
                lambda: _JsonCaller(share, recorder), "127.0.0.1", share.port
            )
            transports.append(transport)
        return await recorder.outcome()
    finally:
        for transport in transports:
            transport.abort()


GATEWAY_WORKLOADS = (
    Workload(
        throughput_row("gateway-put-100", "Put 256 B as JSON over HTTP/1.1, 100 connections"),
        put_json,
    ),
)
