"""Which endpoint is next."""

from hypothesis import given
from hypothesis import strategies as st

from pykvd.client.pool import REST_MAX, REST_MIN, Pool


def test_round_robin() -> None:
    pool = Pool("abc")
    assert [pool.pick(0.0) for _ in range(6)] == list("abcabc")


def test_what_failed_rests_longer_each_time() -> None:
    pool = Pool("ab")
    pool.failed("a", 0.0)
    assert {pool.pick(REST_MIN * 0.9) for _ in range(4)} == {"b"}
    assert {pool.pick(REST_MIN * 1.1) for _ in range(4)} == {"a", "b"}
    pool.failed("a", 1.0)
    assert {pool.pick(1.0 + REST_MIN * 1.1) for _ in range(4)} == {"b"}


def test_an_answer_ends_the_rest() -> None:
    pool = Pool("ab")
    pool.failed("a", 0.0)
    pool.answered("a")
    assert {pool.pick(0.0) for _ in range(4)} == {"a", "b"}


def test_with_all_resting_the_first_to_wake_is_tried() -> None:
    pool = Pool("ab")
    pool.failed("a", 0.0)
    pool.failed("b", 1.0)
    assert pool.pick(1.0) == "a" or pool.pick(1.0) == "a"
    pool.failed("a", 1.0)
    assert pool.pick(1.0) == "b"


def test_replacing_keeps_what_is_known() -> None:
    pool = Pool("ab")
    pool.failed("a", 0.0)
    pool.replace(["a", "c"])
    assert {pool.pick(0.0) for _ in range(4)} == {"c"}
    pool.replace([])
    assert pool.endpoints == ["a", "c"]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["fail", "answer", "pick"]))),
    st.lists(st.floats(0, 10), min_size=1),
)
def test_there_is_always_one_and_nobody_rests_for_ever(
    steps: list[tuple[str, str]], times: list[float]
) -> None:
    pool = Pool("abc")
    now = 0.0
    for index, (endpoint, what) in enumerate(steps):
        now += times[index % len(times)]
        if what == "fail":
            pool.failed(endpoint, now)
        elif what == "answer":
            pool.answered(endpoint)
        else:
            assert pool.pick(now) in "abc"
    later = now + REST_MAX
    assert {pool.pick(later) for _ in range(3)} == set("abc")
