"""Ids that etcd itself prints, and the stored form of members."""

import pytest

from pykvd.cluster.membership import Member, cluster_id, member_id

TOKEN = "etcd-cluster"


def test_ids_of_etcds_own_default() -> None:
    """`etcd` without flags logs local-member-id 8e9e05c52164694d, cluster-id cdf818194e3a8c32."""
    number = member_id(["http://localhost:2380"], TOKEN)
    assert f"{number:x}" == "8e9e05c52164694d"
    assert f"{cluster_id([number]):x}" == "cdf818194e3a8c32"


def test_ids_do_not_depend_on_order() -> None:
    urls = ["http://b:2380", "http://a:2380"]
    assert member_id(urls, TOKEN) == member_id(sorted(urls), TOKEN)
    assert member_id(urls, TOKEN) != member_id(urls, "another")
    assert cluster_id([1, 2, 3]) == cluster_id([3, 1, 2]) != cluster_id([1, 2])


@pytest.mark.parametrize(
    "member",
    [
        Member(1, "", ("http://a:2380",)),
        Member((1 << 64) - 1, "näme", ("http://a:1", "http://b:2"), ("unix://c",), is_learner=True),
    ],
)
def test_a_stored_member_comes_back(member: Member) -> None:
    assert Member.decode(member.encode()) == member


def test_publishing_keeps_everything_else() -> None:
    member = Member(7, "", ("http://a:2380",), is_learner=True)
    published = member.published("n", ["http://c:2379"])
    assert published == Member(7, "n", ("http://a:2380",), ("http://c:2379",), is_learner=True)
