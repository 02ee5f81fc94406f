"""Linearizable reads: they wait for a ReadIndex round and for local state to catch up."""

from collections.abc import Callable, Sequence

from pykvd.errors import Failure, RpcError
from pykvd.node.responder import Responder
from pykvd.raft import ProposalDropped, RawNode, ReadState


class ReadQueue:
    """Reads on their way (Raft thesis 6.4). All reads of a turn share one round of Raft's."""

    def __init__(self, raft: RawNode) -> None:
        self._raft = raft
        self._context = 0
        self._waiting: dict[int, tuple[float, Responder, Callable[[], bytes]]] = {}
        self._confirmed: list[ReadState] = []

    def add(self, deadline: float, responder: Responder, read: Callable[[], bytes]) -> None:
        """Ask for a read index; raises RpcError when there is no leader to give one."""
        self._context += 1
        try:
            self._raft.read_index(self._context.to_bytes(8, "big"))
        except ProposalDropped:
            raise Failure.NO_LEADER.error() from None
        self._waiting[self._context] = (deadline, responder, read)

    def confirm(self, states: Sequence[ReadState]) -> None:
        """Raft's answers: each read may run once its index is applied."""
        self._confirmed += states

    def answer(self, applied: int) -> None:
        """Run the reads that local state is recent enough for."""
        states, self._confirmed = self._confirmed, []
        for state in states:
            if state.index > applied:
                self._confirmed.append(state)
                continue
            found = self._waiting.pop(int.from_bytes(state.context, "big"), None)
            if found:
                self._run(found[1], found[2])

    def _run(self, responder: Responder, read: Callable[[], bytes]) -> None:
        try:
            responder.reply(read())
        except RpcError as error:
            responder.fail(error.code, error.message)

    def expire(self, now: float) -> None:
        """Fail the reads whose time is over."""
        late = [context for context, (deadline, *_) in self._waiting.items() if deadline < now]
        for context in late:
            self._fail(context, Failure.TIMEOUT)

    def fail_all(self, failure: Failure) -> None:
        """Fail all reads."""
        for context in list(self._waiting):
            self._fail(context, failure)

    def _fail(self, context: int, failure: Failure) -> None:
        _, responder, _ = self._waiting.pop(context)
        responder.fail(failure.code, failure.text)
