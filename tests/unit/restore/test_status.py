"""What a snapshot file tells of itself, and which files are refused."""

from pathlib import Path

import google_crc32c
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pykvd.mvcc.environment import Environment
from pykvd.mvcc.hash import hash_all
from pykvd.restore import RestoreError, Target, restore, snapshot_status
from tests.unit.restore.conftest import RECORDS, REVISION, Old, make_snapshot

SHARED_FOLDER = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_status(old: Old) -> None:
    status = snapshot_status(old.file)
    assert (status.revision, status.total_keys) == (REVISION, 2)
    assert status.total_size == len(old.data) == old.file.stat().st_size - 32


def test_hash_is_that_of_the_maintenance_service(old: Old) -> None:
    environment = Environment(old.file.parent / "member" / "db" / "1", sync=False)
    try:
        expected = hash_all(environment)
    finally:
        environment.close()
    assert snapshot_status(old.file).hash == expected != google_crc32c.value(old.data)


def test_status_changes_nothing(old: Old) -> None:
    before = sorted(old.file.parent.iterdir()), old.file.read_bytes()
    snapshot_status(old.file)
    assert (sorted(old.file.parent.iterdir()), old.file.read_bytes()) == before


def test_a_bare_data_file_will_do(old: Old, tmp_path: Path) -> None:
    bare = tmp_path / "data.mdb"
    bare.write_bytes(old.data)
    assert snapshot_status(bare) == snapshot_status(old.file)


def test_an_empty_store_is_at_revision_1(tmp_path: Path) -> None:
    status = snapshot_status(make_snapshot(tmp_path, []).file)
    assert (status.revision, status.total_keys) == (1, 0)


def test_a_key_that_came_back_counts_once(tmp_path: Path) -> None:
    again = [(record_id + (10 << 32), framed) for record_id, framed in RECORDS[:3]]
    status = snapshot_status(make_snapshot(tmp_path, RECORDS + again).file)
    assert (status.revision, status.total_keys) == (14, 3)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\0" * 8192, b"\0" * 8224])
def test_what_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.db").write_bytes(content)
    with pytest.raises(RestoreError, match=r"invalid database|integrity check failed"):
        snapshot_status(tmp_path / "bad.db")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match=r"^stat .*nosuch.db: no such file or directory$"):
        snapshot_status(tmp_path / "nosuch.db")


@SHARED_FOLDER
@given(st.data())
def test_every_altered_byte_is_noticed(old: Old, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(old.file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    altered = tmp_path / "altered.db"
    altered.write_bytes(content)
    with pytest.raises(RestoreError, match=r"expected sha256 \[[\d ]+\], got \[[\d ]+\]$"):
        snapshot_status(altered)
    with pytest.raises(RestoreError, match=r"^expected sha256 \[[\d ]+\], got \[[\d ]+\]$"):
        restore(altered, Target(data_dir=tmp_path / "new"))
    assert not (tmp_path / "new").exists()


@SHARED_FOLDER
@given(st.data())
def test_every_truncation_is_noticed(old: Old, tmp_path: Path, data: st.DataObject) -> None:
    # Cuts at page boundaries, which look most like a store, are as likely as all others.
    pages = st.integers(0, len(old.data) // 4096 - 1).map(lambda n: n * 4096)
    length = data.draw(pages | pages.map(lambda n: n + 32) | st.integers(0, len(old.data) - 1))
    cut = tmp_path / "cut.db"
    cut.write_bytes(old.file.read_bytes()[:length])
    with pytest.raises(RestoreError):
        snapshot_status(cut)
    for skip in (False, True):
        with pytest.raises(RestoreError):
            restore(cut, Target(data_dir=tmp_path / "new"), skip_hash_check=skip)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.db"]
    cut.unlink()
