"""What can go wrong while measuring; every one of these spoils the figure it happened in."""


class BenchmarkError(Exception):
    """A measurement cannot be trusted, or a server under test did not do what it must."""


class CallError(BenchmarkError):
    """A call ended with a gRPC status other than OK, a reset stream or a lost connection."""
