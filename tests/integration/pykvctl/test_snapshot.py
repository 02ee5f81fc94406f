"""Snapshots from a running server: their status, and new clusters made from them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pykvd.pb import kv_pb2 as kvpb
from pykvd.pb import rpc_pb2 as rpc
from tests.harness import PYKVD, Client, Failure, Server, WatchStream, running
from tests.harness.methods import (
    COMPACT,
    DELETE,
    GRANT,
    HASH_KV,
    LEASES,
    MEMBER_LIST,
    PUT,
    RANGE,
    TIME_TO_LIVE,
)
from tests.integration.cluster.cluster import Cluster, clustered
from tests.integration.pykvctl.conftest import environment
from tests.integration.pykvctl.relay import relayed
from tests.integration.pykvctl.runner import run_cli
from tests.integration.pykvctl.transcript import Outcome, Step, outcome_of, read_transcript

ALL = rpc.RangeRequest(key=b"\0", range_end=b"\0")
LEASE = 0x1234
LEASE_TTL = 3600
COMPACTED = 4
#: Fields of log lines that name files of etcd, or that only one of the two tells.
OTHER_FIELDS = ("snap-dir", "initial-memory-map-size", "local-member-id")

# Replay of the transcript


def steps() -> list[Step]:
    """The commands of the transcript that work on a file."""
    return [step for step in read_transcript("09-snapshot.txt") if is_offline(step.command)]


def is_offline(command: str) -> bool:
    """Whether a line of the transcript ends with a command that needs no server."""
    return re.search(r"etcdctl snapshot (status|restore)", command) is not None


def comparable(outcome: Outcome) -> Outcome:
    """What the two programs have in common: hashes, sizes and the look of log lines differ."""
    stdout = [
        re.sub(r"^(?:│|\|) +[0-9a-f]{1,8} (?:│|\|)( +5 ).*", r"| HASH |\1| KEYS | SIZE |", line)
        for line in map(without_version, outcome.stdout)
        if line and not line.startswith(("+-", "┌", "├", "└"))
    ]
    stdout = [re.sub(r"^[0-9a-f]{1,8}, 5, \d+, \d+ kB$", "HASH, 5, N, S", s) for s in stdout]
    stdout = [
        re.sub(r'("(?:hash|totalKey|totalSize|Hash|Keys|Size)" ?: ?)\d+', r"\1N", s) for s in stdout
    ]
    stderr = [message(line) for line in outcome.stderr if line and "Deprecated: " not in line]
    stderr = [re.sub(r"\[[\d ]+\]", "[DIGEST]", line) for line in stderr]
    stdout = [re.sub(r"[│| ]+", " ", line) for line in stdout]
    return Outcome(stdout, [line for line in stderr if "resolved URL" not in line], outcome.status)


def without_version(line: str) -> str:
    """A line of `snapshot status` without the storage version, which 3.6 has added."""
    return re.sub(r', 3\.6\.0$|,"version":"3\.6\.0"|^"Version" : 3\.6\.0$| VERSION \|$', "", line)


def message(line: str) -> str:
    """Message and fields of a log line of either kind; other lines as they are."""
    if line.startswith("{"):
        fields = json.loads(line)
        text = fields.pop("msg")
        for name in ("level", "ts", "caller"):
            del fields[name]
    elif "\tinfo\t" in line:
        text, *rest = line.split("\t")[3:]
        fields = json.loads(rest[0]) if rest else {}
    else:
        return line
    return f"{text} {[pair for pair in fields.items() if pair[0] not in OTHER_FIELDS]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the transcript has: saved, cut to nothing, bare, altered."""
    folder = tmp_path_factory.mktemp("golden")
    with running(PYKVD) as server:
        environ = environment(server)
        for words in ("put foo bar", "put foo baz", "put abc 123", "del abc"):
            assert run_cli(words.split(), environ)[2] == 0
        assert run_cli(["snapshot", "save", str(folder / "backup.db")], environ)[2] == 0
    content = bytearray((folder / "backup.db").read_bytes())
    (folder / "copied.db").write_bytes(content[:-32])
    content[9000] ^= 1
    (folder / "corrupt.db").write_bytes(content)
    (folder / "bad.db").write_bytes(b"garbage")
    return folder


