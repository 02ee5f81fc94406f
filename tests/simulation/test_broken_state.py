"""The checks of rights, alarms, times, leases' records and hand-overs can fail, as each test shows.

Each breaks one rule on purpose, mostly on one member only, and sees it caught.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pykvd.auth.store import AuthStore
from pykvd.errors import Failure
from pykvd.node.apply import Applier
from pykvd.node.node import Node
from pykvd.node.permissions import Permissions
from pykvd.pb import pykvd_pb2 as pb
from pykvd.pb import rpc_pb2 as rpc
from tests.simulation.auth_check import check_auth
from tests.simulation.auth_model import AuthState, Interval, Roles, Users
from tests.simulation.operation import Method, Operation, Outcome
from tests.simulation.raft_checks import Violation
from tests.simulation.test_broken_rules import first_failure
from tests.simulation.time_check import check_times

if TYPE_CHECKING:
    from collections.abc import Callable

USERS = {"users": ("u1", "u2"), "weights": {"put": 3.0, "delete": 1.0, "txn": 1.0}}


def on_leader_only(method: Callable[..., Any], otherwise: object = None) -> Callable[..., Any]:
    """A method of what has a lessor that followers skip."""

    def skip(self: Any, *arguments: Any) -> Any:
        return method(self, *arguments) if self.lessor.primary else otherwise

    return skip


def test_rights_that_the_leader_alone_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("check_put", "check_delete", "check_txn"):
        monkeypatch.setattr(Permissions, name, on_leader_only(getattr(Permissions, name)))
    failure = first_failure((), **USERS)
    assert "answers" in failure or "others found" in failure


def test_rights_that_are_not_judged_again_when_a_command_is_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The member that proposes it looks; meanwhile they may have been taken away."""
    for name in ("check_put", "check_delete", "check_txn"):
        monkeypatch.setattr(Permissions, name, lambda *_: None)
    assert "expected='right'" in first_failure((), **USERS)


def test_rights_of_an_old_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merged permissions are kept although a role has changed."""

    def change(self: AuthStore) -> None:
        self.revision += 1
        self._save("auth", b"revision", b"%d" % self.revision)

    monkeypatch.setattr(AuthStore, "_changed", change)
    assert "expected=" in first_failure((), **USERS)


def test_users_that_a_restart_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    load = AuthStore.load

    def forget(self: AuthStore, table: Callable[[str], list[tuple[bytes, bytes]]]) -> None:
        load(self, table)
        self.users.pop("u1", None)

    monkeypatch.setattr(AuthStore, "load", forget)
    assert "another state" in first_failure(("crash", "crash all"), **USERS)


def test_an_alarm_on_one_member_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Applier, "_alarm", on_leader_only(Applier._alarm, b"\n\x00"))
    failure = first_failure((), weights={"alarm": 5.0, "put": 1.0})
    assert "others found" in failure or "another state" in failure


def test_an_alarm_that_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Applier, "_check_alarms", lambda *_: None)
    assert "expected='alarm'" in first_failure((), weights={"alarm": 5.0, "put": 1.0})


def test_a_downgrade_that_is_not_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Applier.load

    def forget(self: Applier) -> None:
        load(self)
        self.downgrade_target = ""

    monkeypatch.setattr(Applier, "load", forget)
    weights = {"downgrade": 5.0, "put": 1.0}
    assert "downgrade" in first_failure(("crash", "crash all"), weights=weights)


def test_times_by_the_clock_of_who_applies(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = Applier.changed
    monkeypatch.setattr(
        Applier,
        "changed",
        lambda self, _, before: changed(self, round(self._clock() * 1e9), before),
    )
    assert "timeline" in first_failure((), weights={"put": 1.0})


def test_remaining_times_that_the_leader_alone_records(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "_lease_checkpoint"
    monkeypatch.setattr(Applier, name, on_leader_only(Applier._lease_checkpoint, b""))
    assert "leases" in first_failure((), weights={"lease": 3.0, "put": 1.0})


def test_a_hand_over_that_is_only_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(self: Node, target: int) -> None:
        if not self.is_leader:
            raise Failure.NOT_LEADER.error()

    monkeypatch.setattr(Node, "move_leader", ask)
    assert "never led" in first_failure((), weights={"move": 5.0})


# The checks at the end of a run


def states() -> list[AuthState]:
    """Auth is off until 1; then u may read k0, from 5 on no more."""
    grant: Roles = {"r": ((0, Interval(b"k0", b"k1")),)}
    users: Users = {"u": (b"p0", ("r",)), "root": (b"p0", ("root",))}
    off = AuthState(0.0, False, 1, {}, {})
    return [off, AuthState(1.0, True, 7, users, grant), AuthState(5.0, True, 8, users, {})]


def asked(method: Method, request: Any, at: float, user: str = "u") -> Operation:
    """An operation that was answered a second later."""
    operation = Operation(1, 1, 1, method, request, at, user, at + 1.0)
    operation.outcome = Outcome.ANSWERED
    return operation


@pytest.mark.parametrize(("at", "fine"), [(0.5, True), (2.0, True), (4.5, True), (5.5, False)])
def test_a_read_after_its_right_was_taken_away(at: float, fine: bool) -> None:
    history = [asked(Method.RANGE, rpc.RangeRequest(key=b"k0"), at)]
    if fine:
        check_auth(history, states())
        return
    with pytest.raises(Violation, match="may not read"):
        check_auth(history, states())
    history[0].request.serializable = True
    check_auth(history, states())


def test_a_read_that_is_refused_without_a_reason() -> None:
    read = asked(Method.RANGE, rpc.RangeRequest(key=b"k0"), 2.0)
    read.outcome, read.error = Outcome.REFUSED, Failure.PERMISSION_DENIED.text
    with pytest.raises(Violation, match="was refused"):
        check_auth([read], states())


def test_a_login_with_a_wrong_password() -> None:
    request = rpc.AuthenticateRequest(name="u", password="p1")
    with pytest.raises(Violation, match="got a token"):
        check_auth([asked(Method.AUTHENTICATE, request, 2.0)], states())


def test_a_change_of_rights_by_one_who_is_not_root() -> None:
    request = rpc.AuthRoleAddRequest(name="r9")
    check_auth([asked(Method.ROLE_ADD, request, 2.0, "root")], states())
    with pytest.raises(Violation, match="root alone"):
        check_auth([asked(Method.ROLE_ADD, request, 2.0)], states())


SECOND = 10**9
TIMES = [0, 0, 10 * SECOND, 11 * SECOND, 12 * SECOND]


@pytest.mark.parametrize(
    ("seconds", "revision", "fine"),
    [(10.5, 2, True), (10.5, 1, True), (10.5, 3, False), (11.5, 1, False), (13.5, 3, False)],
)
def test_a_revision_at_a_time(seconds: float, revision: int, fine: bool) -> None:
    request = pb.RevisionAtRequest(time_ns=round(seconds * SECOND))
    operation = asked(Method.REVISION_AT, request, 1.0)
    operation.response = pb.RevisionAtResponse(revision=revision, time_ns=TIMES[revision])
    operation.response.header.revision = 4
    if fine:
        check_times([operation], TIMES, -1)
        return
    with pytest.raises(Violation, match="tells"):
        check_times([operation], TIMES, -1)
