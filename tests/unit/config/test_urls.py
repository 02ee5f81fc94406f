"""Addresses and lists of them."""

import re

import pytest

from pykvd.config.urls import (
    URL,
    check_bindable,
    check_reachable,
    format_urls,
    parse_members,
    parse_urls,
)


@pytest.mark.parametrize(
    ("text", "host", "port", "secure"),
    [
        ("http://127.0.0.1:2379", "127.0.0.1", 2379, False),
        ("HTTP://127.0.0.1:2379", "127.0.0.1", 2379, False),
        ("https://[::1]:2379", "::1", 2379, True),
        ("http://:2379", "", 2379, False),
        ("http://node-1.example:0", "node-1.example", 0, False),
    ],
)
def test_tcp(text: str, host: str, port: int, secure: bool) -> None:
    url = URL.parse(text)
    assert (url.host, url.port, url.is_secure, url.is_unix) == (host, port, secure, False)


@pytest.mark.parametrize(
    ("text", "path", "secure"),
    [
        ("unix://localhost:23790", "localhost:23790", False),
        ("unix:///run/pykvd.sock", "/run/pykvd.sock", False),
        ("unixs://run/pykvd.sock", "run/pykvd.sock", True),
    ],
)
def test_unix(text: str, path: str, secure: bool) -> None:
    url = URL.parse(text)
    assert (url.socket_path, url.port, url.is_secure, url.is_unix) == (path, None, secure, True)
    assert str(url) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "127.0.0.1:2379",
            'parse "127.0.0.1:2379": first path segment in URL cannot contain colon',
        ),
        ("ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"),
        ("1.2.3.4", "URL scheme must be http, https, unix, or unixs: 1.2.3.4"),
        ("localhost:2379", "URL scheme must be http, https, unix, or unixs: localhost:2379"),
        ("http://1.2.3.4", 'URL address does not have the form "host:port": http://1.2.3.4'),
        ("http://::1:1", 'URL address does not have the form "host:port": http://::1:1'),
        ("http:a:1", 'URL address does not have the form "host:port": http:a:1'),
        ("http://1.2.3.4:1/", "URL must not contain a path: http://1.2.3.4:1/"),
        ("http://1.2.3.4:1/x", "URL must not contain a path: http://1.2.3.4:1/x"),
        ("http://h:abc", 'parse "http://h:abc": invalid port ":abc" after host'),
        ("http://h:65536", 'parse "http://h:65536": invalid port ":65536" after host'),
    ],
)
def test_wrong_url(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        URL.parse(text)


def test_list_is_trimmed_sorted_and_distinct() -> None:
    urls = parse_urls("http://b:2, http://a:1 ,http://b:2")
    assert format_urls(urls) == "http://a:1,http://b:2"
    assert parse_urls("") == ()


def test_members() -> None:
    members = parse_members(",b=http://b:2,,a=http://a:2,a=http://a:1,")
    assert {name: format_urls(urls) for name, urls in members.items()} == {
        "a": "http://a:1,http://a:2",
        "b": "http://b:2",
    }


@pytest.mark.parametrize("text", ["foo", "a=", "a=http://a:1,http://b:1"])
def test_members_need_urls(text: str) -> None:
    with pytest.raises(ValueError, match=r"URL scheme must be http, https, unix, or unixs: $"):
        parse_members(text)


def test_only_addresses_are_bound() -> None:
    check_bindable(parse_urls("http://0.0.0.0:1,http://[::]:1,http://localhost:1,unix:///s"))
    with pytest.raises(ValueError, match=r"^expected IP in URL for binding \(http://a.b:1\)$"):
        check_bindable(parse_urls("http://a.b:1"))


def test_advertised_addresses_have_a_host() -> None:
    check_reachable(parse_urls("http://a.b:1,unix:///s"), unix=True)
    with pytest.raises(ValueError, match=r"^unexpected empty host \(http://:1\)$"):
        check_reachable(parse_urls("http://:1"), unix=True)
    with pytest.raises(ValueError, match="missing port in address"):
        check_reachable(parse_urls("unix://s"), unix=False)
