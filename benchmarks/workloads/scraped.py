"""Put while a Prometheus scrapes `/metrics` every second, to be compared with `put-100`."""

import asyncio
import contextlib

from benchmarks.closed_loop import ClosedLoop, Outcome, Share
from benchmarks.workload import Workload, throughput_row
from benchmarks.workloads.put import put_calls

_INTERVAL_S = 1.0
_put = ClosedLoop(100, 10, put_calls)


async def put_scraped(share: Share) -> Outcome:
    """Put as `put-100` does; the first process scrapes beside it."""
    if share.index:
        return await _put(share)
    scraping = asyncio.get_running_loop().create_task(_scrape_forever(share.port))
    try:
        return await _put(share)
    finally:
        scraping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await scraping


async def _scrape_forever(port: int) -> None:
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        await reader.read()
        writer.close()
        await asyncio.sleep(_INTERVAL_S)


SCRAPED_WORKLOADS = (
    Workload(
        throughput_row("put-100-scraped", "Put 256 B, 100 callers, metrics read every second"),
        put_scraped,
    ),
)
