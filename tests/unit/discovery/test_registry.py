"""What a discovery service holds: sizes, places, and that all members see the same cluster."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykvd.config.urls import format_urls
from pykvd.discovery.errors import DiscoveryError
from pykvd.discovery.registry import Registry, member_key, members_prefix, parse_size, size_key


def test_keys_are_those_of_etcd() -> None:
    assert size_key("T") == "/_etcd/registry/T/_config/size"
    assert members_prefix("T") == "/_etcd/registry/T/members/"
    assert member_key("T", 0xF96B36EF9C15ECEC) == "/_etcd/registry/T/members/f96b36ef9c15ecec"
    assert size_key("/a/../b//") == "/_etcd/registry/b/_config/size"  # as Go's path.Join


@pytest.mark.parametrize(
    ("value", "size"), [(b"1", 1), (b"+3", 3), (b"007", 7), (str(2**63 - 1).encode(), 2**63 - 1)]
)
def test_sizes(value: bytes, size: int) -> None:
    assert parse_size("T", value) == size


@pytest.mark.parametrize(
    "value",
    [b"", b"0", b"-1", b"3 ", b"1_0", b"3.0", b"x", "٣".encode(), str(2**63).encode(), b"9" * 5000],
)
def test_bad_sizes(value: bytes) -> None:
    with pytest.raises(DiscoveryError, match=r"^discovery: size key is bad$"):
        parse_size("T", value)


def test_no_size() -> None:
    with pytest.raises(DiscoveryError, match=r"^discovery: size key not found$") as caught:
        parse_size("T", None)
    assert "/_etcd/registry/T/_config/size" in caught.value.hint


def filled(size: int, *texts: str) -> Registry:
    """Registered in this order, under the keys 0, 1, 2 ..."""
    registry = Registry(size)
    for number, text in enumerate(texts):
        registry.put(str(number), text, number + 10)
    return registry


def test_places() -> None:
    registry = filled(2, "a=http://a:1", "b=http://b:1", "c=http://c:1")
    registry.check_place("1", "b", "b=http://b:1")
    for key, name in (("2", "c"), ("9", "z"), ("9", "a")):
        with pytest.raises(DiscoveryError, match=r"^discovery: cluster is full$"):
            registry.check_place(key, name, f"{name}=http://{name}:1")
    with pytest.raises(DiscoveryError, match=r"^discovery: found duplicate id$"):
        registry.check_place("1", "other", "other=http://b:1")


def test_names_are_taken_once() -> None:
    registry = filled(3, "a=http://a:1,a=http://a:2", "b=http://b:1")
    registry.check_place("9", "z", "z=http://z:1")
    with pytest.raises(DiscoveryError, match=r"^discovery: found duplicate name$"):
        registry.check_place("9", "a", "a=http://z:1")
    registry.put("9", "b=http://z:1", 99)  # at the same moment
    with pytest.raises(DiscoveryError, match=r"^discovery: found duplicate name$"):
        registry.members()


def test_what_is_no_member_is_passed_over() -> None:
    registry = Registry(1)
    assert not registry.put("0", "no member", 1)
    assert not registry.complete
    assert registry.put("1", "a=nowhere", 2)
    with pytest.raises(DiscoveryError, match=r"^discovery: invalid peer URL$"):
        registry.members()


@given(
    count=st.integers(1, 6),
    size=st.integers(1, 6),
    data=st.data(),
)
def test_everyone_sees_the_same_cluster(count: int, size: int, data: st.DataObject) -> None:
    """Whatever was there when a member looked, and in whatever order keys come in a range."""
    texts = [f"n{number}=http://h:{number + 1}" for number in range(count)]
    seen_at_first = data.draw(st.integers(0, count))
    keys = data.draw(st.permutations([f"{number:x}" for number in range(count)]))
    registry = Registry(size)
    created = list(zip(keys, texts, range(10, 10 + count), strict=True))
    for entry in sorted(created[:seen_at_first]):
        registry.put(*entry)
    for entry in created[seen_at_first:]:
        if registry.complete:
            break
        registry.put(*entry)
    assert registry.complete == (count >= size)
    if registry.complete:
        found = [f"{name}={format_urls(urls)}" for name, urls in registry.members().items()]
        assert found == texts[:size]
