"""Members that find each other by the SRV records of a domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pykvd.pb import rpc_pb2
from tests.harness import wait_until
from tests.harness.certificates import Authority
from tests.harness.methods import MEMBER_ADD, PUT, RANGE
from tests.harness.name_server import NameServer, name_server
from tests.integration.discovery.processes import asking, seekers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.integration.cluster.cluster import Member

DOMAIN = "cluster.test"
FLAG = f"--discovery-srv={DOMAIN}"


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with name_server() as server:
        yield server


def enter(server: NameServer, members: Iterable[Member], service: str = "_etcd-server") -> None:
    """The members alone stand for the service, as ports of localhost."""
    server.records.clear()
    records = [(0, 0, member.peer_port, "localhost.") for member in members]
    server.records[f"{service}._tcp.{DOMAIN}."] = records


def test_three_members(names: NameServer) -> None:
    flags = (FLAG, "--discovery-srv-name=blue", "--strict-reconfig-check=false")
    with seekers(*flags, kind=asking(names.port)) as cluster:
        enter(names, cluster, "_etcd-server-blue")
        cluster.start()
        n1, _, n3 = cluster
        n1.call(PUT, rpc_pb2.PutRequest(key=b"k", value=b"v"))
        assert n3.call(RANGE, rpc_pb2.RangeRequest(key=b"k")).kvs[0].value == b"v"
        # Addresses were advertised; the members are known by the names in the records.
        listed = {(member.name, *member.peerURLs) for member in cluster.member_list(n1).values()}
        assert listed == {
            (member.name, f"http://localhost:{member.peer_port}") for member in cluster
        }

        stranger = cluster.another("n4")
        stranger.spawn()
        assert stranger.wait_exit() == 1
        assert (
            "failed to start error setting up initial cluster: "
            'cannot find local etcd member "n4" in SRV records' in stranger.messages()
        )
        assert not stranger.data.exists()

        enter(names, cluster, "_etcd-server-blue")  # now as one of four, and added before
        url = f"http://localhost:{stranger.peer_port}"
        n1.call(MEMBER_ADD, rpc_pb2.MemberAddRequest(peerURLs=[url]))
        stranger.state = "existing"
        stranger.start()
        assert stranger.call(RANGE, rpc_pb2.RangeRequest(key=b"k")).kvs[0].value == b"v"

        names.records.clear()  # who has data does not look
        n3.stop()
        n3.start()
        assert n3.call(RANGE, rpc_pb2.RangeRequest(key=b"k")).kvs[0].value == b"v"


def test_without_records(names: NameServer) -> None:
    with seekers(FLAG, names=["n1"], kind=asking(names.port)) as cluster:
        enter(names, [])
        names.records.clear()
        cluster["n1"].spawn()
        assert cluster["n1"].wait_exit() == 1
        assert (
            "error setting up initial cluster: "
            "error querying DNS SRV records for _etcd-server-ssl "
            "lookup _etcd-server-ssl._tcp.cluster.test: no such host; "
            "error querying DNS SRV records for _etcd-server "
            "lookup _etcd-server._tcp.cluster.test: no such host" in cluster["n1"].messages()
        )


@pytest.mark.parametrize(
    ("host", "accepted"), [(DOMAIN, True), ("localhost", False)], ids=["domain", "host"]
)
def test_certificates_name_the_domain(
    names: NameServer, tmp_path: Path, host: str, *, accepted: bool
) -> None:
    """Without a CA file of their own: anybody can have the name of the host in a record."""
    authority = Authority(tmp_path)
    pair = authority.issue("peer", hosts=(host, "127.0.0.1"))
    flags = [f"--peer-cert-file={pair.cert}", f"--peer-key-file={pair.key}"]
    kind = asking(names.port, SSL_CERT_FILE=str(authority.file))
    with seekers(FLAG, *flags, names=["n1", "n2"], kind=kind, scheme="https") as cluster:
        enter(names, cluster, "_etcd-server-ssl")
        n1 = cluster["n1"]
        for member in cluster:
            member.spawn()
        if accepted:
            n1.wait_ready()
            return
        text = "certificate is not valid for 'cluster.test'"
        wait_until(lambda: text in n1.log_text(), "a certificate to be refused", 60.0)
