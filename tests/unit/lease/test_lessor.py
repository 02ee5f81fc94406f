"""The lessor, case by case."""

from math import inf

from pykvd.lease.lessor import Lessor


def leader() -> Lessor:
    lessor = Lessor()
    lessor.promote(0.0, 0.0)
    return lessor


def test_a_lease_is_reported_once_though_its_id_was_used_before() -> None:
    lessor = leader()
    lessor.grant(1, 10, 0.0)
    lessor.revoke(1)
    lessor.grant(1, 100, 1.0)
    assert lessor.expired(10.0, 5) == []
    assert lessor.expired(101.0, 5) == [1]
    assert lessor.expired(1000.0, 5) == []


def test_leases_expire_in_order_of_expiry_though_some_were_renewed() -> None:
    lessor = leader()
    lessor.grant(1, 5, 0.0)
    lessor.grant(2, 7, 0.0)
    lessor.renew(1, 3.0)
    assert lessor.expired(20.0, 1) == [2]
    assert lessor.expired(20.0, 1) == [1]


def test_a_lease_at_its_very_end_is_over() -> None:
    lessor = leader()
    lessor.grant(1, 5, 0.0)
    assert lessor.renew(1, 4.999) == 5
    assert lessor.expired(9.998, 5) == []
    assert lessor.renew(1, 9.999) == 0
    assert lessor.expired(9.999, 5) == [1]


def test_a_recorded_remaining_time_never_exceeds_the_ttl() -> None:
    lessor = Lessor()
    lessor.grant(1, 5, 0.0)
    for _ in range(3):
        lessor.promote(0.0, 1.0)
        ((_, remaining),) = lessor.to_checkpoint(0.0, 0.0)
        assert remaining == 5
        lessor.checkpoint(1, remaining, 0.0)
        lessor.demote()


def test_an_expired_lease_is_not_revived_by_renewal() -> None:
    lessor = leader()
    lessor.grant(1, 5, 0.0)
    assert lessor.expired(5.0, 5) == [1]
    assert lessor.renew(1, 6.0) == 0
    assert lessor.remaining(1, 6.5) == -2


def test_a_follower_lets_nothing_expire() -> None:
    lessor = Lessor()
    lessor.grant(1, 5, 0.0, remaining=3)
    assert lessor.expired(1e9, 5) == []
    assert lessor.remaining(1, 1e9) == 3
    assert lessor.leases[1].expiry == inf
    lessor.promote(100.0, 1.0)
    assert lessor.expired(103.9, 5) == []
    assert lessor.expired(104.0, 5) == [1]


def test_a_retry_is_forgotten_with_leadership() -> None:
    lessor = leader()
    lessor.grant(1, 5, 0.0)
    assert lessor.expired(5.0, 5) == [1]
    lessor.retry(1, 12.0)
    lessor.demote()
    lessor.retry(1, 13.0)
    lessor.promote(20.0, 0.0)
    assert lessor.expired(24.9, 5) == []
    assert lessor.expired(25.0, 5) == [1]


def test_keys_leave_in_order() -> None:
    lessor = leader()
    lessor.grant(1, 5, 0.0)
    for key in (b"c", b"a", b"b", b"a"):
        lessor.attach(1, key)
    lessor.detach(1, b"b")
    lessor.detach(99, b"b")
    assert lessor.revoke(1) == [b"a", b"c"]
