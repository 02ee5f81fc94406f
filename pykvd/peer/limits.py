"""Every bound of the peer service in one place, each with its reason."""

from dataclasses import dataclass

from pykvd.transport.limits import ClientLimits, Limits


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """Bounds of one member's traffic with the others. Sizes are bytes, times are seconds."""

    max_message_bytes: int = 64 << 20
    """One gRPC message. A raft message cannot be cut, and an append holds at least one entry."""
    max_batch_bytes: int = 1 << 20
    """Raft messages of one turn of the loop travel as one gRPC message up to about this size."""
    queue_bytes: int = 32 << 20
    """Raft messages that wait for one peer; the oldest that Raft repeats anyway are dropped."""
    queue_messages: int = 8192
    """The same in number."""
    stream_high_water: int = 1 << 20
    """Bytes held back by windows or socket above which a stream takes no more."""
    stream_low_water: int = 256 << 10
    """Bytes at which it takes more again."""
    stream_window_bytes: int = 4 << 20
    """Receive window of a stream: what a stopped peer can make us hold beyond the queue."""
    connection_window_bytes: int = 16 << 20
    """Receive window of a connection."""
    max_header_list_bytes: int = 16 << 10
    """Decoded headers of one response."""

    max_connections: int = 1024
    """Open connections of the peer listener; members need two or three each."""
    connect_timeout: float = 2.0
    """From dialling to the answer to the first stream."""
    keepalive_interval: float = 2.0
    """Silence after which a PING asks whether the peer is still there."""
    keepalive_timeout: float = 3.0
    """Wait for its answer; then the connection counts as lost (half-open peers)."""
    backoff_min: float = 0.1
    """First pause between two attempts to connect."""
    backoff_max: float = 2.0
    """Longest pause; also the pause after a refusal."""
    max_strangers: int = 16
    """Senders that are not members yet, as far as this member knows, but may be answered."""
    max_calls: int = 1024
    """Forwarded calls being served at a time."""

    chunk_bytes: int = 256 << 10
    """Data of one snapshot chunk."""
    max_snapshot_bytes: int = 64 << 30
    """The largest snapshot that is accepted."""
    progress_bytes: int = 4 << 20
    """How often the receiver of a snapshot says how much it has."""
    snapshot_attempts: int = 5
    """Attempts in a row that bring a snapshot no further, after which it is given up."""
    snapshot_stall_timeout: float = 10.0
    """A transfer that moves nothing for so long counts as cut."""

    def client(self) -> ClientLimits:
        """The limits of the connections to peers that go with these."""
        return ClientLimits(
            stream_window_bytes=self.stream_window_bytes,
            connection_window_bytes=self.connection_window_bytes,
            max_header_list_bytes=self.max_header_list_bytes,
            max_message_bytes=self.max_message_bytes,
            stream_high_water=self.stream_high_water,
            stream_low_water=self.stream_low_water,
        )

    def listener(self) -> Limits:
        """The limits of the peer listener that go with these."""
        return Limits(
            max_connections=self.max_connections,
            max_message_bytes=self.max_message_bytes,
            max_buffered_request_bytes=self.max_message_bytes + self.connection_window_bytes,
            stream_window_bytes=self.stream_window_bytes,
            connection_window_bytes=self.connection_window_bytes,
            keepalive_min_time=self.keepalive_interval / 4,
            keepalive_min_time_idle=self.keepalive_interval / 4,
            keepalive_interval=self.keepalive_interval,
            keepalive_timeout=self.keepalive_timeout,
            max_concurrent_streams=2 * self.max_calls,
        )
