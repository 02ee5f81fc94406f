"""Members out of SRV records."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pykvd.config.urls import URL
from pykvd.discovery.domain import Places, Target, members_of
from pykvd.discovery.srv import Host

SECURE, PLAIN = "etcd-server-ssl", "etcd-server"


def places(*texts: str) -> Places:
    """Out of `host:port`."""
    hosts = (text.rpartition(":") for text in texts)
    return frozenset(Host(name, int(port)) for name, _, port in hosts)


def target(url: str, *addresses: str) -> Target:
    parsed = URL.parse(url)
    service = SECURE if parsed.is_secure else PLAIN
    return Target(service, parsed, places(parsed.authority, *addresses))


def texts(members: dict[str, tuple[URL, ...]]) -> dict[str, list[str]]:
    return {name: [str(url) for url in urls] for name, urls in members.items()}


def test_this_member_is_found_by_its_address() -> None:
    own = URL.parse("http://10.0.0.2:2380")
    found = members_of(
        "n2",
        {own: places("10.0.0.2:2380")},
        [
            target("http://h1:2380", "10.0.0.1:2380"),
            target("http://h2:2380", "10.0.0.2:2380"),
            target("http://h2:2381", "10.0.0.2:2381"),
        ],
    )
    assert texts(found.by_name) == {
        "0": ["http://h1:2380"],
        "n2": ["http://h2:2380"],
        "1": ["http://h2:2381"],
    }
    assert found.advertised == {own: URL.parse("http://h2:2380")}


def test_names_that_cannot_be_resolved_count() -> None:
    own = URL.parse("http://h2:2380")
    found = members_of(
        "n2", {own: places("h2:2380")}, [target("http://h1:2380"), target("http://h2:2380")]
    )
    assert texts(found.by_name) == {"0": ["http://h1:2380"], "n2": ["http://h2:2380"]}


def test_schemes_must_be_the_same() -> None:
    own = URL.parse("https://10.0.0.1:2380")
    found = members_of(
        "n1", {own: places("10.0.0.1:2380")}, [target("http://h1:2380", "10.0.0.1:2380")]
    )
    assert found.by_name == {}
    (mismatch,) = found.mismatches
    assert mismatch == (
        "bootstrap at http://h1:2380 from DNS for etcd-server has scheme mismatch "
        "with expected peer https://10.0.0.1:2380"
    )


def test_two_records_of_one_member_are_two_urls_of_it() -> None:
    first, second = URL.parse("http://10.0.0.1:1"), URL.parse("http://10.0.0.1:2")
    found = members_of(
        "n1",
        {first: places("10.0.0.1:1"), second: places("10.0.0.1:2")},
        [target("http://h:1", "10.0.0.1:1"), target("http://h:2", "10.0.0.1:2")],
    )
    assert texts(found.by_name) == {"n1": ["http://h:1", "http://h:2"]}
    assert set(found.advertised) == {first, second}


@given(st.integers(1, 5), st.integers(0, 4), st.sampled_from(["n", "0", "3"]))
def test_all_members_agree_on_the_urls(count: int, own: int, name: str) -> None:
    own %= count
    targets = [target(f"http://h{n}:2380", f"10.0.0.{n}:2380") for n in range(count)]
    mine = URL.parse(f"http://10.0.0.{own}:2380")
    found = members_of(name, {mine: places(mine.authority)}, targets)
    assert len(found.by_name) == count
    assert {url for (url,) in found.by_name.values()} == {each.url for each in targets}
    assert found.by_name[name] == (targets[own].url,)
