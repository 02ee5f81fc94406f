"""Linearizable reads: they wait for a ReadIndex round and for local state to catch up."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pykvd.errors import Failure, RpcError
from pykvd.node.responder import Responder
from pykvd.raft import ProposalDropped, RawNode, ReadState


class _Read(NamedTuple):
    deadline: float
    responder: Responder
    read: Callable[[], bytes]


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
        self._waiting: dict[int, list[_Read]] = {}
        self._confirmed: list[ReadState] = []

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
        self._waiting[self._context], self._gathering = self._gathering, []
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
            for read in self._waiting.pop(int.from_bytes(state.context, "big"), ()):
                _run(read)

    def tick(self, now: float) -> None:
        """Fail the reads whose time is over; ask again for those that had no leader."""
        self._gathering = _expire(self._gathering, now)
        for context, reads in list(self._waiting.items()):
            left = self._waiting[context] = _expire(reads, now)
            if not left:
                del self._waiting[context]
        self._ask()

    def fail_all(self, failure: Failure) -> None:
        """Fail all reads."""
        reads = [read for waiting in self._waiting.values() for read in waiting]
        reads += self._gathering
        self._waiting, self._gathering = {}, []
        for read in reads:
            read.responder.fail(failure.code, failure.text)


def _run(read: _Read) -> None:
    try:
        response = read.read()
    except RpcError as error:
        read.responder.fail(error.code, error.message)
    else:
        read.responder.reply(response)


def _expire(reads: list[_Read], now: float) -> list[_Read]:
    for read in reads:
        if read.deadline < now:
            read.responder.fail(Failure.TIMEOUT.code, Failure.TIMEOUT.text)
    return [read for read in reads if read.deadline >= now]
