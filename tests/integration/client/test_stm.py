"""Transactional memory: what each level of isolation lets happen, and what it keeps from happening.

A script is what the function given to `stm` does, as a generator that yields the calls, so that one
script serves both clients. What others do in the middle of a run is done by a client of their own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, get_args

import pytest

from pykvd.client import STM, Client, put
from pykvd.client.recipes.stm import Isolation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness import Server
    from tests.integration.client.blocked import Making

Script = Callable[[], Generator[tuple[Any, ...], Any, Any]]
LEVELS: tuple[Isolation, ...] = get_args(Isolation)
SNAPSHOTS = LEVELS[:2]


@pytest.fixture
def other(server: Server) -> Iterator[Client]:
    """Somebody who interferes."""
    with Client(server.endpoint) as client:
        yield client


class Runs:
    """Runs scripts with the client under test, and counts the runs."""

    def __init__(self, client: Client, kind: str) -> None:
        self._client = client
        self._kind = kind
        self.count = 0

    def __call__(self, script: Script, **options: Any) -> Any:
        self.count = 0
        function: Any = self._async(script) if self._kind == "async" else self._plain(script)
        return self._client.stm(function, **options)

    def _begin(self, script: Script) -> Generator[tuple[Any, ...], Any, Any]:
        self.count += 1
        return script()

    def _plain(self, script: Script) -> Callable[[Any], Any]:
        def function(stm: Any) -> Any:
            steps, answer = self._begin(script), None
            while True:
                try:
                    name, *arguments = steps.send(answer)
                except StopIteration as done:
                    return done.value
                answer = getattr(stm, name)(*arguments)

        return function

    def _async(self, script: Script) -> Callable[[Any], Any]:
        async def function(stm: Any) -> Any:
            steps, answer = self._begin(script), None
            while True:
                try:
                    name, *arguments = steps.send(answer)
                except StopIteration as done:
                    return done.value
                answer = getattr(stm, name)(*arguments)
                if inspect.isawaitable(answer):
                    answer = await answer

        return function


@pytest.fixture
def runs(client: Client, make: Making) -> Runs:
    return Runs(client, make.kind)


def number(client: Client, key: str) -> int:
    found = client.get(key)
    assert found is not None
    return int(found.value)


@pytest.mark.parametrize("level", LEVELS)
def test_updates_are_lost_only_if_reads_are_not_checked(
    runs: Runs, other: Client, name: str, level: Isolation
) -> None:
    other.put(name, "0")

    def increment() -> Generator[tuple[Any, ...], Any, None]:
        before = yield "get", name
        if runs.count == 1:
            other.put(name, "10")
        yield "put", name, str(int(before) + 1)

    runs(increment, isolation=level)
    lost = level == "read_committed"
    assert (number(other, name), runs.count) == ((1, 1) if lost else (11, 2))


@pytest.mark.parametrize("level", LEVELS)
def test_a_run_sees_one_revision_only_in_a_snapshot(
    runs: Runs, other: Client, name: str, level: Isolation
) -> None:
    def both(text: str) -> None:
        assert other.txn().then(put(name + "a", text), put(name + "b", text)).commit()

    both("old")
    seen = []

    def read() -> Generator[tuple[Any, ...], Any, tuple[bytes, bytes]]:
        a = yield "get", name + "a"
        if runs.count == 1:
            both("new")
        b = yield "get", name + "b"
        assert (yield "get", name + "a") == a  # a key that was read stays the same
        seen.append((a, b))
        return a, b

    result = runs(read, isolation=level)
    first = (b"old", b"old" if level in SNAPSHOTS else b"new")
    assert seen[0] == first
    # Only without checks does a run end with what never was there at one time.
    assert result == (first if level == "read_committed" else (b"new", b"new"))


@pytest.mark.parametrize("level", LEVELS)
def test_write_skew_happens_only_if_reads_are_not_checked(
    runs: Runs, other: Client, name: str, level: Isolation
) -> None:
    """Two doctors are on call; each leaves if the other one stays."""
    for doctor in "ab":
        other.put(name + doctor, "1")

    def b_leaves(stm: STM) -> None:
        if stm.get(name + "a") == stm.get(name + "b") == b"1":
            stm.put(name + "b", "0")

    def leave() -> Generator[tuple[Any, ...], Any, None]:
        mine = yield "get", name + "a"
        theirs = yield "get", name + "b"
        if runs.count == 1:
            other.stm(b_leaves, isolation=level)
        if mine == theirs == b"1":
            yield "put", name + "a", "0"

    runs(leave, isolation=level)
    still = number(other, name + "a") + number(other, name + "b")
    assert still == (0 if level == "read_committed" else 1)


@pytest.mark.parametrize("level", LEVELS)
def test_writes_conflict_only_in_a_serializable_snapshot(
    runs: Runs, other: Client, name: str, level: Isolation
) -> None:
    other.put(name + "read", "")

    def overwrite() -> Generator[tuple[Any, ...], Any, None]:
        yield "get", name + "read"
        if runs.count == 1:
            other.put(name + "written", "5")
        yield "put", name + "written", "6"

    runs(overwrite, isolation=level)
    assert runs.count == (2 if level == "serializable_snapshot" else 1)
    assert number(other, name + "written") == 6


@pytest.mark.parametrize("level", LEVELS)
def test_a_key_that_is_made_or_deleted_meanwhile(
    runs: Runs, other: Client, name: str, level: Isolation
) -> None:
    other.put(name + "there", "")

    def look() -> Generator[tuple[Any, ...], Any, tuple[bool, bool]]:
        there = (yield "revision", name + "there") > 0
        missing = (yield "get", name + "missing") is None
        if runs.count == 1:
            other.delete(name + "there")
            other.put(name + "missing", "")
        return there, missing

    result = runs(look, isolation=level)
    assert result == ((True, True) if level == "read_committed" else (False, False))


@pytest.mark.parametrize("level", LEVELS)
def test_prefetched_keys_are_read_before_the_function_runs(
    runs: Runs, other: Client, name: str, level: Isolation
) -> None:
    keys = [name + letter for letter in "abc"]
    for key in keys[:2]:
        other.put(key, "old")

    def read() -> Generator[tuple[Any, ...], Any, list[Any]]:
        if runs.count == 1:
            for key in keys:
                other.put(key, "new")
        return [(yield "get", keys[0]), (yield "get", keys[1]), (yield "get", keys[2])]

    values = runs(read, isolation=level, prefetch=keys)
    unchecked = level == "read_committed"
    assert values == ([b"old", b"old", None] if unchecked else [b"new"] * 3)
    assert runs.count == (1 if unchecked else 2)


def test_a_function_that_fails_writes_nothing(runs: Runs, other: Client, name: str) -> None:
    def fail() -> Generator[tuple[Any, ...], Any, None]:
        yield "put", name, "1"
        yield "delete", name + "other"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        runs(fail)
    assert other.get(name) is None


def test_what_a_run_wrote_it_reads(runs: Runs, other: Client, name: str) -> None:
    other.put(name, "stored")

    def rewrite() -> Generator[tuple[Any, ...], Any, None]:
        yield "put", name, "mine"
        assert (yield "get", name) == b"mine"
        yield "delete", name
        assert (yield "get", name) is None
        yield "put", name, "at last"

    runs(rewrite)
    found = other.get(name)
    assert found is not None
    assert (found.value, found.version) == (b"at last", 2)


def test_wrong_arguments(runs: Runs, name: str) -> None:
    def nothing() -> Generator[tuple[Any, ...], Any, None]:
        yield "get", name

    with pytest.raises(ValueError, match="isolation: 'none' is not one of serializable_snapshot"):
        runs(nothing, isolation="none")
    with pytest.raises(TypeError, match="prefetch: expected several"):
        runs(nothing, prefetch="key")
    with pytest.raises(ValueError, match="prefetch: must not be empty"):
        runs(nothing, prefetch=[""])
    assert runs.count == 0


def test_transactional_memory(make: Making, server: Server, name: str) -> None:
    """Money moves between accounts; none is made and none is lost."""
    client = make(server.endpoint)
    accounts = [f"{name}{index}" for index in range(3)]
    for account in accounts:
        client.put(account, "100")

    def move(source: str, target: str) -> None:
        if make.kind == "async":
            client.stm(_move_async(source, target))
        else:
            client.stm(_move(source, target))

    with ThreadPoolExecutor(4) as pool:
        moves = [
            pool.submit(move, accounts[index % 3], accounts[(index + 1) % 3]) for index in range(20)
        ]
        for done in moves:
            done.result(60)
    balances = [int(kv.value) for kv in client.range(name, prefix=True)]
    assert sum(balances) == 300
    assert balances == [99, 100, 101]


def _move(source: str, target: str):  # type: ignore[no-untyped-def]
    def run(stm):  # type: ignore[no-untyped-def]
        stm.put(source, str(int(stm.get(source)) - 1))
        stm.put(target, str(int(stm.get(target)) + 1))
        assert stm.get(source) is not None
        assert stm.revision(source) > 0

    return run


def _move_async(source: str, target: str):  # type: ignore[no-untyped-def]
    async def run(stm):  # type: ignore[no-untyped-def]
        stm.put(source, str(int(await stm.get(source)) - 1))
        stm.put(target, str(int(await stm.get(target)) + 1))
        assert await stm.get(source) is not None

    return run
