"""Simple tokens: their life, and everything that is none."""

import random
import string

from hypothesis import example, given
from hypothesis import strategies as st

from pykvd.auth.identity import Identity
from pykvd.auth.tokens import (
    MAX_PER_USER,
    SWEEP_FROM,
    NoTokens,
    SimpleTokens,
    index_of,
    make_prefix,
)

TTL = 10


class Clock:
    """Seconds that pass when the test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def tokens() -> tuple[SimpleTokens, Clock]:
    clock = Clock()
    return SimpleTokens(TTL, clock), clock


def test_a_token_says_who_at_the_present_revision() -> None:
    store, _ = tokens()
    token = store.assign("u", "prefix", 7)
    assert token == "prefix.7"
    assert store.find(token, 3) == Identity("u", 3)
    assert store.find(token, 4) == Identity("u", 4)


def test_use_renews_a_token() -> None:
    store, clock = tokens()
    token = store.assign("u", "prefix", 7)
    for _ in range(3):
        clock.now += TTL - 1
        assert store.find(token, 1)
    clock.now += TTL + 1
    assert store.find(token, 1) is None
    clock.now -= TTL
    assert store.find(token, 1) is None, "an expired token does not come back"


def test_no_ttl_means_the_default() -> None:
    clock = Clock()
    store = SimpleTokens(0, clock)
    token = store.assign("u", "prefix", 7)
    clock.now += 299
    assert store.find(token, 1)


def test_forgetting() -> None:
    store, _ = tokens()
    one, other = store.assign("u", "one", 1), store.assign("v", "other", 2)
    store.find(one, 5)
    store.forget_user("u")
    assert store.find(one, 5) is None
    assert store.find(other, 5)
    store.forget_all()
    assert store.find(other, 5) is None


def test_logins_without_end_cost_only_the_users_own_unused_tokens() -> None:
    store, _ = tokens()
    other = store.assign("v", "other", 1)
    kept = [store.assign("u", "kept", number) for number in range(9)]
    first = store.assign("u", "unused", 0)
    for number in range(2 * MAX_PER_USER):
        store.assign("u", "flood", number)
        assert store.find(kept[number % 9], 1)
    assert store.find(other, 1)
    assert store.find(first, 1) is None
    found = [store.find(f"flood.{number}", 1) for number in range(2 * MAX_PER_USER)]
    assert sum(each is not None for each in found) == MAX_PER_USER - len(kept)
    store.forget_user("u")
    assert store.find(kept[0], 1) is None
    assert store.assign("u", "again", 1)


def test_expired_tokens_do_not_pile_up() -> None:
    store, clock = tokens()
    for number in range(10 * SWEEP_FROM):
        store.assign("u", f"p{number}", number)
        clock.now += 2 * TTL / SWEEP_FROM
    assert len(store._entries) <= 2 * SWEEP_FROM


def test_what_has_to_be_waited_for() -> None:
    store, _ = tokens()
    known = store.assign("u", "prefix", 900)
    assert store.awaits(known) == 0
    assert store.awaits("another.900") == 900
    for malformed in ("", ".", "900", "a.", "a.b", "a.1.2", "a.-1", "a.+1", "a.1_0", "a.٣", "a.²"):
        assert store.awaits(malformed) == 0, malformed


@given(st.text())
@example("a." + "9" * 5000)
@example("a.18446744073709551615")
def test_any_text_is_judged(text: str) -> None:
    store, _ = tokens()
    store.assign("u", "prefix", 7)
    assert (store.find(text, 1) is not None) == (text == "prefix.7")
    assert 0 <= index_of(text) < 10**20


def test_prefixes_are_letters() -> None:
    prefix = make_prefix(random.Random(1).choice)
    assert len(prefix) == 16
    assert set(prefix) <= set(string.ascii_letters)


def test_no_tokens_at_all() -> None:
    store = NoTokens()
    assert store.assign("u", "prefix", 7) == ""
    assert store.find("prefix.7", 1) is None
    assert store.awaits("prefix.7") == 0
