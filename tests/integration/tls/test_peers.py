"""Three members that verify each other, and those that are kept out."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pykvd.pb import rpc_pb2
from tests.harness import Failure, wait_until
from tests.harness.certificates import CLIENT, DAY, SERVER, Authority, Pair
from tests.harness.methods import MEMBER_ADD, PUT, RANGE
from tests.integration.tls.processes import SecureCluster, key_flags, secure_cluster

if TYPE_CHECKING:
    from pathlib import Path


def mutual(ca: Authority, pair: Pair, *more: str) -> list[str]:
    """The flags of a member that shows this certificate and wants to see such ones."""
    return [
        *key_flags(pair, "peer-"),
        f"--peer-trusted-ca-file={ca.file}",
        "--peer-client-cert-auth",
        *more,
    ]


def works(cluster: SecureCluster, *names: str) -> None:
    """What one member writes the others read."""
    members = [cluster[name] for name in names]
    cluster.leader(members)
    members[0].call(PUT, rpc_pb2.PutRequest(key=b"k", value=b"v"))
    for member in members:
        reply = member.call(RANGE, rpc_pb2.RangeRequest(key=b"k"))
        assert reply.kvs[0].value == b"v"


def rejected(cluster: SecureCluster, name: str, text: str) -> bool:
    """Whether a member has logged that it rejected a peer for this reason."""
    return any(
        line["msg"] == "rejected connection on peer endpoint" and text in str(line["error"])
        for line in cluster[name].log()
    )


def unreachable(cluster: SecureCluster, name: str, text: str) -> bool:
    """Whether a member has logged that it does not reach a peer for this reason."""
    return any(
        line["msg"] == "peer is unreachable" and text in str(line["error"])
        for line in cluster[name].log()
    )


def test_mutual_tls_between_members(tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    with secure_cluster(lambda name: mutual(ca, ca.issue(name))) as cluster:
        cluster.start()
        works(cluster, "n1", "n2", "n3")
        assert "starting with peer TLS" in cluster["n1"].messages()
        # A plain member of the same list is not heard.
        cluster["n3"].kill()
        works(cluster, "n1", "n2")
        cluster["n3"].start()
        works(cluster, "n1", "n2", "n3")


def test_a_member_joins_over_tls(tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    with secure_cluster(lambda name: mutual(ca, ca.issue(name)), ["n1"]) as cluster:
        cluster.start()
        joining = cluster.newcomer("n2")
        request = rpc_pb2.MemberAddRequest(peerURLs=[joining.peer_url])
        cluster["n1"].call(MEMBER_ADD, request)
        joining.start()
        works(cluster, "n1", "n2")


def test_a_member_far_behind_gets_a_snapshot_over_tls(tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    short = ("--snapshot-count=10", "--snapshot-catchup-entries=5")
    with secure_cluster(lambda name: mutual(ca, ca.issue(name), *short)) as cluster:
        cluster.start()
        works(cluster, "n1", "n2", "n3")
        cluster["n3"].kill()
        leader = cluster.leader([cluster["n1"], cluster["n2"]])
        for number in range(60):
            key = b"%d" % number
            leader.call(PUT, rpc_pb2.PutRequest(key=key, value=bytes(20_000)))
        cluster["n3"].start()
        cluster.wait_equal()
        assert "installed a snapshot" in cluster["n3"].messages()


def test_a_member_of_another_authority_is_refused(tmp_path: Path) -> None:
    ca, other = Authority(tmp_path), Authority(tmp_path, "other")

    def flags(name: str) -> list[str]:
        return mutual(ca, other.issue(name) if name == "n3" else ca.issue(name))

    text = "x509: certificate signed by unknown authority"
    with secure_cluster(flags) as cluster:
        for member in cluster:
            member.spawn()
        for name in ("n1", "n2"):
            cluster[name].wait_ready()
        works(cluster, "n1", "n2")
        wait_until(lambda: rejected(cluster, "n1", text), "the rejection")
        wait_until(lambda: unreachable(cluster, "n1", text), "n1 to refuse n3 as a server")
        assert isinstance(cluster["n3"].status(), Failure)


def test_a_revoked_member_is_refused_when_it_comes_again(tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    pairs = {name: ca.issue(name) for name in ("n1", "n2", "n3")}
    crl = ca.revoke()
    with secure_cluster(lambda name: mutual(ca, pairs[name], f"--peer-crl-file={crl}")) as cluster:
        cluster.start()
        works(cluster, "n1", "n2", "n3")
        ca.revoke(pairs["n3"].serial)
        cluster["n3"].kill()
        cluster["n3"].spawn()
        text = f"certificate serial {pairs['n3'].serial:x} revoked"
        wait_until(lambda: rejected(cluster, "n1", text), "the rejection")
        wait_until(lambda: unreachable(cluster, "n1", text), "n1 to refuse it as a server")
        works(cluster, "n1", "n2")
        ca.revoke()
        works(cluster, "n1", "n2", "n3")


def test_only_allowed_common_names_are_members(tmp_path: Path) -> None:
    ca = Authority(tmp_path)

    def flags(name: str) -> list[str]:
        pair = ca.issue(name, common_name="guest" if name == "n3" else "member")
        return mutual(ca, pair, "--peer-cert-allowed-cn=member")

    with secure_cluster(flags) as cluster:
        for member in cluster:
            member.spawn()
        for name in ("n1", "n2"):
            cluster[name].wait_ready()
        works(cluster, "n1", "n2")
        text = "client certificate authentication failed"
        wait_until(lambda: rejected(cluster, "n1", text), "the rejection")
        wait_until(lambda: unreachable(cluster, "n1", text), "n1 to refuse it as a server")


def test_certificates_name_where_members_are(tmp_path: Path) -> None:
    """One whose certificate is for another address is refused as a server; unless told not to
    look, also as a client."""
    ca = Authority(tmp_path)

    def flags(name: str) -> list[str]:
        pair = ca.issue(name, hosts=("10.1.2.3",) if name == "n3" else ("127.0.0.1",))
        more = ["--peer-skip-client-san-verification"] if name == "n2" else []
        return mutual(ca, pair, *more)

    with secure_cluster(flags) as cluster:
        for member in cluster:
            member.spawn()
        for name in ("n1", "n2"):
            cluster[name].wait_ready()
        works(cluster, "n1", "n2")
        text = "x509: certificate is valid for 10.1.2.3, not 127.0.0.1"
        wait_until(lambda: rejected(cluster, "n1", text), "the rejection")
        wait_until(
            lambda: unreachable(cluster, "n1", "IP address mismatch"), "the wrong server", 15
        )
        assert not rejected(cluster, "n2", text)


def test_certificates_of_their_own_for_dialling(tmp_path: Path) -> None:
    """--peer-client-cert-file: a certificate for each direction."""
    ca = Authority(tmp_path)

    def flags(name: str) -> list[str]:
        server = ca.issue(f"{name}-server", usages=(SERVER,))
        client = ca.issue(f"{name}-client", usages=(CLIENT,), hosts=())
        return mutual(ca, server, *key_flags(client, "peer-client-"))

    with secure_cluster(flags) as cluster:
        cluster.start()
        works(cluster, "n1", "n2", "n3")


def test_members_with_certificates_of_their_own_making() -> None:
    with secure_cluster(lambda name: ["--peer-auto-tls"]) as cluster:
        cluster.start()
        works(cluster, "n1", "n2", "n3")
        assert (cluster["n1"].data / "fixtures" / "peer" / "key.pem").exists()


def test_renewed_certificates_and_a_new_authority_need_no_restart(tmp_path: Path) -> None:
    """All certificates run out of trust one by one; the members never stop."""
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    trusted = Authority(tmp_path, "bundle")
    trusted.file.write_bytes(old.file.read_bytes())
    pairs = {name: old.issue(name) for name in ("n1", "n2", "n3")}
    with secure_cluster(lambda name: mutual(trusted, pairs[name])) as cluster:
        cluster.start()
        trusted.file.write_bytes(old.file.read_bytes() + new.file.read_bytes())
        for name, pair in pairs.items():
            new.issue(f"{name}-new").copy_to(pair)
        trusted.file.write_bytes(new.file.read_bytes())
        # Whoever comes back meets the others as they are now.
        cluster["n3"].kill()
        cluster["n3"].start()
        works(cluster, "n1", "n2", "n3")


def test_an_expired_certificate_only_keeps_out_whom_it_belongs_to(tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    early = ca.issue("early", begins=-2 * DAY, ends=-DAY)

    def flags(name: str) -> list[str]:
        return mutual(ca, early if name == "n3" else ca.issue(name))

    with secure_cluster(flags) as cluster, contextlib.ExitStack():
        for member in cluster:
            member.spawn()
        for name in ("n1", "n2"):
            cluster[name].wait_ready()
        works(cluster, "n1", "n2")
        wait_until(lambda: rejected(cluster, "n1", "expired"), "the rejection")
