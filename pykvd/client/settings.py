"""What a client is made with, checked; and the names of its endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.client import arguments
from pykvd.client.engine import Engine
from pykvd.client.pool import Pool
from pykvd.client.wire.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pykvd.client.steps import Signal
    from pykvd.client.wire.tls import TLS

DEFAULT_ENDPOINT = "127.0.0.1:2379"
PATIENCE = 60.0
"""Seconds that a watch goes on looking for a server before it raises Unavailable."""
PAGE_SIZE = 1000
"""Keys that a scan reads at once."""
IN_PROCESS = "in-process"
"""The name of the one endpoint of a client with a transport of its own."""


def parse_endpoints(given: str | Iterable[str]) -> list[str]:
    """Endpoints, or several in one string with commas, each checked."""
    texts = given.split(",") if isinstance(given, str) else arguments.several("endpoints", given)
    found = [arguments.text("endpoints", text).strip() for text in texts]
    for text in found:
        Endpoint.parse(text)
    return list(dict.fromkeys(found))


def make_engine(
    endpoints: list[str],
    *,
    user: str | None,
    password: str | None,
    timeout: float,
    max_request_bytes: int,
    sync_interval: float | None,
    signal: Callable[[], Signal],
) -> Engine:
    """The engine of a client; raises TypeError or ValueError that names the argument."""
    if (user is None) != (password is None):
        raise ValueError("user: goes together with password")
    login = None
    if user is not None and password is not None:
        login = arguments.text("user", user), arguments.text("password", password)
    if sync_interval is not None:
        arguments.seconds("sync_interval", sync_interval)
    return Engine(
        Pool(endpoints),
        login=login,
        timeout=arguments.seconds("timeout", timeout),
        max_request_bytes=arguments.integer("max_request_bytes", max_request_bytes, 1),
        sync_interval=sync_interval,
        signal=signal,
    )


def check_tls(tls: TLS | None) -> None:
    """Read the files, so that what is wrong with them shows at once; raises as TLS does."""
    if tls is not None:
        from pykvd.client.wire.tls import TLS  # noqa: PLC0415 - most clients do without

        if not isinstance(tls, TLS):
            raise TypeError(f"tls: expected TLS, got {type(tls).__name__}")
        _ = tls.context


def locate(text: str, tls: TLS | None) -> tuple[Endpoint, TLS | None]:
    """Where an endpoint is, and the TLS settings for it: its scheme decides, else `tls` does."""
    endpoint = Endpoint.parse(text)
    if endpoint.secure is False:
        return endpoint, None
    if endpoint.secure and tls is None:
        from pykvd.client.wire.tls import TLS  # noqa: PLC0415 - most clients do without

        return endpoint, TLS()
    return endpoint, tls
