"""Every bound of the transport in one place, each with its reason."""

from typing import NamedTuple

UNLIMITED_STREAMS = 2**32 - 1


class Limits(NamedTuple):
    """Bounds of one server. Sizes are bytes, times are seconds, and 0 turns a time limit off."""

    # Requests.
    max_message_bytes: int = 1_572_864 + 524_288
    """One request message, compressed or not: etcd's max-request-bytes plus its fixed overhead."""
    max_buffered_request_bytes: int = 64 << 20
    """Incomplete messages of all streams of one connection.

    Many half-sent messages must not fill memory.
    """
    max_header_block_bytes: int = 32 << 10
    """One compressed header block over all its CONTINUATION frames.

    It must be held whole before it is decoded.
    """
    max_header_list_bytes: int = 64 << 10
    """One decoded header list (RFC 9113 6.5.2); room for a JWT, no room for an HPACK bomb."""
    max_continuations: int = 16
    """CONTINUATION frames of one block: a block that fits needs three."""

    # Streams and windows.
    max_concurrent_streams: int = UNLIMITED_STREAMS
    """Open streams a connection.

    The largest number means none is advertised, as etcd does by default.
    """
    max_streams_hard: int = 100_000
    """Open streams a connection even when none is advertised: each costs about a kilobyte."""
    stream_window_bytes: int = 1 << 20
    """Receive window of a stream.

    Large enough that a request of the usual size never waits for an update.
    """
    connection_window_bytes: int = 8 << 20
    """Receive window of a connection."""
    stream_high_water: int = 1 << 20
    """Queued bytes above which a stream counts as slow."""
    stream_low_water: int = 256 << 10
    """Queued bytes at which a slow stream is told that it is writable."""
    socket_buffer_bytes: int = 256 << 10
    """Bytes that the kernel has not taken, above which streams keep their data queued."""
    stalled_output_bytes: int = 4 << 20
    """The same, above which the connection is not read any more.

    A client that asks and never reads the answers.
    """

    max_queued_reply_bytes: int = 512 << 20
    """Replies that wait for one client's windows. Above it new calls are refused with
    REFUSED_STREAM, which clients retry. One reply alone may be larger."""

    # Abuse. Budgets are per connection; useful frames refill the first one.
    max_idle_frames: int = 10_000
    """Frames without work between two with some: SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA."""
    reset_burst: int = 5_000
    """Streams a client may reset at once (CVE-2023-44487).

    A client that drops all its watches does this.
    """
    resets_per_second: float = 500.0
    """Steady rate at which that budget grows back."""
    ping_strikes: int = 2
    """Pings that may come too early; the next one ends the connection (as grpc-go)."""

    max_handshakes: int = 1_000
    """TLS handshakes under way, over all clients; of more, the oldest is dropped."""

    # Time.
    handshake_timeout: float = 10.0
    """From the connection's start to the end of the TLS handshake and of all checks."""
    preface_timeout: float = 10.0
    """From the connection's start to the complete client preface and SETTINGS."""
    keepalive_min_time: float = 5.0
    """Least time between client pings while streams are open (--grpc-keepalive-min-time)."""
    keepalive_min_time_idle: float = 7200.0
    """The same while no stream is open."""
    keepalive_interval: float = 7200.0
    """Silence after which the server pings (--grpc-keepalive-interval)."""
    keepalive_timeout: float = 20.0
    """Wait for the answer to that ping (--grpc-keepalive-timeout), and for TCP's own ACKs."""
    drain_ping_timeout: float = 1.0
    """Wait for the ping that proves that the client has read our first GOAWAY."""
    goaway_linger: float = 1.0
    """After a fatal error, time for the client to read why before the socket is cut."""

    # Server.
    max_connections: int = 20_000
    """Open connections of one server; more are closed at once."""

    @property
    def streams_allowed(self) -> int:
        """Open streams that one connection really gets."""
        return min(self.max_concurrent_streams, self.max_streams_hard)


class ClientLimits(NamedTuple):
    """Bounds of a client's connection, in bytes."""

    stream_window_bytes: int = 4 << 20
    """What a server may send on a stream ahead of its reader."""
    connection_window_bytes: int = 64 << 20
    """The same for all streams together; above what a few slow readers can hold."""
    max_header_list_bytes: int = 64 << 10
    """Decoded headers of one response."""
    max_message_bytes: int = 2**32 - 1
    """One message of a response; none is longer than the default."""
    stream_high_water: int = 1 << 20
    """Queued bytes of a call above which it is congested."""
    stream_low_water: int = 256 << 10
    """Queued bytes at which it is not any more."""
