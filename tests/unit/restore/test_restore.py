"""A snapshot becomes a member of a new cluster: what is kept, what is new, what is refused."""

import re
from pathlib import Path

import pytest

from pykvd.mvcc.environment import Environment
from pykvd.mvcc.errors import CompactedError
from pykvd.node.storage import FOUNDATION, Founding, Storage, open_storage
from pykvd.pb.rpc_pb2 import RangeRequest
from pykvd.raft import ConfState
from pykvd.restore import RestoreError, Target, UsageError, restore, snapshot_status
from pykvd.wal import Wal
from tests.unit.restore.conftest import ALARM_ENTRY, LEASE_ENTRY, RECORDS, REVISION, Old

THREE = "m1=http://h1:2380,m2=http://h2:2380,m3=http://h3:2380"
#: As etcd computes them for these URLs and the token `tok`.
TOKEN = "tok"


def target(folder: Path, name: str = "m1", **changes: object) -> Target:
    """A member of a new cluster of three."""
    options: dict[str, object] = {
        "name": name,
        "initial_cluster": THREE,
        "initial_cluster_token": TOKEN,
        "initial_advertise_peer_urls": f"http://h{name[-1]}:2380",
        "data_dir": folder / name,
    }
    return Target(**(options | changes))  # type: ignore[arg-type]  # one dict for all types


def opened(founded: Target) -> Storage:
    """The directory as a starting member opens it, which finds nothing to found."""

    def fail(error: BaseException) -> None:
        raise error

    return open_storage(
        founded.data_dir,
        founded.wal_dir,
        founding=None,
        sync=False,
        post=lambda work: work(),
        on_failure=fail,
    )


def closed(storage: Storage) -> None:
    """Let go of the directory."""
    storage.wal.close()
    storage.backend.close()
    storage.lock.__exit__(None, None, None)


