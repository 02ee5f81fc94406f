"""Imported by the server's interpreter when this directory is on its PYTHONPATH: a slow disk.

The log's writes wait a little before they begin. A server that answers before its log is written
cannot hide behind a disk that is faster than the answer, and several batches are on their way at
a time.
"""

import os
import time
from collections.abc import Sequence

DELAY_S = 0.004

_pwritev = os.pwritev


def pwritev(fd: int, buffers: Sequence[bytes], offset: int, flags: int = 0) -> int:
    """`os.pwritev`, later."""
    time.sleep(DELAY_S)
    return _pwritev(fd, buffers, offset, flags)


os.pwritev = pwritev  # type: ignore[assignment]
