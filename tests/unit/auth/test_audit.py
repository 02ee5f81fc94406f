"""The audit log: what it tells, and how much of it."""

import logging

import pytest

from pykvd.auth.identity import Identity
from pykvd.errors import Failure
from pykvd.node.audit import DENIALS_PER_SECOND, MAX_SHOWN, Audit

ANN = Identity("ann", 3)


class Clock:
    """Seconds that pass when the test says so."""

    now = 7.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "pykvd.audit")
    return caplog


def test_a_change_tells_who_and_what(lines: pytest.LogCaptureFixture) -> None:
    Audit(Clock()).changed("user_add", ANN, "peer:1", name="bob")
    assert lines.messages == ["auth changed action=user_add user=ann peer=peer:1 name=bob"]


def test_only_denials_are_told(lines: pytest.LogCaptureFixture) -> None:
    audit = Audit(Clock())
    audit.refused("put", ANN, "peer:1", Failure.LEASE_NOT_FOUND.error())
    audit.refused("put", None, "peer:1", Failure.USER_EMPTY.error())
    reason = Failure.USER_EMPTY.text
    assert lines.messages == [f"request denied action=put user= peer=peer:1 reason={reason}"]


def test_a_flood_of_denials_is_counted(lines: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    audit = Audit(clock)
    for _ in range(DENIALS_PER_SECOND + 9):
        audit.refused("put", ANN, "peer:1", Failure.PERMISSION_DENIED.error())
    assert len(lines.messages) == DENIALS_PER_SECOND
    clock.now += 1
    audit.refused("put", ANN, "peer:1", Failure.PERMISSION_DENIED.error())
    assert lines.messages[-2:-1] == ["more requests denied count=9"]


def test_what_a_client_sends_does_not_fill_the_log(lines: pytest.LogCaptureFixture) -> None:
    audit, long = Audit(Clock()), "n" * 1_000_000
    audit.refused("authenticate", None, "peer:1", Failure.AUTH_FAILED.error(), name=long)
    audit.changed("role_grant_permission", Identity(long, 1), "peer:1", key=long.encode())
    for line in lines.messages:
        assert "n" * MAX_SHOWN in line
        assert len(line) < 3 * MAX_SHOWN
