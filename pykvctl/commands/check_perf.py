"""check perf: a steady load of writes for a minute, and a verdict on throughput and latency."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pykvctl.checking import delete_keys, load_name, reclaim, refuse_keys, show_errors
from pykvctl.checking import wait_until as wait_with_bar
from pykvctl.errors import ReportedError, RequestError
from pykvctl.interrupts import interruptible, uninterrupted
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL, STRING
from pykvctl.session import Session

if TYPE_CHECKING:
    from pykvctl.checking import Done
    from pykvctl.load import Results

KEY_BYTES = 256
VALUE_BYTES = 1024
# The verdict: part of the rate that has to be reached, seconds of the slowest request and of the
# standard deviation.
RATE_MIN = 0.9
SLOWEST_MAX_S = 0.5
DEVIATION_MAX_S = 0.1
# Processor time of this client, per second, above which it may be what is slow.
BUSY = 0.85


@dataclass(frozen=True)
class Workload:
    """Writes a second, clients, seconds."""

    rate: int
    clients: int
    seconds: int = 60


WORKLOADS = {
    "s": Workload(150, 50),
    "m": Workload(1000, 200),
    "l": Workload(8000, 500),
    "xl": Workload(15000, 1000),
}


@command(
    "perf",
    usage="perf [options]",
    short_help="Check the performance of the etcd cluster",
    help="Writes for a minute and deletes what it wrote. Ctrl-C ends it early.",
)
@flag(
    "--load",
    type=STRING,
    default="s",
    help="Workload: s(small), m(medium), l(large), xl(xLarge)",
)
@flag("--prefix", type=STRING, default="/etcdctl-check-perf/", help="Prefix of the check's keys")
@flag("--auto-compact", type=BOOL, default=False, help="Compact storage afterwards")
@flag("--auto-defrag", type=BOOL, default=False, help="Defragment storage afterwards")
@click.pass_obj
def perf(
    session: Session,
    args: list[str],  # noqa: ARG001
    load: str,
    prefix: str,
    auto_compact: bool,
    auto_defrag: bool,
) -> None:
    """Write, clean up, judge."""
    workload = WORKLOADS[load_name(load)]
    refuse_keys(session, prefix, f"'etcdctl del --prefix {prefix}'")
    try:
        with uninterrupted():
            results = write(session, workload, prefix)
            revision = delete_keys(session, prefix)
    except RequestError as error:
        session.streams.line(f"FAIL: Cleanup failed during key deletion: ERROR({error})")
    else:
        reclaim(session, revision, compact=auto_compact, defrag=auto_defrag)
    judge(session, workload, results)


def write(session: Session, workload: Workload, prefix: str) -> "Results":
    """Put the load on the cluster until its time is over or Ctrl-C is pressed."""
    from pykvctl.load import Load, Pace  # noqa: PLC0415  # loads gRPC

    load = Load(prefix.encode("utf-8", "surrogateescape"), KEY_BYTES, VALUE_BYTES, workload.clients)

    def wait(_answered: "Done") -> None:
        start = time.monotonic()

        def seconds() -> int:
            return int(time.monotonic() - start)

        try:
            with interruptible():
                wait_with_bar(
                    session, lambda: seconds() >= workload.seconds, workload.seconds, seconds
                )
        except KeyboardInterrupt:
            return

    return load.run(session.client, Pace(rate=workload.rate), wait)


def judge(session: Session, workload: Workload, results: "Results") -> None:
    """Print the verdict; ReportedError if it is FAIL."""
    line = session.streams.line
    show_errors(session, results)
    passed = not results.errors
    if results.rate / workload.rate <= RATE_MIN:
        line(f"FAIL: Throughput too low: {int(results.rate) + 1} writes/s")
        passed = False
        if results.cpu > BUSY * results.took:
            session.streams.error_line("This client was busy all the time: the limit may be its.")
    else:
        line(f"PASS: Throughput is {int(results.rate) + 1} writes/s")
    if results.slowest > SLOWEST_MAX_S:
        line(f"Slowest request took too long: {results.slowest:f}s")
        passed = False
    else:
        line(f"PASS: Slowest request took {results.slowest:f}s")
    if results.deviation > DEVIATION_MAX_S:
        line(f"Stddev too high: {results.deviation:f}s")
        passed = False
    else:
        line(f"PASS: Stddev is {results.deviation:f}s")
    line("PASS" if passed else "FAIL")
    if not passed:
        raise ReportedError
