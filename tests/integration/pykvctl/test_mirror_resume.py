"""make-mirror --bookmark: it goes on where it was, and makes each change exactly once."""

import base64
import itertools
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from pykvd.client import Client, EtcdError, delete, put
from tests.harness import PYKVD, Server, kind_from_environment, running, wait_until
from tests.integration.pykvctl.conftest import environment
from tests.integration.pykvctl.runner import run_cli
from tests.integration.pykvctl.test_mirror import Mirror, pairs

WAIT_S = 60.0
BOOKMARK = "mirror/place"
WORDS = ["--prefix=k/", f"--bookmark={BOOKMARK}"]
#: Whether it is a deletion, the key, the value.
Change = tuple[bool, str, str]


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    """The source and the destination."""
    kind = kind_from_environment("PYKVCTL_TEST_SERVER", PYKVD)
    with running(kind) as source, running(kind) as destination:
        yield source, destination


def write(server: Server, *pairs: tuple[str, str]) -> None:
    """Put pairs one after the other."""
    with Client(server.endpoint) as client:
        for key, value in pairs:
            client.put(key, value)


def bookmark(server: Server) -> str:
    """The value of the bookmark."""
    return run_cli(["get", BOOKMARK, "--print-value-only"], environment(server))[0].decode().strip()


def wait_for_changes(server: Server) -> None:
    """Until the bookmark has moved."""
    before = bookmark(server)
    wait_until(lambda: bookmark(server) != before, "some changes", WAIT_S)


def wait_for_pair(server: Server, key: str, value: str) -> None:
    """Until the server holds it."""
    wait_until(lambda: pairs(server).get(key) == value, f"{key} {value}", WAIT_S)


def history(server: Server, last: str) -> list[list[Change]]:
    """What was changed below `k/` until the key `last` was put, a list for each revision."""
    end = base64.b64encode(last.encode())
    words = ["watch", "--prefix", "k/", "--rev=1", "-w", "json"]
    out, _, _ = run_cli(words, environment(server), enough=lambda out: end in out)
    events = [event for line in out.splitlines() for event in json.loads(line)["Events"]]
    groups = itertools.groupby(events, key=lambda event: event["kv"]["mod_revision"])
    return [[change(event) for event in group] for _, group in groups]


def change(event: dict[str, object]) -> Change:
    pair = event["kv"]
    assert isinstance(pair, dict)
    key, value = (base64.b64decode(pair.get(name, "")).decode() for name in ("key", "value"))
    return "type" in event, key, value


@contextmanager
def heavy_writes(server: Server) -> Iterator[None]:
    """Puts, deletions of prefixes and transactions without end, in a thread."""
    stopped = threading.Event()

    def work() -> None:
        numbers = random.Random(1)
        with Client(server.endpoint) as client:
            while not stopped.is_set():
                # What becomes of a write while the server is down does not matter.
                with suppress(EtcdError):
                    _write_something(client, numbers)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _write_something(client: Client, numbers: random.Random) -> None:
    keys = [f"k/{numbers.randrange(20)}/{numbers.randrange(20)}" for _ in range(8)]
    value = str(numbers.random())
    kind = numbers.randrange(10)
    if kind == 0:
        client.delete(f"k/{numbers.randrange(10)}", prefix=True)
    elif kind < 4:
        gone, *others = dict.fromkeys(keys)
        client.txn().then(delete(gone), *(put(key, value) for key in others)).commit()
    else:
        client.put(keys[0], value)


