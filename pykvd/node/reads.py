"""Linearizable reads: they wait for a ReadIndex round and for local state to catch up."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pykvd.errors import Failure, RpcError
from pykvd.logs import get_logger
from pykvd.node.responder import Responder
from pykvd.raft import ProposalDropped, RawNode, ReadState

#: A question to the leader that takes longer is slow (etcd asks again after that time), seconds.
SLOW_S = 0.5

_log = get_logger("node")


class _Read(NamedTuple):
    deadline: float
    responder: Responder
    read: Callable[[], bytes]


class _Round(NamedTuple):
    """Reads that share a question, and when it was put."""

    asked: float
    reads: list[_Read]


class ReadQueue:
    """Reads on their way (Raft thesis 6.4). Those of one turn of the loop share one question.

    `process` hands Raft's messages over after the question is put.
    """

    def __init__(self, raft: RawNode, process: Callable[[], None]) -> None:
        self._raft = raft
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._context = 0
        self._gathering: list[_Read] = []
        self._waiting: dict[int, _Round] = {}
        self._confirmed: list[ReadState] = []
        #: Questions that took longer than SLOW_S, and reads whose time was over.
        self.slow = 0
        self.failed = 0

    def add(self, deadline: float, responder: Responder, read: Callable[[], bytes]) -> None:
        """Answer `responder` with `read()` once it is linearizable, or fail it at the deadline."""
        if not self._gathering:
            self._loop.call_soon(self._ask)
        self._gathering.append(_Read(deadline, responder, read))

    def _ask(self) -> None:
        """Put the question; without a leader the reads go on gathering."""
        if not self._gathering:
            return
        try:
            self._raft.read_index((self._context + 1).to_bytes(8, "big"))
        except ProposalDropped:
            return
        self._context += 1
        self._waiting[self._context] = _Round(self._loop.time(), self._gathering)
        self._gathering = []
        self._process()

    def confirm(self, states: Sequence[ReadState]) -> None:
        """Raft's answers: each read may run once its index is applied."""
        self._confirmed += states

    def answer(self, applied: int) -> None:
        """Run the reads that local state is recent enough for."""
        if not self._confirmed:
            return
        states, self._confirmed = self._confirmed, []
        for state in states:
            if state.index > applied:
                self._confirmed.append(state)
                continue
            answered = self._waiting.pop(int.from_bytes(state.context, "big"), None)
            if answered:
                self._note_time(answered)
                for read in answered.reads:
                    _run(read)

    def _note_time(self, answered: _Round) -> None:
        took = self._loop.time() - answered.asked
        if took > SLOW_S:
            self.slow += 1
            _log.warn("read index took too long", took=f"{took:.6f}s", reads=len(answered.reads))

    def tick(self, now: float) -> None:
        """Fail the reads whose time is over; ask again for those that had no leader."""
        self._gathering = self._expire(self._gathering, now)
        for context, waiting in list(self._waiting.items()):
            left = self._expire(waiting.reads, now)
            if left:
                self._waiting[context] = _Round(waiting.asked, left)
            else:
                del self._waiting[context]
        self._ask()

    def fail_all(self, failure: Failure) -> None:
        """Fail all reads."""
        reads = [read for waiting in self._waiting.values() for read in waiting.reads]
        reads += self._gathering
        self._waiting, self._gathering = {}, []
        for read in reads:
            read.responder.fail(failure.code, failure.text)

    def _expire(self, reads: list[_Read], now: float) -> list[_Read]:
        for read in reads:
            if read.deadline < now:
                self.failed += 1
                read.responder.fail(Failure.TIMEOUT.code, Failure.TIMEOUT.text)
        return [read for read in reads if read.deadline >= now]


def _run(read: _Read) -> None:
    try:
        response = read.read()
    except RpcError as error:
        read.responder.fail(error.code, error.message)
    else:
        read.responder.reply(response)
