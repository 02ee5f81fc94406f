"""The checks of a history can fail: each test alters what a client saw, and sees it noticed."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import pytest

from pykvd.pb.kv_pb2 import KeyValue
from tests.simulation.history import check_history, is_serializable
from tests.simulation.lease_check import check_leases
from tests.simulation.operation import Method, Operation, Outcome
from tests.simulation.plan import Plan
from tests.simulation.raft_checks import Violation
from tests.simulation.run import run_seed
from tests.simulation.truth import LeaseEnd

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.world import World


@pytest.fixture(scope="module")
def world() -> World:
    """A run without faults, in which much is written."""
    return run_seed(1, Plan(clients=4, think_seconds=0.1, seconds=10.0))


@pytest.fixture
def history(world: World) -> list[Operation]:
    copy = deepcopy(world.history)
    for operation in copy:
        operation.revision = 0
    return copy


def pick(
    history: list[Operation], method: Method, wanted: Callable[[Operation], object]
) -> Operation:
    """The last answered operation of a kind: by then, much has been answered before."""
    return [
        operation
        for operation in history
        if operation.method is method
        and operation.outcome is Outcome.ANSWERED
        and wanted(operation)
    ][-1]


def test_the_history_as_it_was_is_fine(world: World, history: list[Operation]) -> None:
    check_history(history, world.checks.truth)


def test_a_stale_read(world: World, history: list[Operation]) -> None:
    """It is right for its revision, but another client had been told a newer one."""
    truth = world.checks.truth
    read = pick(history, Method.RANGE, lambda each: not is_serializable(each))
    read.request.ClearField("revision")
    read.response.header.revision = 3
    found = truth.range(read.request.key, read.request.range_end, 3)
    del read.response.kvs[:]
    read.response.kvs.extend(() if read.request.count_only else found)
    read.response.count = len(found)
    with pytest.raises(Violation, match="answered before it began"):
        check_history(history, truth)
    read.request.serializable = True
    for operation in history:
        operation.revision = 0
    check_history(history, truth)


def test_a_read_of_a_value_that_nobody_wrote(world: World, history: list[Operation]) -> None:
    read = pick(history, Method.RANGE, lambda each: each.response.kvs)
    read.response.kvs[0].value = b"0"
    with pytest.raises(Violation, match="instead of"):
        check_history(history, world.checks.truth)


def test_a_lost_write(world: World, history: list[Operation]) -> None:
    write = pick(history, Method.PUT, lambda _: True)
    lost = deepcopy(write)
    lost.number = 10_000
    lost.request.value = b"10000"
    with pytest.raises(Violation, match=r"acknowledged at .* but is not there"):
        check_history([*history, lost], world.checks.truth)


def test_a_refused_write_that_took_effect(world: World, history: list[Operation]) -> None:
    write = pick(history, Method.PUT, lambda _: True)
    write.outcome = Outcome.REFUSED
    with pytest.raises(Violation, match="was refused"):
        check_history(history, world.checks.truth)


def test_a_write_of_unknown_outcome_may_have_happened(
    world: World, history: list[Operation]
) -> None:
    for method in (Method.PUT, Method.DELETE_RANGE, Method.TXN):
        pick(history, method, lambda _: True).outcome = Outcome.UNKNOWN
    check_history(history, world.checks.truth)


def test_a_write_before_what_was_answered_before_it(world: World, history: list[Operation]) -> None:
    first = next(
        each for each in history if each.method is Method.PUT and each.outcome is Outcome.ANSWERED
    )
    first.invoked = first.returned = 9.9
    with pytest.raises(Violation, match="older than what was answered before"):
        check_history(history, world.checks.truth)


def test_a_change_that_nobody_asked_for(world: World, history: list[Operation]) -> None:
    deletion = pick(history, Method.DELETE_RANGE, lambda each: each.response.deleted)
    history.remove(deletion)
    with pytest.raises(Violation, match="nobody asked for revision"):
        check_history(history, world.checks.truth)


def test_a_wrong_previous_value(world: World, history: list[Operation]) -> None:
    write = pick(history, Method.PUT, lambda each: each.response.HasField("prev_kv"))
    write.response.prev_kv.CopyFrom(KeyValue(key=b"k0"))
    with pytest.raises(Violation, match="instead of"):
        check_history(history, world.checks.truth)


def test_a_lease_that_ends_early(world: World, history: list[Operation]) -> None:
    truth = deepcopy(world.checks.truth)
    grant = pick(history, Method.GRANT, lambda _: True)
    truth.lease_ends[grant.request.ID] = LeaseEnd(grant.returned + 0.1, 1 << 40)
    with pytest.raises(Violation, match="ended at"):
        check_leases(history, truth, world.plan, world.scheduler.now)