def test_every_change_is_made_once(servers: tuple[Server, Server]) -> None:
    """Whatever is killed in the middle of heavy writes: the same changes, together and in order."""
    source, destination = servers
    # From the beginning, so that the histories can be compared.
    words = [*WORDS, "--rev=2", "--max-txn-ops=6", destination.endpoint]
    mirror = Mirror(source, words)
    try:
        with heavy_writes(source):
            for round_ in range(8):
                wait_for_changes(destination)
                mirror.process.kill()
                mirror.process.communicate()
                if round_ == 2:
                    destination.kill()
                    destination.start()
                mirror = Mirror(source, words)
                if round_ == 4:
                    source.kill()
                    source.start()
                if round_ == 6:
                    destination.kill()
                    destination.start()
        write(source, ("k/last", ""))
        wait_until(lambda: "k/last" in pairs(destination), "the last change", WAIT_S)
    finally:
        mirror.process.kill()
        mirror.process.communicate()
    wanted = history(source, "k/last")
    assert any(len(group) > 6 for group in wanted)
    # The bookmark takes one of the six operations.
    split = [group[at : at + 5] for group in wanted for at in range(0, len(group), 5)]
    assert history(destination, "k/last") == split


def test_nothing_is_copied_again(servers: tuple[Server, Server]) -> None:
    """Neither by a mirror that was stopped after the copy nor by the one after it."""
    source, destination = servers
    words = [*WORDS, destination.endpoint]
    write(source, ("k/a", "1"), ("k/b", "1"))
    for value in ("1", "2", "3"):
        with Mirror(source, words) as mirror:
            write(source, ("k/b", value))
            wait_for_pair(destination, "k/b", value)
            assert mirror.interrupt().stderr == []
        assert ("k/a" in pairs(destination)) == (value == "1")
        with Client(destination.endpoint) as client:
            client.delete("k/a")


def test_changes_of_other_keys_move_the_bookmark() -> None:
    """So that a compaction does not overtake the mirror of keys that seldom change."""
    kind = kind_from_environment("PYKVCTL_TEST_SERVER", PYKVD)
    often = ["--experimental-watch-progress-notify-interval=100ms"]
    with running(kind, often) as source, running(kind) as destination:
        words = [*WORDS, destination.endpoint]
        with Mirror(source, words):
            wait_until(lambda: bookmark(destination) == "2 0", "the copy", WAIT_S)
            write(source, ("other", "1"), ("other", "2"))
            wait_until(lambda: bookmark(destination) == "4 0", "progress", WAIT_S)
        write(source, ("other", "3"), ("k/a", "1"))
        assert run_cli(["compact", "4"], environment(source))[2] == 0
        with Mirror(source, words):
            wait_until(lambda: "k/a" in pairs(destination), "a change", WAIT_S)


def test_a_compaction_while_it_was_away_ends_it(servers: tuple[Server, Server]) -> None:
    source, destination = servers
    words = ["make-mirror", *WORDS, destination.endpoint]
    write(destination, (BOOKMARK, "2 0"))
    write(source, ("k/a", "1"), ("k/a", "2"))
    assert run_cli(["compact", "3"], environment(source))[2] == 0
    error = b"Error: etcdserver: mvcc: required revision has been compacted\n"
    assert run_cli(words, environment(source)) == (b"", error, 1)


def test_a_bookmark_that_is_not_its_own(servers: tuple[Server, Server]) -> None:
    """Another value, or one that another mirror moves: it writes nothing more."""
    source, destination = servers
    words = ["make-mirror", *WORDS, destination.endpoint]
    write(destination, (BOOKMARK, "somewhere"))
    error = f'Error: "{BOOKMARK}" is no bookmark of make-mirror\n'.encode()
    assert run_cli(words, environment(source)) == (b"", error, 1)
    write(destination, (BOOKMARK, "2 0"))
    with Mirror(source, words[1:]) as mirror:
        write(source, ("k/a", "1"))
        wait_until(lambda: bookmark(destination) == "3 0", "a change", WAIT_S)
        write(destination, (BOOKMARK, "9 0"))
        write(source, ("k/a", "2"))
        out, err = mirror.process.communicate(timeout=WAIT_S)
        moved = f'Error: the bookmark "{BOOKMARK}" was moved by somebody else\n'.encode()
        assert (out, err, mirror.process.returncode) == (b"", moved, 1)
    assert pairs(destination) == {"k/a": "1", BOOKMARK: "9 0"}