def test_transcript(
    folder: Path, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    monkeypatch.chdir(folder)
    replayed = steps()
    assert len(replayed) > 20
    for step in replayed:
        words = step.command.rpartition("etcdctl ")[2].split()
        with subtests.test(msg=step.command, number=step.number):
            assert comparable(outcome_of(*run_cli(words, {}))) == comparable(step.outcome)
    made = sorted(path.name for path in folder.iterdir() if ".etcd" in path.name)
    assert made == ["default.etcd", "r10.etcd", "r7.etcd", "r9.etcd", "restored.etcd"]


def test_the_table_is_drawn_as_all_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    lines = run_cli(["snapshot", "status", "backup.db", "-w", "table"], {})[0].decode().splitlines()
    assert len({len(line) for line in lines}) == 1
    # A hash that begins with zeros is shorter.
    width = len(lines[3].split("|")[1])
    assert lines[1] == f"|{'HASH':^{width}}| REVISION | TOTAL KEYS | TOTAL SIZE | VERSION |"


@pytest.mark.etcd
@pytest.mark.skipif(shutil.which("etcdctl") is None, reason="etcdctl is not installed")
def test_a_file_that_etcdctl_saved(tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    with running(PYKVD) as server:
        assert run_cli(["put", "foo", "bar"], environment(server))[2] == 0
        call = ["etcdctl", f"--endpoints={server.endpoint}", "snapshot", "save", str(file)]
        environ = environment(server) | {"ETCDCTL_API": "3"}
        del environ["ETCDCTL_ENDPOINTS"]
        subprocess.run(call, check=True, capture_output=True, env=environ)
    out, err, status = run_cli(["snapshot", "status", str(file), "-w", "json"], {})
    assert status == 0, err
    assert json.loads(out)["revision"] == 2
    words = ["snapshot", "restore", str(file), f"--data-dir={tmp_path / 'new'}"]
    assert run_cli(words, {})[2] == 0


# What clients of the new cluster see


@dataclass(frozen=True)
class Saved:
    """A snapshot file, and what the server answered when it was saved."""

    file: Path
    revision: int
    hash: int
    by_revision: dict[int, list[kvpb.KeyValue]]
    """All pairs as of each revision that can be read."""


def write_history(client: Client) -> None:
    """Keys that are overwritten, deleted, and made again, a lease with a key, a compaction."""
    client.call(GRANT, rpc.LeaseGrantRequest(ID=LEASE, TTL=LEASE_TTL))
    for value in (b"1", b"2", b"3"):
        client.call(PUT, rpc.PutRequest(key=b"often", value=value))
    client.call(PUT, rpc.PutRequest(key=b"leased", value=b"x", lease=LEASE))
    client.call(PUT, rpc.PutRequest(key=b"gone", value=b"y" * 10_000))
    client.call(DELETE, rpc.DeleteRangeRequest(key=b"gone"))
    client.call(PUT, rpc.PutRequest(key=b"often", value=b"4"))
    client.call(DELETE, rpc.DeleteRangeRequest(key=b"often"))
    client.call(PUT, rpc.PutRequest(key=b"often", value=b"5"))
    client.call(COMPACT, rpc.CompactionRequest(revision=COMPACTED, physical=True))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """The snapshot of a server that ended afterwards."""
    file = tmp_path_factory.mktemp("saved") / "backup.db"
    with running(PYKVD) as server, Client(server.endpoint) as client:
        write_history(client)
        revision = client.call(RANGE, ALL).header.revision
        by_revision = {at: read_at(client, at) for at in range(COMPACTED, revision + 1)}
        answer = client.call(HASH_KV)
        _, err, status = run_cli(["snapshot", "save", str(file)], environment(server))
        assert status == 0, err
    return Saved(file, revision, answer.hash, by_revision)


def read_at(client: Client, revision: int, *, serializable: bool = False) -> list[kvpb.KeyValue]:
    """All pairs as of a revision."""
    request = rpc.RangeRequest(revision=revision, serializable=serializable)
    request.MergeFrom(ALL)
    return list(client.call(RANGE, request).kvs)


def restore(saved: Saved, words: list[str]) -> None:
    """Run `snapshot restore` with the flags given."""
    _, err, status = run_cli(["snapshot", "restore", str(saved.file), *words], {})
    assert status == 0, err


@pytest.fixture(scope="module")
def cluster(saved: Saved) -> Iterator[Cluster]:
    """Three members that were restored from the file, running."""
    with clustered() as cluster:
        for member in cluster:
            restore(
                saved,
                [
                    f"--name={member.name}",
                    f"--data-dir={member.data}",
                    f"--initial-cluster={cluster.initial_cluster()}",
                    f"--initial-advertise-peer-urls={member.peer_url}",
                    "--initial-cluster-token=restored",
                ],
            )
        cluster.start()
        cluster.leader()
        yield cluster


def test_every_member_has_all_keys_at_all_revisions(saved: Saved, cluster: Cluster) -> None:
    for member in cluster:
        with Client(member.endpoint) as client:
            for revision, pairs in saved.by_revision.items():
                assert read_at(client, revision, serializable=True) == pairs
            assert client.call(RANGE, ALL).header.revision == saved.revision
            before = rpc.HashKVRequest(revision=saved.revision)
            assert client.call(HASH_KV, before).hash == saved.hash
            refused = client.attempt(RANGE, rpc.RangeRequest(key=b"often", revision=COMPACTED - 1))
            assert isinstance(refused, Failure)
            assert refused.text == "etcdserver: mvcc: required revision has been compacted"


def test_the_history_can_be_watched(saved: Saved, cluster: Cluster) -> None:
    request = rpc.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=COMPACTED + 1)
    with Client(cluster["n2"].endpoint) as client, WatchStream(client) as stream:
        watch = stream.create(request).watch_id
        wanted = saved.revision - COMPACTED
        stream.wait(lambda: len(stream.events(watch)) >= wanted, "the history")
        assert [event.kv.mod_revision for event in stream.events(watch)] == list(
            range(COMPACTED + 1, saved.revision + 1)
        )


def test_leases_live_on_with_their_keys(cluster: Cluster) -> None:
    with Client(cluster.leader().endpoint) as client:
        assert [lease.ID for lease in client.call(LEASES).leases] == [LEASE]
        left = client.call(TIME_TO_LIVE, rpc.LeaseTimeToLiveRequest(ID=LEASE, keys=True))
        assert (left.grantedTTL, list(left.keys)) == (LEASE_TTL, [b"leased"])
        assert 0 < left.TTL <= LEASE_TTL


def test_the_members_are_those_of_the_new_cluster(cluster: Cluster) -> None:
    with Client(cluster["n1"].endpoint) as client:
        members = client.call(MEMBER_LIST, rpc.MemberListRequest(linearizable=True)).members
    assert {(each.name, tuple(each.peerURLs), each.isLearner) for each in members} == {
        (member.name, (member.peer_url,), False) for member in cluster
    }


def test_the_new_cluster_goes_on_from_there(saved: Saved, cluster: Cluster) -> None:
    follower = cluster.followers()[0]
    answer = follower.call(PUT, rpc.PutRequest(key=b"new", value=b"z"))
    assert answer.header.revision == saved.revision + 1
    assert cluster.wait_equal() == saved.revision + 1
    follower.kill()
    follower.start()
    assert cluster.wait_equal() == saved.revision + 1


def test_a_bump_is_noticed(saved: Saved, tmp_path: Path) -> None:
    """Clients of the old cluster, ahead of the snapshot or behind, learn that time has passed."""
    server = Server(PYKVD, tmp_path)
    flags = ["--bump-revision=1000", "--mark-compacted"]
    restore(saved, [f"--data-dir={server.data}", *flags])
    bumped = saved.revision + 1000
    try:
        server.start()
        with Client(server.endpoint) as client, WatchStream(client) as stream:
            found = client.call(RANGE, ALL)
            assert found.header.revision == bumped
            assert list(found.kvs) == saved.by_revision[saved.revision]
            for start in (saved.revision, saved.revision + 500):
                request = rpc.WatchCreateRequest(key=b"often", start_revision=start)
                watch = stream.create(request).watch_id
                stream.wait(lambda w=watch: stream.canceled(w) is not None, "the watch to end")  # type: ignore[misc]  # bound default
                canceled = stream.canceled(watch)
                assert canceled is not None
                assert canceled.compact_revision == bumped
            old = client.attempt(RANGE, rpc.RangeRequest(key=b"often", revision=saved.revision))
            assert isinstance(old, Failure)
            assert old.text == "etcdserver: mvcc: required revision has been compacted"
            written = client.call(PUT, rpc.PutRequest(key=b"often", value=b"6"))
            assert written.header.revision == bumped + 1
        server.kill()
        server.start()
        with Client(server.endpoint) as client:
            assert client.call(RANGE, ALL).header.revision == bumped + 1
    finally:
        server.kill()


def test_what_is_altered_on_its_way_is_noticed(tmp_path: Path) -> None:
    with running(PYKVD) as server:
        assert run_cli(["put", "k", "MARKED"], environment(server))[2] == 0
        with relayed(server, lambda piece: piece.replace(b"MARKED", b"MARKET")) as endpoint:
            environ = {"ETCDCTL_ENDPOINTS": endpoint}
            _, err, status = run_cli(["snapshot", "save", str(tmp_path / "backup.db")], environ)
    assert status == 5
    assert err.splitlines()[-1].startswith(b"Error: expected sha256 [")
    assert not (tmp_path / "backup.db").exists()
