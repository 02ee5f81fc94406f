"""The arithmetic of membership change (section 6, thesis 4): pure functions of `ConfState`.

A simple change adds or removes at most one voter, so that the majorities of the old and the new
configuration overlap (thesis 4.1). Any other goes through a joint configuration, in which both
majorities are needed (section 6). Each function returns a new configuration or raises
`ConfChangeError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pykvd.raft.errors import ConfChangeError
from pykvd.raft.membership import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfState,
)
from pykvd.raft.types import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Draft:
    """A configuration being edited; the outgoing voters stay as they are."""

    def __init__(self, conf: ConfState, outgoing: tuple[int, ...]) -> None:
        self.voters = set(conf.voters)
        self.learners = set(conf.learners)
        self.learners_next = set(conf.learners_next)
        self.outgoing = outgoing

    def change(self, single: ConfChangeSingle) -> None:
        node = single.node
        if node == NONE:
            raise ConfChangeError("node id must not be 0")
        if single.kind is ConfChangeKind.ADD_VOTER:
            self._forget(node)
            self.voters.add(node)
        elif single.kind is ConfChangeKind.REMOVE:
            self._forget(node)
        elif single.kind is ConfChangeKind.ADD_LEARNER:
            self._forget(node)
            # A voter of C_old still votes; it cannot be a learner until the joint phase ends.
            (self.learners_next if node in self.outgoing else self.learners).add(node)

    def _forget(self, node: int) -> None:
        self.voters.discard(node)
        self.learners.discard(node)
        self.learners_next.discard(node)

    def finish(self, *, auto_leave: bool) -> ConfState:
        if not self.voters:
            raise ConfChangeError("the last voter cannot be removed")
        return ConfState(
            voters=tuple(sorted(self.voters)),
            learners=tuple(sorted(self.learners)),
            voters_outgoing=self.outgoing,
            learners_next=tuple(sorted(self.learners_next)),
            auto_leave=auto_leave,
        )


def _edit(
    conf: ConfState,
    changes: Iterable[ConfChangeSingle],
    *,
    outgoing: tuple[int, ...],
    auto_leave: bool,
) -> ConfState:
    draft = _Draft(conf, outgoing)
    for change in changes:
        draft.change(change)
    return draft.finish(auto_leave=auto_leave)


def simple(conf: ConfState, changes: Iterable[ConfChangeSingle]) -> ConfState:
    """Make `changes` in one step; at most one voter may come or go (thesis 4.1)."""
    if conf.is_joint:
        raise ConfChangeError("a simple change cannot be made in a joint configuration")
    after = _edit(conf, changes, outgoing=(), auto_leave=False)
    if len(set(conf.voters) ^ set(after.voters)) > 1:
        raise ConfChangeError("more than one voter changes without joint consensus")
    return after


def enter_joint(
    conf: ConfState, changes: Iterable[ConfChangeSingle], *, auto_leave: bool
) -> ConfState:
    """Make C_old,new of `conf` and `changes` (section 6)."""
    if conf.is_joint:
        raise ConfChangeError("the configuration is already joint")
    if not conf.voters:
        raise ConfChangeError("a configuration without voters cannot become joint")
    return _edit(conf, changes, outgoing=conf.voters, auto_leave=auto_leave)


def leave_joint(conf: ConfState) -> ConfState:
    """Make C_new of C_old,new: demoted voters become learners."""
    if not conf.is_joint:
        raise ConfChangeError("the configuration is not joint")
    learners = tuple(sorted({*conf.learners, *conf.learners_next}))
    return ConfState(voters=conf.voters, learners=learners)


def apply_change(conf: ConfState, change: ConfChange) -> ConfState:
    """The configuration after `change`, by the transition that it asks for.

    AUTO is simple if it can be, else joint. An empty change leaves a joint configuration and is
    otherwise without effect. A member that knows no configuration yet takes its first one whole,
    because nobody can have been elected in it.
    """
    if change.leaves_joint:
        return leave_joint(conf) if conf.is_joint else conf
    if not conf.voters:
        return _edit(conf, change.changes, outgoing=(), auto_leave=False)
    if change.transition is ConfChangeTransition.AUTO:
        after = enter_joint(conf, change.changes, auto_leave=True)
        if len(set(conf.voters) ^ set(after.voters)) <= 1:
            return simple(conf, change.changes)
        return after
    explicit = change.transition is ConfChangeTransition.JOINT_EXPLICIT
    return enter_joint(conf, change.changes, auto_leave=not explicit)
