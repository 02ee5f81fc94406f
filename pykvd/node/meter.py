"""How long applying takes, and a word about what took too long.

Puts are alike and many, so they are timed by the batch; every other command is timed by itself. No
request pays for the log of slow ones: a batch knows when its first request came.
"""

from collections.abc import Callable
from time import perf_counter, time

from google.protobuf.message import Message

from pykvd.histogram import DISK_BOUNDS, REQUEST_BOUNDS, Histogram
from pykvd.logs import get_logger
from pykvd.node.apply import Handler
from pykvd.node.commands import Command
from pykvd.node.describe import describe
from pykvd.node.proposals import Flight, Proposal

#: Lines about slow requests in one second; what goes beyond is counted in the next line.
LINES_PER_SECOND = 10

_OPERATIONS = {Command.COMPACT: "Compaction", Command.PUBLISH: "ClusterMemberAttrSet"}
_log = get_logger("apply")


def operation(command: Command) -> str:
    """What a command does, in the words of etcd."""
    words = command.name.split("_")
    return _OPERATIONS.get(command) or "".join(word.capitalize() for word in words)


class Meter:
    """Durations of one member's applies and reads, in seconds.

    `apply_limit` is for applying one command (or the Puts of a batch), `request_limit` for all of a
    request's time from its arrival on; `clock` is the loop's, in which flights have their times.
    """

    def __init__(
        self, *, apply_limit: float, request_limit: float, clock: Callable[[], float]
    ) -> None:
        self._apply_limit = apply_limit
        self._request_limit = request_limit
        self._clock = clock
        self._lines = _Budget()
        #: By etcd's name of the operation, and whether it succeeded.
        self.apply_seconds: dict[tuple[str, bool], Histogram] = {}
        self.range_seconds = Histogram(REQUEST_BOUNDS)
        #: Whole batches, and how many commands they held.
        self.batch_seconds = Histogram(DISK_BOUNDS)
        self.batch_sizes = Histogram((1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000))
        #: Applies and reads that took longer than `apply_limit`.
        self.slow = 0
        self._others = 0
        self._others_seconds = 0.0

    @property
    def transactions(self) -> int:
        """Transactions applied."""
        found = self.apply_seconds.get(("Txn", True))
        return sum(found.counts) if found else 0

    def timed(self, command: Command, handler: Handler) -> Handler:
        """The handler of a command, timed; that of Put is left as it is."""
        if command is Command.PUT:
            return handler
        name = operation(command)

        def apply(request: Message, *more: object) -> bytes:
            started = perf_counter()
            try:
                response = handler(request, *more)
            except Exception:
                self._applied(name, perf_counter() - started, succeeded=False)
                raise
            seconds = perf_counter() - started
            self._applied(name, seconds, succeeded=True)
            if seconds > self._apply_limit:
                self._too_long(seconds, "", describe(command, request), len(response))
            return response

        return apply

    def _applied(self, name: str, seconds: float, *, succeeded: bool) -> None:
        self._others += 1
        self._others_seconds += seconds
        self._histogram(name, succeeded=succeeded).observe(seconds)

    def _histogram(self, name: str, *, succeeded: bool) -> Histogram:
        found = self.apply_seconds.get((name, succeeded))
        if found is None:
            found = self.apply_seconds[name, succeeded] = Histogram(REQUEST_BOUNDS)
        return found

    def batch_applied(self, count: int, failed: int, seconds: float, flight: Flight | None) -> None:
        """A batch of `count` commands is applied; `failed` Puts of it were refused.

        `flight` is given where this member made the batch.
        """
        puts, left = count - self._others, max(0.0, seconds - self._others_seconds)
        self._others, self._others_seconds = 0, 0.0
        self.batch_seconds.observe(seconds)
        self.batch_sizes.observe(count)
        if puts:
            share = left / puts
            if puts > failed:
                good = puts - failed
                self._histogram("Put", succeeded=True).observe_many(share * good, good)
            if failed:
                self._histogram("Put", succeeded=False).observe_many(share * failed, failed)
            if left > self._apply_limit:
                self._too_long(left, f"batch of {puts} puts ", "", 0)
        if flight and self._clock() - flight.begun > self._request_limit:
            self._late(flight, seconds)

    def ranged(self, request: Message, seconds: float, size: int) -> None:
        """A Range was answered with `size` bytes."""
        self.range_seconds.observe(seconds)
        if seconds > self._apply_limit:
            self._too_long(seconds, "read-only range ", describe(None, request), size)

    def transaction_read(self, request: Message, seconds: float, size: int) -> None:
        """A transaction that only reads was answered with `size` bytes."""
        if seconds > self._apply_limit:
            self._too_long(seconds, "read-only txn ", describe(None, request), size)

    def _too_long(self, seconds: float, prefix: str, request: str, size: int) -> None:
        self.slow += 1
        if self._lines.take():
            _log.warn(
                "apply request took too long",
                took=f"{seconds:.6f}s",
                expected_duration=f"{self._apply_limit:g}s",
                prefix=prefix,
                request=request,
                response=f"size:{size}",
                **self._lines.missed(),
            )

    def _late(self, flight: Flight, applying: float) -> None:
        """Say where the time of a batch went, by the example of its first client's request."""
        first = next((each for each in flight.proposals if _remote(each)), None)
        if first is None or not self._lines.take():
            return
        now = self._clock()
        begun = time() - (now - flight.begun)
        fields: dict[str, object] = {
            "start time": f"{begun:.6f}",
            "time spent": f"{now - flight.begun:.6f}s",
            "remote": _remote(first),
            "response type": operation(first.command),
            "request count": len(flight.proposals),
            "request size": sum(len(each.payload) for each in flight.proposals),
            "request content": describe(first.command, first.request),
            "steps": {
                "waiting to be proposed": f"{flight.sent - flight.begun:.6f}s",
                "replicating and syncing": f"{now - applying - flight.sent:.6f}s",
                "applying": f"{applying:.6f}s",
            },
        }
        _log.warn("request stats", **fields, **self._lines.missed())


def _remote(proposal: Proposal) -> str:
    """The client that waits for it; empty where the server itself does."""
    return getattr(proposal.responder, "peer", "")


class _Budget:
    """At most so many lines a second."""

    def __init__(self) -> None:
        self._until = 0.0
        self._left = 0
        self._missed = 0

    def take(self) -> bool:
        """Whether one more line may be written."""
        now = perf_counter()
        if now >= self._until:
            self._until, self._left = now + 1.0, LINES_PER_SECOND
        if not self._left:
            self._missed += 1
            return False
        self._left -= 1
        return True

    def missed(self) -> dict[str, object]:
        """A field that tells how many lines were not written since the last one, if any."""
        count, self._missed = self._missed, 0
        return {"lines_not_written": count} if count else {}
