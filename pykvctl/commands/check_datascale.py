"""check datascale: the memory that a member takes to hold so many pairs."""

from typing import TYPE_CHECKING

import click

from pykvctl.checking import delete_keys, load_name, reclaim, refuse_keys, show_errors
from pykvctl.checking import wait_until as wait_with_bar
from pykvctl.errors import ReportedError
from pykvctl.gotext.durations import SECOND
from pykvctl.interrupts import interruptible, uninterrupted
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL, STRING
from pykvctl.session import Session

if TYPE_CHECKING:
    from pykvctl.checking import Done
    from pykvctl.load import Results

KEY_BYTES = 512
VALUE_BYTES = 512
METRIC = "process_resident_memory_bytes"
MEGABYTE = 1 << 20

# Pairs, clients.
WORKLOADS = {"s": (10_000, 50), "m": (100_000, 200), "l": (1_000_000, 500), "xl": (3_000_000, 1000)}


@command(
    "datascale",
    usage="datascale [options]",
    short_help="Check the memory usage of holding data for different workloads on a given "
    "server endpoint.",
    help="Of several endpoints, the memory of the first is looked at. Ctrl-C ends it early.",
)
@flag(
    "--load",
    type=STRING,
    default="s",
    help="Workload: s(small), m(medium), l(large), xl(xLarge)",
)
@flag(
    "--prefix", type=STRING, default="/etcdctl-check-datascale/", help="Prefix of the check's keys"
)
@flag("--auto-compact", type=BOOL, default=False, help="Compact storage afterwards")
@flag("--auto-defrag", type=BOOL, default=False, help="Defragment storage afterwards")
@click.pass_obj
def datascale(
    session: Session,
    args: list[str],  # noqa: ARG001
    load: str,
    prefix: str,
    auto_compact: bool,
    auto_defrag: bool,
) -> None:
    """Write, look at the memory before and after, clean up."""
    pairs, clients = WORKLOADS[load_name(load)]
    refuse_keys(session, prefix, f"etcdctl del --prefix {prefix}")
    before = _memory(session, "before")
    session.streams.line(
        f"Start data scale check for work load [{pairs} key-value pairs, "
        f"{KEY_BYTES + VALUE_BYTES} bytes per key-value, {clients} concurrent clients]."
    )
    with uninterrupted():
        results = write(session, prefix, pairs, clients)
        try:
            after = _memory(session, "after")
        finally:
            revision = delete_keys(session, prefix)
    reclaim(session, revision, compact=auto_compact, defrag=auto_defrag)
    show_errors(session, results)
    if results.errors:
        raise ReportedError
    used = (after - before) / MEGABYTE
    session.streams.line(f"PASS: Approximate system memory used : {used:.2f} MB.")


def write(session: Session, prefix: str, pairs: int, clients: int) -> "Results":
    """Put so many pairs, as fast as they are answered."""
    from pykvctl.load import Load, Pace  # noqa: PLC0415  # loads gRPC

    load = Load(prefix.encode("utf-8", "surrogateescape"), KEY_BYTES, VALUE_BYTES, clients)

    def wait(answered: "Done") -> None:
        try:
            with interruptible():
                wait_with_bar(session, lambda: answered() >= pairs, pairs, answered)
        except KeyboardInterrupt:
            return

    return load.run(session.client, Pace(count=pairs), wait)


def _memory(session: Session, when: str) -> float:
    """Bytes that the member behind the first endpoint takes; ReportedError if it cannot tell."""
    from pykvctl.metrics import read_metrics  # noqa: PLC0415  # loads HTTP

    timeout_s = session.flags.dial_timeout / SECOND
    size = read_metrics(session.endpoints[0], session.flags, timeout_s).get(METRIC, 0.0)
    if not size:
        session.streams.line(f"FAIL: Could not read {METRIC} {when} the put operations.")
        raise ReportedError
    return size
