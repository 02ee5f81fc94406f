"""Every bound of the HTTP/1.1 server in one place, each with its reason."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one server. Sizes are bytes, times are seconds, and all of them are in force.

    The number of connections is bounded by the listener, together with its own.
    """

    max_head_bytes: int = 32 << 10
    """Request line and headers together; room for a JWT and cookies of other services."""
    max_body_bytes: int = 3 << 20
    """One request body, decoded from its chunks."""
    max_held_bytes: int = 256 << 20
    """Incomplete requests of all connections: many half-sent bodies must not fill memory."""
    max_pipelined_bytes: int = 64 << 10
    """Bytes read ahead of the request that is being answered; more waits in the kernel."""
    head_timeout: float = 30.0
    """From the first byte of a request to the end of its headers: slow senders are cut."""
    body_timeout: float = 60.0
    """From the end of the headers to the end of the body."""
    idle_timeout: float = 300.0
    """Silence between two requests. Longer than the pools of usual clients keep a connection."""
    write_timeout: float = 60.0
    """A client that takes nothing of a waiting answer for this long is cut."""
    half_closed_timeout: float = 5.0
    """For an answer, after the client has closed its side: it may as well be gone."""
    linger: float = 1.0
    """After an answer that ends the connection, time for the client to read it."""
    high_water: int = 1 << 20
    """Unsent bytes above which a stream counts as slow."""
    low_water: int = 256 << 10
    """Unsent bytes at which a slow stream may go on."""
