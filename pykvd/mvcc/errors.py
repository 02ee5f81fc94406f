"""What the store refuses."""


class CompactedError(Exception):
    """The revision has been compacted."""


class FutureRevisionError(Exception):
    """The revision does not exist yet."""
