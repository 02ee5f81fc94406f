"""Majorities against their definitions, for simple and joint configurations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pykvd.raft import ConfState
from pykvd.raft.quorum import (
    UNBOUNDED,
    VoteResult,
    committed_index,
    majority_index,
    majority_vote,
    vote_result,
)

voters = st.lists(st.integers(1, 7), unique=True, max_size=7).map(lambda v: tuple(sorted(v)))
indexes = st.dictionaries(st.integers(1, 7), st.integers(0, 9))
votes = st.dictionaries(st.integers(1, 7), st.booleans())


@given(voters, indexes)
def test_a_majority_has_reached_the_index_and_no_more(
    group: tuple[int, ...], reached: dict[int, int]
) -> None:
    index = majority_index(group, lambda node: reached.get(node, 0))
    if not group:
        assert index == UNBOUNDED
        return
    have = [reached.get(node, 0) for node in group]
    assert sum(i >= index for i in have) > len(group) // 2
    assert sum(i >= index + 1 for i in have) <= len(group) // 2


@given(voters, votes)
def test_an_election_is_won_by_a_majority_and_lost_when_none_can_come(
    group: tuple[int, ...], cast: dict[int, bool]
) -> None:
    result = majority_vote(group, cast)
    granted = sum(cast.get(node) is True for node in group)
    missing = sum(node not in cast for node in group)
    majority = len(group) // 2 + 1
    if not group or granted >= majority:
        assert result is VoteResult.WON
    elif granted + missing < majority:
        assert result is VoteResult.LOST
    else:
        assert result is VoteResult.PENDING


@given(voters, voters, indexes, votes)
def test_a_joint_configuration_needs_both_halves(
    new: tuple[int, ...], old: tuple[int, ...], reached: dict[int, int], cast: dict[int, bool]
) -> None:
    conf = ConfState(voters=new, voters_outgoing=old)
    halves = [majority_index(group, lambda node: reached.get(node, 0)) for group in (new, old)]
    assert committed_index(conf, lambda node: reached.get(node, 0)) == min(halves)
    results = [majority_vote(group, cast) for group in (new, old)]
    won = all(result is VoteResult.WON for result in results)
    lost = any(result is VoteResult.LOST for result in results)
    expected = VoteResult.WON if won else VoteResult.LOST if lost else VoteResult.PENDING
    assert vote_result(conf, cast) is expected


@given(voters, indexes)
def test_a_joint_configuration_of_twins_is_the_simple_one(
    group: tuple[int, ...], reached: dict[int, int]
) -> None:
    def index(node: int) -> int:
        return reached.get(node, 0)

    twins = ConfState(voters=group, voters_outgoing=group)
    assert committed_index(twins, index) == committed_index(ConfState(voters=group), index)
