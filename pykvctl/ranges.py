"""Key ranges of the API: everything with a prefix, everything from a key on."""

#: As a range end: no upper bound. As a key together with it: all keys.
ZERO = b"\0"


def prefix_end(prefix: bytes) -> bytes:
    """The smallest key above all keys with `prefix`; `ZERO` if there is none."""
    stem = prefix.rstrip(b"\xff")
    if not stem:
        return ZERO
    return stem[:-1] + bytes([stem[-1] + 1])


def key_range(
    key: bytes, range_end: bytes = b"", *, prefix: bool = False, from_key: bool = False
) -> tuple[bytes, bytes]:
    """Key and range end of a request."""
    if prefix:
        return key or ZERO, prefix_end(key)
    if from_key:
        return key or ZERO, ZERO
    return key, range_end
