"""How a member that wants to join learns who the others are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pykvd.errors import Code, RpcError
from pykvd.peer import wire
from pykvd.peer.channel import Channel
from pykvd.peer.limits import PeerLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pykvd.tls import TlsClient


async def fetch_members(
    urls: Sequence[str],
    timeout: float,  # noqa: ASYNC109 - the contract's name
    limits: PeerLimits | None = None,
    tls: TlsClient | None = None,
) -> tuple[int, list[bytes]]:
    """The cluster id and the members, as `Member.encode()` has them, from the first peer to answer.

    Each gets an equal share of what is left of `timeout` seconds. Raises RpcError UNAVAILABLE,
    naming what went wrong at each URL.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    reasons = []
    for number, url in enumerate(urls):
        share = (deadline - loop.time()) / (len(urls) - number)
        try:
            async with asyncio.timeout(share):
                return await _ask(url, share, limits or PeerLimits(), tls)
        except (RpcError, OSError, ValueError) as error:
            reasons.append(f"{url}: {error or 'no answer'}")
    raise RpcError(Code.UNAVAILABLE, "no peer tells the members: " + "; ".join(reasons))


async def _ask(
    url: str, limit: float, limits: PeerLimits, tls: TlsClient | None
) -> tuple[int, list[bytes]]:
    channel = await Channel.connect(url, limits, tls)
    try:
        metadata = [("pykvd-peer-version", wire.VERSION)]
        return wire.decode_members(await channel.unary(wire.MEMBERS, metadata, b"", limit))
    finally:
        await channel.wait_closed()
