"""Which environment is opened, and what happens to leftovers of interrupted switches."""

import random
import shutil
from pathlib import Path

import lmdb
import pytest

from pykvd.mvcc.environment import Environment


def write_one(environment: Environment, number: int) -> None:
    environment.write([(number, b"value %d" % number)], [], {("meta", b"mark"): b"%d" % number})


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_the_first_environment_has_sequence_1(tmp_path: Path) -> None:
    environment = Environment.open_latest(tmp_path / "deep" / "db")
    environment.close()
    assert names(tmp_path / "deep" / "db") == {"1"}


def test_opening_again_finds_what_was_written(tmp_path: Path) -> None:
    for number in range(1, 4):
        environment = Environment.open_latest(tmp_path)
        write_one(environment, number)
        environment.close()
    environment = Environment.open_latest(tmp_path)
    assert [number for number, _ in environment.scan(0, 100)] == [1, 2, 3]
    assert environment.table("meta") == [(b"mark", b"3")]
    environment.close()


def test_an_unfinished_copy_is_removed(tmp_path: Path) -> None:
    environment = Environment.open_latest(tmp_path)
    write_one(environment, 5)
    environment.copy_to(tmp_path / "2.tmp")
    write_one(environment, 6)
    environment.close()
    environment = Environment.open_latest(tmp_path)
    assert environment.get(6) == b"value 6"
    environment.close()
    assert names(tmp_path) == {"1"}


def test_the_highest_sequence_wins_and_the_others_are_removed(tmp_path: Path) -> None:
    environment = Environment.open_latest(tmp_path)
    write_one(environment, 5)
    environment.close()
    # By number, not by name; and the old ones are what a crash before their deletion leaves.
    shutil.copytree(tmp_path / "1", tmp_path / "10")
    (tmp_path / "9").mkdir()
    environment = Environment.open_latest(tmp_path)
    assert environment.path.name == "10"
    assert environment.get(5) == b"value 5"
    environment.close()
    assert names(tmp_path) == {"10"}


def test_a_compacted_successor_is_the_newest_at_once(tmp_path: Path) -> None:
    environment = Environment.open_latest(tmp_path)
    write_one(environment, 5)
    (tmp_path / "2.tmp").mkdir()
    successor = environment.successor(environment.copy_to)
    assert successor.path.name == "2"
    assert names(tmp_path) == {"1", "2"}
    assert successor.get(5) == b"value 5"
    environment.remove()
    write_one(successor, 6)
    successor.close()
    environment = Environment.open_latest(tmp_path)
    assert [number for number, _ in environment.scan(0, 100)] == [5, 6]
    environment.close()
    assert names(tmp_path) == {"2"}


def test_a_copy_loses_free_pages_and_keeps_every_record(tmp_path: Path) -> None:
    environment = Environment.open_latest(tmp_path)
    environment.write([(number, bytes(3000)) for number in range(1, 1001)], [], {})
    environment.write([], range(1, 991), {})
    size, in_use = environment.sizes()
    successor = environment.successor(environment.copy_to)
    new_size, new_in_use = successor.sizes()
    assert in_use < size / 5
    assert new_size < size / 5
    assert new_in_use <= new_size
    assert list(successor.everything()) == list(environment.everything())
    successor.close()
    environment.close()


def test_a_scan_is_bounded_on_both_sides_and_reads_one_moment(tmp_path: Path) -> None:
    environment = Environment.open_latest(tmp_path)
    environment.write([(number, b"x") for number in range(10, 20)], [], {})
    assert [number for number, _ in environment.scan(12, 15)] == [12, 13, 14, 15]
    assert list(environment.scan(20, 30)) == []
    assert list(environment.scan(0, 9)) == []
    environment.close()


def test_removals_and_records_of_one_batch(tmp_path: Path) -> None:
    """A record may be removed by the batch that brings it."""
    environment = Environment.open_latest(tmp_path)
    write_one(environment, 5)
    environment.write([(6, b"a"), (7, b"b")], [6], {})
    assert environment.get_many([7, 6, 5]) == [b"b", None, b"value 5"]
    environment.close()


def test_a_closed_environment_refuses_to_write(tmp_path: Path) -> None:
    environment = Environment.open_latest(tmp_path)
    environment.close()
    with pytest.raises(lmdb.Error):
        write_one(environment, 1)


@pytest.mark.parametrize("seed", range(20))
def test_20271_pages_torn_in_a_commit_that_did_not_end_are_never_met(
    tmp_path: Path, seed: int
) -> None:
    """What a commit writes before its meta page may be lost or torn (etcd-io/etcd names the issue).

    LMDB writes new pages beside the old ones; only the meta page, a sector, makes them count.
    """
    rng = random.Random(seed)
    environment = Environment(tmp_path)
    for number in range(1, 50):
        write_one(environment, number)
    file = tmp_path / "data.mdb"
    before = file.read_bytes()
    state = list(environment.everything())
    environment.write([(number, rng.randbytes(900)) for number in range(50, 60)], [2, 3, 5], {})
    environment.close()
    after = file.read_bytes()

    page = 4096
    torn = bytearray(after)
    torn[: 2 * page] = before[: 2 * page]
    for start in range(2 * page, len(torn), page):
        old, new = before[start : start + page], after[start : start + page]
        if old == new or rng.random() < 0.3:
            continue
        # Any sectors of a page reach the disk, and those of a page that is new hold anything.
        for sector in range(start, start + page, 512):
            if rng.random() < 0.5:
                kept = before[sector : sector + 512]
                torn[sector : sector + 512] = kept.ljust(512, b"\xa5")
    file.write_bytes(torn)
    reopened = Environment(tmp_path)
    assert list(reopened.everything()) == state
    write_one(reopened, 60)
    reopened.close()
