"""The quota story: full on one member is full everywhere, until room was made and it was said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from pykvd.pb import rpc_pb2
from tests.harness import Client, Failure, wait_until
from tests.harness.methods import ALARM, COMPACT, DEFRAGMENT, DELETE, PUT, STATUS
from tests.integration.cluster.cluster import QUICK, clustered
from tests.integration.cluster.requests import get, put

if TYPE_CHECKING:
    from tests.integration.cluster.cluster import Cluster, Member

NO_SPACE = Failure("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded")
MEBIBYTE = 1 << 20
ETCDCTL = shutil.which("etcdctl")


def fill(member: Member, limit: int) -> int:
    """Overwrite one key with large values until that is refused; the last revision."""
    revision = 0
    with Client(member.endpoint) as client:
        for number in range(limit):
            request = rpc_pb2.PutRequest(key=b"big", value=b"%d" % number + bytes(MEBIBYTE // 2))
            reply = client.attempt(PUT, request)
            if isinstance(reply, Failure):
                assert reply == NO_SPACE
                return revision
            revision = reply.header.revision
    raise AssertionError("the quota was never reached")


def alarms(member: Member) -> list[tuple[int, int]]:
    """All alarms as (member, type)."""
    return [(alarm.memberID, alarm.alarm) for alarm in member.call(ALARM).alarms]


def test_the_quota_of_one_member_stops_all_until_it_is_lifted() -> None:
    with clustered() as cluster:
        # One member has less room than the others.
        small = cluster["n2"]
        small.flags = (*QUICK, f"--quota-backend-bytes={8 * MEBIBYTE}")
        cluster.start()
        cluster.leader()
        put(cluster["n1"], b"small", b"v")
        revision = fill(small, 40)
        for member in cluster:
            refused_everywhere(cluster, member, small.id)
        assert get(cluster["n3"], b"small") == b"v"
        cluster["n1"].call(DELETE, rpc_pb2.DeleteRangeRequest(key=b"big"))
        request = rpc_pb2.CompactionRequest(revision=revision, physical=True)
        cluster["n3"].call(COMPACT, request)
        before = small.call(STATUS).dbSize
        for member in cluster:
            member.call(DEFRAGMENT)
        wait_until(lambda: small.call(STATUS).dbSize < before / 2, "the file to shrink")
        # Room alone does not lift the alarm.
        assert cluster["n1"].ask(PUT, rpc_pb2.PutRequest(key=b"still")) == NO_SPACE
        lift = rpc_pb2.AlarmRequest(
            action=rpc_pb2.AlarmRequest.DEACTIVATE, memberID=small.id, alarm=rpc_pb2.NOSPACE
        )
        cluster["n3"].call(ALARM, lift)
        for member in cluster:
            put(member, b"after/" + member.name.encode(), b"v")
            assert alarms(member) == []
        cluster.wait_equal()


def refused_everywhere(cluster: Cluster, member: Member, raised_by: int) -> None:
    """A member refuses to write and names the one that is full."""
    wait_until(
        lambda: alarms(member) == [(raised_by, rpc_pb2.NOSPACE)], f"{member.name} to be alarmed"
    )
    assert member.ask(PUT, rpc_pb2.PutRequest(key=b"refused")) == NO_SPACE
    assert any("NOSPACE" in error for error in member.call(STATUS).errors)


@pytest.mark.etcd
@pytest.mark.skipif(ETCDCTL is None, reason="etcdctl not installed (Debian: etcd-client)")
def test_the_quota_story_as_etcdctl_tells_it() -> None:
    """Fill, see the alarm, take the revision from the status, compact, defragment, disarm."""
    with clustered(flags=(*QUICK, f"--quota-backend-bytes={4 * MEBIBYTE}")) as cluster:
        cluster.start()
        cluster.leader()
        value = "x" * (MEBIBYTE // 10)
        for _ in range(60):
            done = etcdctl(cluster, "put", "key", value)
            if done.returncode:
                break
        assert "etcdserver: mvcc: database space exceeded" in done.stderr
        wait_until(lambda: "NOSPACE" in etcdctl(cluster, "alarm", "list").stdout, "the alarm")
        status = json.loads(etcdctl(cluster, "endpoint", "status", "--write-out=json").stdout)
        before = [each["Status"]["dbSize"] for each in status]
        revision = max(each["Status"]["header"]["revision"] for each in status)
        compacted = etcdctl(cluster, "compact", str(revision), "--physical")
        assert compacted.stdout == f"compacted revision {revision}\n"
        defragmented = etcdctl(cluster, "defrag").stdout
        assert defragmented.count("Finished defragmenting etcd member") == 3
        assert "alarm:NOSPACE" in etcdctl(cluster, "alarm", "disarm").stdout
        assert etcdctl(cluster, "alarm", "list").stdout == ""
        assert etcdctl(cluster, "put", "key", value).stdout == "OK\n"
        after = json.loads(etcdctl(cluster, "endpoint", "status", "--write-out=json").stdout)
        assert max(each["Status"]["dbSize"] for each in after) < min(before) / 2
        cluster.wait_equal()


def etcdctl(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """Run etcdctl on all members."""
    endpoints = ",".join(member.endpoint for member in cluster)
    command = [ETCDCTL or "etcdctl", f"--endpoints={endpoints}", *words]
    environment = {**os.environ, "ETCDCTL_API": "3"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
