"""top: how the members of the cluster are doing, again and again."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pykvctl.cluster import addressed_endpoints
from pykvctl.endpoints import Endpoint
from pykvctl.errors import BadArgumentsError, RequestError
from pykvctl.gotext.durations import SECOND
from pykvctl.gotext.numbers import human_bytes
from pykvctl.interrupts import interruptible
from pykvctl.metrics import read_metrics
from pykvctl.options.command import command, flag
from pykvctl.options.values import BOOL, DURATION, INT
from pykvctl.output.rows import yes_no
from pykvctl.session import Session
from pykvctl.terminal import console_on, is_fancy
from pykvd.methods import STATUS
from pykvd.pb import rpc_pb2 as rpc

if TYPE_CHECKING:
    from rich.table import Table

TITLES = (
    "endpoint",
    "id",
    "leader",
    "term",
    "index",
    "lag",
    "requests/s",
    "db size",
    "in use",
    "note",
)
NOTE = TITLES.index("note")
#: What a narrow terminal is not shown, first to last.
EXPENDABLE = ("term", "in use", "index", "id", "db size", "requests/s", "lag")
#: Characters beside the text of a cell.
MARGIN = 2
#: Counts every call that was answered, by etcd's name.
REQUESTS = "grpc_server_handled_total"
#: What each look adds to that count: the question for the status.
OWN_REQUESTS = 1
PARALLEL = 16


@dataclass(frozen=True)
class Reading:
    """One look at one endpoint; `status` is None, and `error` says why, if it did not answer.

    `requests` is the number of calls answered since its start, None where it does not tell.
    """

    endpoint: str
    at: float
    status: rpc.StatusResponse | None
    requests: float | None
    error: str


@dataclass(frozen=True)
class Row:
    """What is shown of one endpoint; None where it is not known."""

    endpoint: str
    status: rpc.StatusResponse | None
    lag: int | None
    requests_per_s: float | None
    note: str

    def cells(self) -> list[str]:
        """As texts, in the order of `TITLES`."""
        status = self.status
        if status is None:
            return [self.endpoint, *["-"] * (len(TITLES) - 2), self.note]
        rate = self.requests_per_s
        return [
            self.endpoint,
            f"{status.header.member_id:x}",
            yes_no(status.leader == status.header.member_id),
            str(status.raftTerm),
            str(status.raftIndex),
            str(self.lag),
            "-" if rate is None else f"{rate:.0f}",
            human_bytes(status.dbSize),
            human_bytes(status.dbSizeInUse),
            self.note or "-",
        ]

    def value(self) -> object:
        """For programs."""
        status = self.status
        if status is None:
            return {"endpoint": self.endpoint, "error": self.note}
        return {
            "endpoint": self.endpoint,
            "id": status.header.member_id,
            "leader": status.leader == status.header.member_id,
            "term": status.raftTerm,
            "index": status.raftIndex,
            "lag": self.lag,
            "requestsPerSecond": self.requests_per_s,
            "dbSize": status.dbSize,
            "dbSizeInUse": status.dbSizeInUse,
            "errors": list(status.errors),
        }


def compare(before: list[Reading], now: list[Reading]) -> list[Row]:
    """Rows of a reading, with rates since the one before it."""
    answered = [each.status for each in now if each.status is not None]
    newest = max((status.raftIndex for status in answered), default=0)
    earlier = {each.endpoint: each for each in before}
    return [_row(each, earlier.get(each.endpoint), newest) for each in now]


def _row(now: Reading, before: Reading | None, newest: int) -> Row:
    if now.status is None:
        return Row(now.endpoint, None, None, None, now.error)
    rate = None
    if before is not None and before.requests is not None and now.requests is not None:
        # A count that falls is that of a member that has started anew.
        answered = max(0.0, now.requests - before.requests - OWN_REQUESTS)
        rate = answered / max(now.at - before.at, 1e-9)
    note = " ".join([*(["learner"] if now.status.isLearner else []), *now.status.errors]).strip()
    return Row(now.endpoint, now.status, newest - now.status.raftAppliedIndex, rate, note)


@command(
    "top",
    usage="top [options]",
    short_help="Shows how the members are doing",
    help="On a terminal it refreshes in place until Ctrl-C; elsewhere it prints once. Lag is how\n"
    "many entries of the log a member has not applied that another knows of. Requests/s come\n"
    "from /metrics of the client port.",
)
@flag("--cluster", type=BOOL, default=True, help="All members, not only those of --endpoints")
@flag("--interval", type=DURATION, default=SECOND, help="Time between two looks")
@flag("--count", type=INT, default=0, help="End after so many looks (0: see above)")
@click.pass_obj
def top(session: Session, args: list[str], cluster: bool, interval: int, count: int) -> None:
    """Watch the members."""
    if args:
        raise BadArgumentsError("top command accepts no arguments")
    if interval <= 0:
        raise BadArgumentsError("--interval must be above 0")
    endpoints = addressed_endpoints(session, cluster=cluster)
    looks = _looks(lambda: _read(session, endpoints), interval / SECOND)
    stdout, printer = session.streams.stdout, session.printer
    if printer.name == "simple" and is_fancy(stdout, session.environ):
        _refresh(session, looks, count)
        return
    for _, rows in zip(range(count or 1), looks, strict=False):
        lines = ["\t".join(TITLES), *("\t".join(row.cells()) for row in rows)]
        printer.report(lines, [row.value() for row in rows])


def _looks(read: Callable[[], list[Reading]], interval_s: float) -> Iterator[list[Row]]:
    """Rows without end, an interval apart; the first come after one, for rates need two looks."""
    before = read()
    while True:
        time.sleep(interval_s)
        now = read()
        yield compare(before, now)
        before = now


def _read(session: Session, endpoints: list[Endpoint]) -> list[Reading]:
    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(lambda each: _read_one(session, each), endpoints))


def _read_one(session: Session, endpoint: Endpoint) -> Reading:
    timeout_s = session.flags.dial_timeout / SECOND
    client = session.client.only(endpoint)
    try:
        status = client.unary(STATUS, rpc.StatusRequest(), timeout_s, quiet=True)
    except RequestError as error:
        return Reading(endpoint.text, time.monotonic(), None, None, str(error))
    requests = read_metrics(endpoint, session.flags, timeout_s).get(REQUESTS)
    return Reading(endpoint.text, time.monotonic(), status, requests, "")


def _refresh(session: Session, looks: Iterator[list[Row]], count: int) -> None:
    """Draw rows in place until Ctrl-C, which is how this ends, or `count` times."""
    from rich.live import Live  # noqa: PLC0415

    with (
        interruptible(),
        console_on(session.streams.stdout) as console,
        Live(_table([], console.width), console=console, auto_refresh=False) as live,
        suppress(KeyboardInterrupt),
    ):
        for number, rows in enumerate(looks, 1):
            live.update(_table(rows, console.width), refresh=True)
            if number == count:
                return


def _table(rows: list[Row], width: int) -> "Table":
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    cells = [row.cells() for row in rows]
    shown = fitting(cells, width)
    table = Table(box=None, header_style="bold", caption="Ctrl-C ends", caption_justify="left")
    for at in shown:
        left = TITLES[at] in {"endpoint", "id", "note"}
        table.add_column(
            TITLES[at].upper(), justify="left" if left else "right", no_wrap=TITLES[at] != "note"
        )
    for row, texts in zip(rows, cells, strict=True):
        leads = row.status is not None and row.status.leader == row.status.header.member_id
        style = "red" if row.status is None else "green" if leads else ""
        table.add_row(*(Text(texts[at]) for at in shown), style=style)
    return table


def fitting(rows: list[list[str]], width: int) -> list[int]:
    """The places of the columns that a line of so many characters has room for, in order.

    Whole columns go, so that the others stay readable: notes where there are none, then those of
    `EXPENDABLE`. Notes that there are may be wrapped.
    """

    def taken(at: int) -> int:
        texts = [TITLES[at]] if at == NOTE else [TITLES[at], *(cells[at] for cells in rows)]
        return MARGIN + max(map(len, texts))

    shown = list(range(len(TITLES)))
    empty = [NOTE] if all(cells[NOTE] == "-" for cells in rows) else []
    for at in [*empty, *map(TITLES.index, EXPENDABLE)]:
        if sum(map(taken, shown)) <= width:
            break
        shown.remove(at)
    return shown
