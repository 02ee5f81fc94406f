"""Drive one watch stream so that what it delivers can be compared.

Watches are asynchronous; a comparison needs moments at which both servers owe the same. Creates
wait for their answers, and `wait_for_markers` waits until every open watch has seen the markers
that were written for it: order within a watch then guarantees that all before has arrived.
"""

from dataclasses import dataclass, field

from pykvd.pb import kv_pb2, rpc_pb2
from tests.conformance.revisions import Clock
from tests.harness import Client, WatchStream

NOPUT = rpc_pb2.WatchCreateRequest.NOPUT
NODELETE = rpc_pb2.WatchCreateRequest.NODELETE


@dataclass
class Watch:
    """An accepted watch: what it asked for and the compaction at that moment."""

    request: rpc_pb2.WatchCreateRequest
    compacted: int
    future: bool
    ended: bool = False


@dataclass
class StreamReport:
    """All that a stream delivered so far, batch boundaries left out.

    `progress` lists the revisions of progress answers; `progress_due` those of the requests that
    3.6 answers. `from_compacted` names watches whose history starts at the compacted revision,
    `refused_later` accepted ones that later releases refuse.
    """

    events: dict[int, list[kv_pb2.Event]] = field(default_factory=dict)
    cancellations: list[rpc_pb2.WatchResponse] = field(default_factory=list)
    progress: list[int] = field(default_factory=list)
    progress_due: list[int] = field(default_factory=list)
    from_compacted: dict[int, int] = field(default_factory=dict)
    refused_later: set[int] = field(default_factory=set)


class StreamPlayer:
    """One stream of one server, with its open watches."""

    def __init__(self, client: Client, patience: float) -> None:
        self.stream = WatchStream(client, timeout=patience)
        self.watches: dict[int, Watch] = {}
        self.progress_due: list[int] = []
        self.from_compacted: dict[int, int] = {}
        self.refused_later: set[int] = set()

    def create(self, request: rpc_pb2.WatchCreateRequest, clock: Clock) -> rpc_pb2.WatchResponse:
        """The answer to a create request; a watch that is already compacted is seen cancelled."""
        answer = self.stream.create(request)
        if answer.canceled:
            return answer
        watch = Watch(request, clock.compacted, request.start_revision > clock.revision)
        self.watches[answer.watch_id] = watch
        if request.start_revision < 0:
            # 3.4 accepts what later releases refuse; `rules.negative_start` takes it from here.
            self.refused_later.add(answer.watch_id)
            self.cancel(answer.watch_id)
        elif 0 < request.start_revision < clock.compacted:
            self._wait_canceled(answer.watch_id, "a compacted watch to be canceled")
            watch.ended = True
        elif 0 < request.start_revision == clock.compacted:
            self.from_compacted[answer.watch_id] = clock.compacted
        return answer

    def cancel(self, watch_id: int) -> rpc_pb2.WatchResponse | None:
        """The answer to a cancel request; None where there is none by rule.

        A watch that a compaction ended keeps its id until then, and is seen cancelled twice.
        """
        watch = self.watches.pop(watch_id, None)
        self.stream.cancel(watch_id)
        if watch is None:
            return None
        return self._wait_canceled(watch_id, "a watch to be canceled", 1 + watch.ended)

    def ask_progress(self, clock: Clock) -> None:
        """Send a progress request; waits for the answer if 3.6 owes one."""
        watches = self.watches.values()
        due = bool(watches) and not any(
            watch.ended or watch.request.start_revision > clock.revision for watch in watches
        )
        known = len(self.stream.progress())
        self.stream.ask_progress()
        if due:
            self.progress_due.append(clock.revision)
            self.stream.wait(lambda: len(self.stream.progress()) > known, "a progress answer")

    def marker_keys(self) -> set[bytes]:
        """One key inside the range of every open watch."""
        return {watch.request.key or b"\x00" for watch in self.watches.values() if not watch.ended}

    def wait_for_markers(self, put_revision: int, delete_revision: int) -> None:
        """Wait until each open watch has delivered the last marker that it lets through."""
        for watch_id, watch in self.watches.items():
            filters = set(watch.request.filters)
            last = put_revision if NODELETE in filters else delete_revision
            if watch.ended or filters >= {NOPUT, NODELETE}:
                continue
            if watch.request.start_revision <= last:
                self.stream.wait(
                    lambda watch_id=watch_id, last=last: self._reached(watch_id) >= last,  # type: ignore[misc]
                    f"watch {watch_id} to reach revision {last}",
                )

    def report(self) -> StreamReport:
        """Everything delivered so far."""
        report = StreamReport(
            progress_due=list(self.progress_due),
            from_compacted=dict(self.from_compacted),
            refused_later=set(self.refused_later),
        )
        report.progress = [answer.header.revision for answer in self.stream.progress()]
        for response in list(self.stream.responses):
            if response.events:
                report.events.setdefault(response.watch_id, []).extend(response.events)
            if response.canceled and not response.created:
                report.cancellations.append(response)
        return report

    def close(self) -> None:
        """End the stream."""
        self.stream.close()

    def _reached(self, watch_id: int) -> int:
        events = self.stream.events(watch_id)
        return events[-1].kv.mod_revision if events else 0

    def _wait_canceled(self, watch_id: int, what: str, times: int = 1) -> rpc_pb2.WatchResponse:
        def found() -> list[rpc_pb2.WatchResponse]:
            # An id can be used again: its present use ends after it was last created.
            last_use: list[rpc_pb2.WatchResponse] = []
            for response in self.stream.responses:
                if response.watch_id == watch_id and response.created:
                    last_use = []
                elif response.watch_id == watch_id and response.canceled:
                    last_use.append(response)
            return last_use

        self.stream.wait(lambda: len(found()) >= times, what)
        return found()[times - 1]