def tables(data_dir: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    """All tables of a member's store."""
    environment = Environment.open_latest(data_dir / "member" / "db", sync=False)
    try:
        names = ("kv", "lease", "alarm", "member", "removed")
        return {name: environment.table(name) for name in names}
    finally:
        environment.close()


def test_keys_leases_and_alarms_are_kept(old: Old, tmp_path: Path) -> None:
    restore(old.file, target(tmp_path))
    kept = tables(tmp_path / "m1")
    assert kept["kv"] == [(number.to_bytes(12, "big"), framed) for number, framed in RECORDS]
    assert kept["lease"] == [LEASE_ENTRY]
    assert kept["alarm"] == [ALARM_ENTRY]
    assert kept["removed"] == []


def test_members_start_alike_from_the_foundation(old: Old, tmp_path: Path) -> None:
    foundings = [restore(old.file, target(tmp_path, name)) for name in ("m1", "m2", "m3")]
    assert foundings[0].members == foundings[1].members == foundings[2].members
    assert len({founding.identity.cluster_id for founding in foundings}) == 1
    assert {founding.identity.member_id for founding in foundings} == {
        member.id for member in foundings[0].members
    }
    for name, founding in zip(("m1", "m2", "m3"), foundings, strict=True):
        storage = opened(target(tmp_path, name))
        try:
            assert storage.identity == founding.identity
            assert storage.applied == FOUNDATION == (storage.hard_state.commit, 1)
            voters = tuple(sorted(member.id for member in founding.members))
            assert storage.conf_state == ConfState(voters=voters)
            assert storage.store.revision == REVISION
            assert not storage.fresh
        finally:
            closed(storage)


def test_ids_are_those_that_etcd_computes(old: Old, tmp_path: Path) -> None:
    founding = restore(old.file, Target(data_dir=tmp_path / "default.etcd"))
    assert f"{founding.identity.member_id:x}" == "8e9e05c52164694d"
    assert f"{founding.identity.cluster_id:x}" == "cdf818194e3a8c32"


def test_the_token_keeps_clusters_apart(old: Old, tmp_path: Path) -> None:
    ours = restore(old.file, target(tmp_path))
    other = restore(old.file, target(tmp_path, data_dir=tmp_path / "x", initial_cluster_token="y"))
    assert ours.identity.cluster_id != other.identity.cluster_id
    assert ours.identity.member_id != other.identity.member_id


def test_a_revision_can_be_bumped(old: Old, tmp_path: Path) -> None:
    bump = {"bump_revision": 1000, "mark_compacted": True}
    restore(old.file, target(tmp_path), **bump)  # type: ignore[arg-type]  # one dict
    storage = opened(target(tmp_path))
    try:
        store = storage.store
        assert store.revision == store.compact_revision == REVISION + 1000
        with pytest.raises(CompactedError):
            store.check_revision(REVISION)
        found = store.range(RangeRequest(key=b"\0", range_end=b"\0"))
        assert found.kvs == [RECORDS[3][1], RECORDS[1][1]]
        assert store.begin() == REVISION + 1001
    finally:
        closed(storage)


def test_a_bumped_store_can_be_bumped_again(old: Old, tmp_path: Path) -> None:
    restore(old.file, target(tmp_path), bump_revision=10, mark_compacted=True)
    data = tmp_path / "m1" / "member" / "db" / "1" / "data.mdb"
    assert snapshot_status(data).revision == REVISION + 10
    again = target(tmp_path, data_dir=tmp_path / "again")
    restore(data, again, skip_hash_check=True, bump_revision=10, mark_compacted=True)
    assert snapshot_status(tmp_path / "again/member/db/1/data.mdb").revision == REVISION + 20


@pytest.mark.parametrize(("bump", "mark"), [(5, False), (0, True)])
def test_bump_and_mark_go_together(old: Old, tmp_path: Path, bump: int, mark: bool) -> None:
    with pytest.raises(UsageError, match=r"^--mark-compacted required if --revision-bump > 0$"):
        restore(old.file, target(tmp_path), bump_revision=bump, mark_compacted=mark)


def test_a_revision_does_not_overflow(old: Old, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        restore(old.file, target(tmp_path), bump_revision=2**63 - 1, mark_compacted=True)
    assert list(tmp_path.iterdir()) == []


def test_the_log_may_stand_elsewhere(old: Old, tmp_path: Path) -> None:
    apart = target(tmp_path, wal_dir=tmp_path / "logs" / "m1")
    restore(old.file, apart)
    assert Wal.exists(tmp_path / "logs" / "m1")
    assert not (tmp_path / "m1" / "member" / "wal").exists()
    closed(opened(apart))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "m1"]


@pytest.mark.parametrize("place", ["m1/wal", "m1/member/log"])
def test_the_log_may_stand_inside(old: Old, tmp_path: Path, place: str) -> None:
    inside = target(tmp_path, wal_dir=tmp_path / place)
    restore(old.file, inside)
    closed(opened(inside))
    assert [path.name for path in tmp_path.iterdir()] == ["m1"]


def test_an_empty_directory_is_filled(old: Old, tmp_path: Path) -> None:
    (tmp_path / "m1").mkdir()
    restore(old.file, target(tmp_path))
    assert [path.name for path in (tmp_path / "m1").iterdir()] == ["member"]


def test_parents_are_made(old: Old, tmp_path: Path) -> None:
    restore(old.file, target(tmp_path, data_dir=tmp_path / "a" / "b" / "c"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "b" / "c" / "member" / "db").is_dir()


def test_an_existing_directory_is_left_alone(old: Old, tmp_path: Path) -> None:
    (tmp_path / "m1").mkdir()
    (tmp_path / "m1" / "precious").touch()
    text = f'data-dir "{tmp_path / "m1"}" not empty or could not be read'
    with pytest.raises(RestoreError, match=re.escape(text)):
        restore(old.file, target(tmp_path))
    assert [path.name for path in (tmp_path / "m1").iterdir()] == ["precious"]


def test_an_existing_log_is_left_alone(old: Old, tmp_path: Path) -> None:
    (tmp_path / "wal").mkdir()
    with pytest.raises(RestoreError, match=re.escape(f'wal-dir "{tmp_path / "wal"}" exists')):
        restore(old.file, target(tmp_path, wal_dir=tmp_path / "wal"))
    assert [path.name for path in tmp_path.iterdir()] == ["wal"]


def test_a_failure_on_the_last_step_leaves_nothing(old: Old, tmp_path: Path) -> None:
    apart = target(tmp_path, wal_dir=tmp_path / "wal")

    def interfere(message: str, **_: object) -> None:
        if message == "added member":
            # What would be there if someone else restored to the same place meanwhile.
            (tmp_path / "m1" / "member" / "db").mkdir(parents=True, exist_ok=True)

    with pytest.raises(OSError, match="not empty"):
        restore(old.file, apart, report=interfere)
    assert [path.name for path in tmp_path.iterdir()] == ["m1"]
    assert list((tmp_path / "m1").iterdir()) == [tmp_path / "m1" / "member"]


CLUSTER_TEXTS = [
    ({"name": "other"}, 'couldn\'t find local name "other" in the initial cluster configuration'),
    (
        {"initial_advertise_peer_urls": "http://h9:2380"},
        (
            "--initial-cluster has m1=http://h1:2380 but missing from "
            "--initial-advertise-peer-urls=http://h9:2380 "
            '(resolved urls: "http://h9:2380" != "http://h1:2380")'
        ),
    ),
    (
        {"initial_advertise_peer_urls": "http://h1:2380,http://h9:2380"},
        (
            "--initial-advertise-peer-urls has http://h9:2380 but missing from "
            "--initial-cluster=m1=http://h1:2380,m1=http://h9:2380"
        ),
    ),
    (
        {"initial_cluster": "m1=http://h1:2380,m1=http://h8:2380"},
        (
            "--initial-cluster has m1=http://h8:2380 but missing from "
            "--initial-advertise-peer-urls=http://h1:2380 "
            '(len(["http://h1:2380"]) != len(["http://h1:2380" "http://h8:2380"]))'
        ),
    ),
    (
        {"initial_cluster": "m1=http://h1:2380,m2=http://h1:2380"},
        "initial cluster m1=http://h1:2380,m2=http://h1:2380 has duplicate url",
    ),
    (
        {"initial_cluster": "m1=ftp://h1:1"},
        "URL scheme must be http, https, unix, or unixs: ftp://h1:1",
    ),
]


@pytest.mark.parametrize(("changes", "text"), CLUSTER_TEXTS)
def test_a_cluster_that_cannot_be_is_refused(
    old: Old, tmp_path: Path, changes: dict[str, str], text: str
) -> None:
    with pytest.raises(RestoreError, match=f"^{re.escape(text)}$"):
        restore(old.file, target(tmp_path, **changes))
    assert list(tmp_path.iterdir()) == []


def test_a_bare_data_file_needs_the_flag(old: Old, tmp_path: Path) -> None:
    bare = tmp_path / "copied.db"
    bare.write_bytes(old.data)
    with pytest.raises(RestoreError, match=r"^snapshot missing hash but --skip-hash-check=false$"):
        restore(bare, target(tmp_path))
    restore(bare, target(tmp_path), skip_hash_check=True)
    assert tables(tmp_path / "m1")["lease"] == [LEASE_ENTRY]


def test_skipping_the_check_skips_it(old: Old, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.db"
    wrong.write_bytes(old.data + bytes(32))
    with pytest.raises(RestoreError, match=r"^expected sha256"):
        restore(wrong, target(tmp_path))
    assert isinstance(restore(wrong, target(tmp_path), skip_hash_check=True), Founding)


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_file_too_short_for_a_digest(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.db").write_bytes(content)
    with pytest.raises(RestoreError, match=r"^seek .*bad.db: invalid argument$"):
        restore(tmp_path / "bad.db", target(tmp_path))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match=r"^open .*nosuch.db: no such file or directory$"):
        restore(tmp_path / "nosuch.db", target(tmp_path))
