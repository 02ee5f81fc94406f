"""Hashing off the loop: what is remembered, what is bounded, what takes its time."""

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator

import bcrypt
import pytest

from pykvd.api.passwords import QUEUE_MAX, REMEMBERED, REMEMBERED_FOR, Passwords, nobody
from pykvd.errors import RpcError

COST = 4


class Clock:
    """Seconds that pass when the test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def passwords(clock: Clock) -> AsyncIterator[Passwords]:
    made = Passwords(COST, clock=clock)
    yield made
    made.stop()


async def stored(passwords: Passwords, password: str) -> bytes:
    return base64.b64decode(await passwords.hash(password))


async def test_right_and_wrong(passwords: Passwords) -> None:
    hashed = await stored(passwords, "secret")
    assert await passwords.check("u", "secret", hashed, 1)
    assert not await passwords.check("u", "Secret", hashed, 1)
    assert not await passwords.check("u", "", hashed, 1)
    assert await passwords.check("e", "", await stored(passwords, ""), 1)


async def test_hashes_are_salted_and_of_the_asked_cost(passwords: Passwords) -> None:
    one, other = await stored(passwords, "p"), await stored(passwords, "p")
    assert one != other
    assert one.startswith(b"$2b$04$")


@pytest.mark.parametrize("cost", [0, 3, 32])
async def test_a_cost_that_is_none(cost: int) -> None:
    passwords = Passwords(cost, clock=Clock())
    assert (await stored(passwords, "p")).startswith(b"$2b$10$")
    passwords.stop()


async def test_a_right_password_is_hashed_once(passwords: Passwords, clock: Clock) -> None:
    hashed = await stored(passwords, "secret")
    for _ in range(5):
        assert await passwords.check("u", "secret", hashed, 1)
    assert passwords.computed == 2, "one to make the hash, one to check it"
    clock.now += REMEMBERED_FOR + 1
    assert await passwords.check("u", "secret", hashed, 1)
    assert passwords.computed == 3


async def test_logins_at_the_same_time_share_one_hash(passwords: Passwords) -> None:
    hashed = await stored(passwords, "secret")
    checks = [passwords.check("u", "secret", hashed, 1) for _ in range(200)]
    assert all(await asyncio.gather(*checks))
    assert passwords.computed - 1 <= max(1, (os.cpu_count() or 1) // 2)


async def test_a_new_auth_revision_forgets(passwords: Passwords) -> None:
    hashed = await stored(passwords, "secret")
    assert await passwords.check("u", "secret", hashed, 1)
    changed = await stored(passwords, "other")
    assert not await passwords.check("u", "secret", changed, 2)


async def test_wrong_passwords_are_never_remembered(passwords: Passwords) -> None:
    hashed = await stored(passwords, "secret")
    assert await passwords.check("u", "secret", hashed, 1)
    for _ in range(3):
        assert not await passwords.check("u", "wrong", hashed, 1)
    assert passwords.computed == 5


async def test_memory_is_bounded_and_holds_no_password(passwords: Passwords) -> None:
    hashed = await stored(passwords, "topsecret")
    for number in range(REMEMBERED + 5):
        assert await passwords.check(f"u{number}", "topsecret", hashed, 1)
    assert len(passwords._right) == REMEMBERED
    assert "topsecret" not in repr(vars(passwords))
    digests = {right.digest for right in passwords._right.values()}
    assert len(digests) == REMEMBERED, "each entry has its own salt"


async def test_an_unknown_user_costs_a_hash(passwords: Passwords) -> None:
    assert not await passwords.check("nobody", "p", None, 1)
    assert passwords.computed == 1


@pytest.mark.parametrize("bad", [b"", b"junk", b"$2b$04$short", b"\xff"])
async def test_a_stored_hash_that_is_none(passwords: Passwords, bad: bytes) -> None:
    assert not await passwords.check("u", "p", bad, 1)
    assert passwords.computed == 1


@pytest.mark.parametrize("cost", [4, 9, 10, 12])
def test_nobodys_hash_is_as_slow_as_any(cost: int) -> None:
    """bcrypt takes the cost from the hash; one that it cannot read would take no time."""
    assert bcrypt.hashpw(b"p", nobody(cost))[:29] == nobody(cost)[:29]


async def test_an_unknown_user_takes_as_long_as_a_wrong_password() -> None:
    """In processor time, which does not depend on what else the machine does."""
    passwords = Passwords(9, clock=Clock())
    hashed = await stored(passwords, "secret")

    async def cost(stored_hash: bytes | None) -> float:
        before = time.process_time()
        assert not await passwords.check("u", "wrong", stored_hash, 1)
        return time.process_time() - before

    wrong = await cost(hashed)
    for other in (None, b"", b"junk"):
        assert wrong / 3 < await cost(other) < wrong * 3
    passwords.stop()


async def test_too_long_a_password(passwords: Passwords) -> None:
    hashed = await stored(passwords, "x" * 72)
    with pytest.raises(RpcError, match="bcrypt: password length exceeds 72 bytes"):
        await passwords.hash("x" * 73)
    assert await passwords.check("u", "x" * 72, hashed, 1)
    assert not await passwords.check("u", "x" * 73, hashed, 1), "a cut password is not the same"


async def test_the_queue_is_bounded(passwords: Passwords) -> None:
    hashed = await stored(passwords, "secret")
    checks = [passwords.check(f"u{n}", "wrong", hashed, 1) for n in range(QUEUE_MAX + 5)]
    results = await asyncio.gather(*checks, return_exceptions=True)
    refused = [each for each in results if isinstance(each, RpcError)]
    assert len(refused) == 5
    assert {each.message for each in refused} == {"etcdserver: too many requests"}


async def test_nothing_is_computed_for_those_who_left(passwords: Passwords) -> None:
    hashed = await stored(passwords, "secret")
    assert not await passwords.check("u", "secret", hashed, 1, gone=lambda: True)
    assert passwords.computed == 1, "to make the hash"


async def test_after_the_stop(passwords: Passwords) -> None:
    passwords.stop()
    with pytest.raises(RpcError, match="server stopped"):
        await passwords.hash("p")


async def test_the_loop_goes_on_meanwhile() -> None:
    passwords = Passwords(9, clock=Clock())
    turns = 0
    task = asyncio.get_running_loop().create_task(passwords.hash("p"))
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    passwords.stop()
    assert turns > 5
