"""Majorities, which decide when an entry is committed and who is elected.

Functions of a sorted tuple of voters. A joint configuration needs both of its majorities for every
decision (section 6), so its answer is the weaker of the two. An empty half decides nothing: it
agrees with whatever the other half says.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pykvd.raft.membership import ConfState

UNBOUNDED = (1 << 64) - 1
"""The index that a majority of nobody has reached."""


class VoteResult(IntEnum):
    """Ordered: a joint election is as far as its worse half."""

    LOST = 0
    PENDING = 1
    WON = 2


def majority_index(voters: tuple[int, ...], reached: Callable[[int], int]) -> int:
    """The highest index that a majority of `voters` has reached (5.3, figure 2 "Leaders")."""
    if len(voters) == 1:
        return reached(voters[0])
    if not voters:
        return UNBOUNDED
    ascending = sorted(map(reached, voters))
    return ascending[(len(ascending) - 1) // 2]


def majority_vote(voters: tuple[int, ...], votes: Mapping[int, bool]) -> VoteResult:
    """How an election among `voters` stands (5.2)."""
    if not voters:
        return VoteResult.WON
    needed = len(voters) // 2 + 1
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    if granted >= needed:
        return VoteResult.WON
    if len(voters) - refused < needed:
        return VoteResult.LOST
    return VoteResult.PENDING


def committed_index(conf: ConfState, reached: Callable[[int], int]) -> int:
    """The highest index that the configuration as a whole has reached."""
    index = majority_index(conf.voters, reached)
    if conf.voters_outgoing:
        index = min(index, majority_index(conf.voters_outgoing, reached))
    return index


def vote_result(conf: ConfState, votes: Mapping[int, bool]) -> VoteResult:
    """How an election in the configuration as a whole stands."""
    incoming = majority_vote(conf.voters, votes)
    return min(incoming, majority_vote(conf.voters_outgoing, votes))
