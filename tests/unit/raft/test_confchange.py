"""Membership arithmetic: invariants, and simple against joint changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pykvd.raft import (
    ConfChange,
    ConfChangeError,
    ConfChangeKind,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfState,
)
from pykvd.raft.confchange import apply_change, enter_joint, leave_joint, simple

if TYPE_CHECKING:
    from collections.abc import Callable

singles = st.builds(ConfChangeSingle, st.sampled_from(ConfChangeKind), st.integers(1, 6))
changes = st.lists(singles, min_size=1, max_size=4).map(tuple)


@st.composite
def configurations(draw: st.DrawFn) -> ConfState:
    """Any simple configuration of up to six members."""
    members = draw(st.lists(st.integers(1, 6), unique=True, min_size=1))
    count = draw(st.integers(1, len(members)))
    return ConfState(voters=tuple(sorted(members[:count])), learners=tuple(sorted(members[count:])))


def check(conf: ConfState) -> None:
    """The invariants of `ConfState`."""
    groups = (conf.voters, conf.learners, conf.voters_outgoing, conf.learners_next)
    for group in groups:
        assert list(group) == sorted(set(group))
    assert conf.voters
    assert not set(conf.learners) & {*conf.voters, *conf.voters_outgoing}
    assert set(conf.learners_next) <= set(conf.voters_outgoing)
    assert not set(conf.learners_next) & set(conf.voters)
    if not conf.is_joint:
        assert not conf.learners_next
        assert not conf.auto_leave


@given(configurations(), changes)
def test_simple_and_joint_changes_agree(
    conf: ConfState, change: tuple[ConfChangeSingle, ...]
) -> None:
    try:
        by_one_step = simple(conf, change)
    except ConfChangeError:
        assume(False)
    joint = enter_joint(conf, change, auto_leave=False)
    check(joint)
    assert joint.voters_outgoing == conf.voters
    assert leave_joint(joint) == by_one_step
    check(by_one_step)


@given(configurations(), changes, st.sampled_from(ConfChangeTransition))
def test_every_change_keeps_the_invariants_or_is_refused(
    conf: ConfState, change: tuple[ConfChangeSingle, ...], transition: ConfChangeTransition
) -> None:
    try:
        after = apply_change(conf, ConfChange(change, transition))
    except ConfChangeError:
        return
    check(after)
    if not after.is_joint:
        # Majorities of the two configurations overlap (thesis 4.1).
        assert len(set(conf.voters) ^ set(after.voters)) <= 1
        return
    assert after.voters_outgoing == conf.voters
    assert after.auto_leave is (transition is not ConfChangeTransition.JOINT_EXPLICIT)
    with pytest.raises(ConfChangeError):
        apply_change(after, ConfChange(change, transition))
    left = apply_change(after, ConfChange())
    check(left)
    assert left.voters == after.voters


@given(configurations())
def test_an_empty_change_leaves_a_simple_configuration_alone(conf: ConfState) -> None:
    assert apply_change(conf, ConfChange()) == conf


def test_a_demoted_voter_votes_until_the_joint_configuration_is_left() -> None:
    conf = ConfState(voters=(1, 2, 3))
    demote = (ConfChangeSingle(ConfChangeKind.ADD_LEARNER, 3),)
    joint = enter_joint(conf, demote, auto_leave=True)
    assert joint == ConfState((1, 2), (), (1, 2, 3), (3,), auto_leave=True)
    assert leave_joint(joint) == ConfState((1, 2), (3,))


def test_a_member_without_configuration_takes_its_first_one_whole() -> None:
    add = tuple(ConfChangeSingle(ConfChangeKind.ADD_VOTER, node) for node in (3, 1, 2))
    assert apply_change(ConfState(), ConfChange(add)) == ConfState(voters=(1, 2, 3))


ADD = [ConfChangeSingle(ConfChangeKind.ADD_VOTER, 4)]
JOINT = ConfState(voters=(1,), voters_outgoing=(1, 2))


@pytest.mark.parametrize(
    "change",
    [
        lambda: leave_joint(ConfState(voters=(1,))),
        lambda: simple(JOINT, ADD),
        lambda: enter_joint(JOINT, ADD, auto_leave=True),
        lambda: enter_joint(ConfState(), ADD, auto_leave=True),
    ],
)
def test_wrong_phase_is_refused(change: Callable[[], ConfState]) -> None:
    with pytest.raises(ConfChangeError):
        change()
