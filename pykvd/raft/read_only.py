"""Reads that wait for proof that their leader still leads (section 8, thesis 6.4).

All reads that arrive between two Readys form one round. On the leader a round holds the commit
index at its start, and is confirmed when a majority has answered a heartbeat sent after that: no
newer leader can have committed anything before the round began. On a follower a round is one
request to the leader. Confirming a round confirms all before it, so a lost answer costs nothing
once a later one arrives.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import NamedTuple

_CONTEXT = struct.Struct(">QQ")


class ReadRequest(NamedTuple):
    """One read: the member that asks and the context that it knows the read by."""

    sender: int
    context: bytes


class ReadRound(NamedTuple):
    """Reads that are confirmed together; `index` is what they may be served at."""

    number: int
    index: int  # type: ignore[assignment]  # hides tuple.index
    requests: list[ReadRequest]


class ReadOnly:
    """The reads of one member, whatever its role.

    Round numbers are never reused while the process lives, and `nonce` tells its lives apart: an
    answer to an earlier life, term or round confirms nothing new.
    """

    def __init__(self, node: int, nonce: int) -> None:
        self._node = node
        self._nonce = nonce
        self._last_round = 0
        self.waiting: list[ReadRequest] = []
        self._rounds: deque[ReadRound] = deque()
        self._acknowledged: dict[int, int] = {}

    @property
    def pending(self) -> int:
        """How many reads are waiting or in a round."""
        return len(self.waiting) + sum(len(r.requests) for r in self._rounds)

    def add(self, sender: int, context: bytes) -> None:
        """Take a read; it joins the next round."""
        self.waiting.append(ReadRequest(sender, context))

    def start_round(self, index: int) -> int:
        """Make a round of the waiting reads, to be served at `index`; returns its number."""
        self._last_round += 1
        self._rounds.append(ReadRound(self._last_round, index, self.waiting))
        self.waiting = []
        return self._last_round

    @property
    def context(self) -> bytes:
        """The name on the wire of the latest unconfirmed round; empty if there is none."""
        return _CONTEXT.pack(self._nonce, self._last_round) if self._rounds else b""

    def round_of(self, context: bytes) -> int:
        """The number of the round that `context` names; 0 if it is not of this process."""
        if len(context) != _CONTEXT.size:
            return 0
        nonce, number = _CONTEXT.unpack(context)
        return number if nonce == self._nonce else 0

    def acknowledge(self, peer: int, number: int) -> None:
        """`peer` answered a heartbeat of round `number`."""
        if number > self._acknowledged.get(peer, 0):
            self._acknowledged[peer] = number

    def acknowledged(self, peer: int) -> int:
        """The last round that `peer` answered."""
        return self._acknowledged.get(peer, 0)

    def confirm(self, number: int) -> list[ReadRound]:
        """End the rounds up to `number`, oldest first."""
        confirmed = []
        while self._rounds and self._rounds[0].number <= number:
            confirmed.append(self._rounds.popleft())
        return confirmed

    def reset(self) -> None:
        """The leader or the term changed: own reads start over, those of others are forgotten.

        The members that sent those ask the new leader themselves.
        """
        requests = [request for r in self._rounds for request in r.requests] + self.waiting
        self.waiting = [request for request in requests if request.sender == self._node]
        self._rounds.clear()
        self._acknowledged.clear()
