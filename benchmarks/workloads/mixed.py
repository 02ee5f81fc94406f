"""Four linearizable reads for each write, on the same connections."""

from benchmarks.closed_loop import CallSource, ClosedLoop, Share
from benchmarks.workload import Workload, throughput_row
from benchmarks.workloads.put import put_calls
from benchmarks.workloads.ranges import linearizable_calls

_READ_SHARE = 0.8


def mixed_calls(share: Share) -> CallSource:
    """Reads of random keys, or with a chance of one in five a Put."""
    read, write = linearizable_calls(share), put_calls(share)
    random = share.random.random
    return lambda: read() if random() < _READ_SHARE else write()


MIXED_WORKLOADS = (
    Workload(
        throughput_row("mixed-80-20-100", "80 % linearizable Range, 20 % Put, 100 callers"),
        ClosedLoop(100, 10, mixed_calls),
        needs_keys=True,
    ),
)
