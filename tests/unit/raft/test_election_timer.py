"""What starts the election timer over: a leader, or a vote given (figure 2), and nothing else."""

from __future__ import annotations

import random

from pykvd.raft import (
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    RaftConfig,
    RawNode,
    Role,
)

ELECTION_TICKS = 10


def member() -> RawNode:
    """A follower of three with one entry."""
    return RawNode(
        RaftConfig(id=1, election_ticks=ELECTION_TICKS, pre_vote=False, check_quorum=False),
        hard_state=HardState(term=1),
        conf_state=ConfState(voters=(1, 2, 3)),
        snapshot_id=(1, 1),
        entries=[Entry(1, 2, EntryKind.NORMAL, b"")],
        applied=1,
        rng=random.Random(1),
    )


def vote_request(term: int, index: int) -> Message:
    return Message(MessageKind.VOTE, to=1, sender=2, term=term, index=index, log_term=1)


def ticks_to_campaign(node: RawNode, requests_index: int) -> int:
    """How long it takes with a candidate that campaigns all the time."""
    for tick in range(1, 10 * ELECTION_TICKS):
        node.tick()
        if node.status().role is not Role.FOLLOWER:
            return tick
        if tick % 5 == 0:
            node.step(vote_request(term=1 + tick, index=requests_index))
    return 10 * ELECTION_TICKS


def test_a_refused_candidate_does_not_keep_others_from_campaigning() -> None:
    assert ticks_to_campaign(member(), requests_index=1) < 2 * ELECTION_TICKS


def test_a_vote_given_starts_the_timer_over() -> None:
    assert ticks_to_campaign(member(), requests_index=2) == 10 * ELECTION_TICKS
