"""What is sent again, where, for how long; and logins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pykvd.client import errors, leases, methods
from pykvd.client.engine import Engine
from pykvd.client.pool import Pool
from pykvd.client.steps import Pause, Send, Step
from pykvd.client.transport import CallError
from pykvd.pb import rpc_pb2 as rpc
from pykvd.status import Code
from tests.unit.client.plans import Clock, play, play_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from pykvd.client.methods import Method

LOST = CallError(Code.UNAVAILABLE, "connection lost")
REFUSED = CallError(Code.UNAVAILABLE, "nobody there", sent=False)
SILENT = CallError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
STALE = CallError(Code.UNAUTHENTICATED, errors.InvalidAuthToken.text)
WRITES = [
    (methods.PUT, rpc.PutRequest(key=b"k")),
    (methods.DELETE, rpc.DeleteRangeRequest(key=b"k")),
    (methods.TXN, rpc.TxnRequest()),
    (methods.COMPACT, rpc.CompactionRequest(revision=1)),
    (methods.GRANT_ID, rpc.LeaseGrantRequest(ID=7)),
    (methods.MEMBER_ADD, rpc.MemberAddRequest()),
    (methods.MEMBER_REMOVE, rpc.MemberRemoveRequest()),
    (methods.MEMBER_UPDATE, rpc.MemberUpdateRequest()),
    (methods.MEMBER_PROMOTE, rpc.MemberPromoteRequest()),
    (methods.DEFRAGMENT, rpc.DefragmentRequest()),
    (methods.AUTH_ENABLE, rpc.AuthEnableRequest()),
    (methods.USER_ADD, rpc.AuthUserAddRequest()),
    (methods.USER_CHANGE_PASSWORD, rpc.AuthUserChangePasswordRequest()),
    (methods.ROLE_GRANT, rpc.AuthRoleGrantPermissionRequest()),
]
READS = [
    (methods.RANGE, rpc.RangeRequest(key=b"k")),
    (methods.REPEATABLE_TXN, rpc.TxnRequest()),
    (methods.STATUS, rpc.StatusRequest()),
    (methods.REVOKE, rpc.LeaseRevokeRequest(ID=1)),
]


class Network:
    """Gives each `Send` the next answer of a script, the last one for ever, and keeps what came."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.sent: list[Send] = []

    def __call__(self, step: Step) -> object:
        assert isinstance(step, Send)
        self.sent.append(step)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Callable[..., Engine]:
    def make(endpoints: str = "ab", **options: object) -> Engine:
        return Engine(Pool(endpoints), clock=clock, **options)  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize(("method", "request_"), WRITES)
@pytest.mark.parametrize("failure", [LOST, SILENT, CallError(Code.INTERNAL, "?")])
def test_a_write_that_was_sent_is_never_sent_again(
    make: Callable[..., Engine],
    clock: Clock,
    method: Method[Message, Message],
    request_: Message,
    failure: CallError,
) -> None:
    network = Network(failure)
    with pytest.raises(errors.EtcdError) as raised:
        play(make().call(method, request_), network, clock)
    assert len(network.sent) == 1
    assert raised.value.maybe_applied


@pytest.mark.parametrize(("method", "request_"), WRITES)
def test_a_write_that_was_not_sent_goes_to_the_next_endpoint(
    make: Callable[..., Engine],
    clock: Clock,
    method: Method[Message, Message],
    request_: Message,
) -> None:
    network = Network(REFUSED, b"")
    play(make().call(method, request_), network, clock)
    assert [step.endpoint for step in network.sent] == ["a", "b"]


@pytest.mark.parametrize(("method", "request_"), READS)
@pytest.mark.parametrize("failure", [LOST, REFUSED, SILENT])
def test_what_can_be_repeated_is_until_the_deadline(
    make: Callable[..., Engine],
    clock: Clock,
    method: Method[Message, Message],
    request_: Message,
    failure: CallError,
) -> None:
    network = Network(failure, failure, failure, b"")
    play(make().call(method, request_), network, clock)
    assert [step.endpoint for step in network.sent] == list("abab")
    start = clock.now
    network = Network(failure)
    with pytest.raises(errors.Unavailable) as raised:
        play(make().call(method, request_, 3.0), network, clock)
    assert 2.0 < clock.now - start <= 3.0
    assert not raised.value.maybe_applied


def test_the_reason_is_what_failed_not_that_time_is_over(
    make: Callable[..., Engine], clock: Clock
) -> None:
    network = Network(REFUSED, REFUSED, CallError(Code.DEADLINE_EXCEEDED, "late", sent=False))
    with pytest.raises(errors.Unavailable, match="nobody there") as raised:
        play(make().call(methods.PUT, rpc.PutRequest(key=b"k"), 1.0), network, clock)
    assert not isinstance(raised.value, errors.DeadlineExceeded)


def test_one_silent_endpoint_does_not_cost_all_the_time(
    make: Callable[..., Engine], clock: Clock
) -> None:
    network = Network(b"")
    play(make().call(methods.RANGE, rpc.RangeRequest(key=b"k"), 10.0), network, clock)
    play(make().call(methods.PUT, rpc.PutRequest(key=b"k"), 10.0), network, clock)
    play(make("a").call(methods.RANGE, rpc.RangeRequest(key=b"k"), 10.0), network, clock)
    left = [step.deadline - clock.now for step in network.sent]
    assert left == [5.0, 10.0, 10.0]


def test_answers_of_the_server_are_not_argued_with(
    make: Callable[..., Engine], clock: Clock
) -> None:
    network = Network(CallError(Code.OUT_OF_RANGE, errors.Compacted.text))
    with pytest.raises(errors.Compacted):
        play(make().call(methods.RANGE, rpc.RangeRequest(key=b"k")), network, clock)
    assert len(network.sent) == 1


@pytest.mark.parametrize(("endpoints", "attempts"), [("a", 1), ("ab", 2)])
def test_another_member_may_not_be_a_learner(
    make: Callable[..., Engine], clock: Clock, endpoints: str, attempts: int
) -> None:
    learner = CallError(Code.UNAVAILABLE, errors.NotSupportedForLearner.text)
    network = Network(learner, b"")
    try:
        play(make(endpoints).call(methods.PUT, rpc.PutRequest(key=b"k")), network, clock)
    except errors.NotSupportedForLearner:
        assert attempts == 1
    assert len(network.sent) == attempts


def test_an_endpoint_that_was_named_is_the_only_one_asked(
    make: Callable[..., Engine], clock: Clock
) -> None:
    network = Network(REFUSED, REFUSED, b"")
    play(make().call(methods.STATUS, rpc.StatusRequest(), endpoint="b"), network, clock)
    assert {step.endpoint for step in network.sent} == {"b"}


def _token(name: str) -> bytes:
    return rpc.AuthenticateResponse(token=name).SerializeToString()


def test_logins_happen_once_and_again_when_they_are_stale(
    make: Callable[..., Engine], clock: Clock
) -> None:
    engine = make(login=("user", "password"))
    network = Network(_token("one"), b"", b"", STALE, _token("two"), b"")
    for _ in range(3):
        play(engine.call(methods.PUT, rpc.PutRequest(key=b"k")), network, clock)
    paths = [step.path.rpartition("/")[2] for step in network.sent]
    assert paths == ["Authenticate", "Put", "Put", "Put", "Authenticate", "Put"]
    assert network.sent[1].metadata == (("token", "one"),)
    assert network.sent[-1].metadata == (("token", "two"),)


def test_one_login_serves_all_that_wait(make: Callable[..., Engine], clock: Clock) -> None:
    engine = make(login=("user", "password"))
    first = engine.call(methods.PUT, rpc.PutRequest(key=b"k"))
    second = engine.call(methods.PUT, rpc.PutRequest(key=b"k"))
    login = next(first)
    assert isinstance(login, Send)
    assert isinstance(next(second), Pause)
    put = first.send(_token("one"))
    assert isinstance(put, Send)
    network = Network(b"")
    play_on(second, network, clock)
    assert [step.metadata for step in network.sent] == [put.metadata]


def test_a_login_that_does_not_help_is_not_repeated(
    make: Callable[..., Engine], clock: Clock
) -> None:
    network = Network(_token("one"), STALE, _token("two"), STALE)
    engine = make(login=("user", "password"))
    with pytest.raises(errors.InvalidAuthToken):
        play(engine.call(methods.PUT, rpc.PutRequest(key=b"k")), network, clock)
    assert len(network.sent) == 4


def test_without_auth_there_is_no_token(make: Callable[..., Engine], clock: Clock) -> None:
    off = CallError(Code.FAILED_PRECONDITION, errors.AuthNotEnabled.text)
    network = Network(off, b"")
    play(make(login=("u", "p")).call(methods.PUT, rpc.PutRequest(key=b"k")), network, clock)
    assert network.sent[1].metadata == ()


def test_wrong_passwords_are_told(make: Callable[..., Engine], clock: Clock) -> None:
    network = Network(CallError(Code.INVALID_ARGUMENT, errors.AuthFailed.text))
    engine = make(login=("user", "wrong"))
    with pytest.raises(errors.AuthFailed):
        play(engine.call(methods.PUT, rpc.PutRequest(key=b"k")), network, clock)


def test_members_are_learnt_now_and_then(make: Callable[..., Engine], clock: Clock) -> None:
    members = rpc.MemberListResponse(
        members=[
            rpc.Member(clientURLs=["http://x:1"]),
            rpc.Member(clientURLs=["http://y:1"]),
            rpc.Member(clientURLs=["http://learner:1"], isLearner=True),
        ]
    )
    engine = make("a", sync_interval=30.0)
    network = Network(members.SerializeToString(), b"")
    play(engine.call(methods.PUT, rpc.PutRequest(key=b"k")), network, clock)
    assert engine.pool.endpoints == ["http://x:1", "http://y:1"]
    play(engine.call(methods.PUT, rpc.PutRequest(key=b"k")), network, clock)
    assert len(network.sent) == 3
    clock.now += 31
    network.answers = [LOST]
    with pytest.raises(errors.Unavailable):
        play(engine.call(methods.PUT, rpc.PutRequest(key=b"k"), 1.0), network, clock)
    assert engine.pool.endpoints == ["http://x:1", "http://y:1"]


def test_a_lease_that_a_lost_attempt_revoked_is_revoked(
    make: Callable[..., Engine], clock: Clock
) -> None:
    gone = CallError(Code.NOT_FOUND, errors.LeaseNotFound.text)
    for failure in (LOST, SILENT):
        network = Network(failure, gone)
        play(leases.revoke(make(), 7, None), network, clock)
        assert len(network.sent) == 2
    for answers in ([gone], [REFUSED, gone]):
        with pytest.raises(errors.LeaseNotFound):
            play(leases.revoke(make(), 7, None), Network(*answers), clock)
