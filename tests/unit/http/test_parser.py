"""Requests out of bytes, however they arrive, and bytes that are none."""

import itertools

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykvd.http.limits import HttpLimits
from pykvd.http.message import Head
from pykvd.http.parser import BadRequestError, RequestParser

LIMITS = HttpLimits(max_head_bytes=4096, max_body_bytes=2000)

CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

Parsed = tuple[str, str, dict[str, str], bytes]


def parse(*chunks: bytes, limits: HttpLimits = LIMITS) -> list[tuple[Head, bytes]]:
    parser = RequestParser(limits)
    found = []
    for chunk in chunks:
        parser.feed(chunk)
        while (request := parser.next()) is not None:
            found.append(request)
    return found


def simple(*chunks: bytes) -> list[Parsed]:
    return [(head.method, head.target, dict(head.headers), body) for head, body in parse(*chunks)]


def by_h11(data: bytes) -> list[Parsed]:
    """The same with a fresh h11 connection for each request: the oracle."""
    found: list[Parsed] = []
    while data:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(data)
        head, body = connection.next_event(), b""
        assert isinstance(head, h11.Request)
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage)
        headers = {name.decode(): value.decode() for name, value in head.headers}
        headers.pop("content-length", None)
        found.append((head.method.decode(), head.target.decode(), headers, body))
        data = bytes(connection.trailing_data[0])
    return found


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(["GET", "POST", "PUT", "OPTIONS"]))
    path = draw(st.sampled_from(["/", "/v3/kv/put", "/health?verbose", "/a%20b"]))
    body = draw(st.binary(max_size=60))
    head = f"{method} {path} HTTP/1.1\r\nHost: h\r\n".encode()
    for number in range(draw(st.integers(0, 2))):
        head += b"X-%d: %d\r\n" % (number, draw(st.integers(0, 3)))
    if draw(st.booleans()):
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        cut = draw(st.integers(0, len(body)))
        for part in (body[:cut], body[cut:]):
            if part:
                head += b"%x\r\n%b\r\n" % (len(part), part)
        return head + b"0\r\n\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


@given(st.lists(requests(), min_size=1, max_size=5), st.lists(st.integers(0, 900), max_size=8))
def test_any_division_of_the_bytes_gives_the_same_requests(
    sent: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(sent)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    chunks = [data[start:stop] for start, stop in itertools.pairwise(places)]
    assert simple(*chunks) == by_h11(data)


def test_a_head_that_was_seen_before_is_read_alike() -> None:
    request = b"POST /again HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    first, second = parse(request, request.replace(b"abc", b"xyz"))
    assert first[0] is second[0]
    assert (first[1], second[1]) == (b"abc", b"xyz")


def test_the_length_of_a_known_head_may_differ() -> None:
    request = b"POST /length HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
    sent = [b"", b"abc", b"x" * 1234]
    found = parse(*[request % len(body) + body for body in sent])
    assert [body for _, body in found] == sent
    assert found[0][0] is found[1][0] is found[2][0]


@pytest.mark.parametrize("length", [b"", b"+3", b"3 3", b"0x3", b"-3", b"3\r\nContent-Length: 4"])
def test_a_length_that_is_none_is_refused_although_the_head_is_known(length: bytes) -> None:
    request = b"POST /odd HTTP/1.1\r\nHost: h\r\nContent-Length: %b\r\n\r\nabc"
    assert parse(request % b"3")
    with pytest.raises(BadRequestError):
        parse(request % length)


def test_a_second_length_in_an_unusual_spelling_is_seen() -> None:
    head = b"POST /two HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nCONTENT-LENGTH: 3\r\n\r\nabc"
    assert parse(head % 3)
    with pytest.raises(BadRequestError):
        parse(head % 2)


def test_the_tail_of_one_head_is_never_taken_for_another_head() -> None:
    """What stands in a header of one client must not decide how another's request is read."""
    victim = b"GET /victim HTTP/1.1\r\nHost: h\r\n\r\n"
    assert len(parse(b"GET /victim HTTP/1.1\r\nAuthorization: x", victim)) == 1
    ((head, _),) = parse(victim)
    assert "authorization" not in head.headers


def test_heads_with_bare_line_feeds_are_not_remembered() -> None:
    request = b"POST /lf HTTP/1.1\r\nContent-Length: 7\r\nHost: h\n\nab\r\n\r\nc"
    first, second = parse(request, request)
    assert first[0] is not second[0]
    assert first[1] == second[1] == b"ab\r\n\r\nc"


def test_paths_are_decoded_and_absolute_targets_are_cut() -> None:
    ((head, _),) = parse(b"GET http://other/a%2Fb?x=1&y HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (head.path, head.query) == ("/a/b", "x=1&y")
    assert head.parameters == {"x": ["1"], "y": [""]}


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        ("1.1", "", True),
        ("1.1", "close", False),
        ("1.1", "TE, Close", False),
        ("1.0", "", False),
        ("1.0", "Keep-Alive", True),
    ],
)
def test_keep_alive(version: str, connection: str, keep_alive: bool) -> None:
    line = f"Connection: {connection}\r\n" if connection else ""
    ((head, _),) = parse(f"GET / HTTP/{version}\r\nHost: h\r\n{line}\r\n".encode())
    assert head.keep_alive is keep_alive


def test_a_client_that_waits_for_100_is_told_once() -> None:
    parser = RequestParser(LIMITS)
    head = b"POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    for _ in range(2):  # the second time the head is known
        parser.feed(head)
        assert parser.next() is None
        assert parser.take_continue()
        parser.feed(b"ab")
        assert parser.next() is None
        assert not parser.take_continue()
        parser.feed(b"cd")
        request = parser.next()
        assert request
        assert request[1] == b"abcd"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        (b"GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nBad header: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2001\r\n\r\n", 413),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n7d1\r\n"
            + b"x" * 2001,
            413,
        ),
        (CHUNKED + b"1\r\nx\r\n" * 600, 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 5000, 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 5000 + b"\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_what_is_no_request(data: bytes, status: int) -> None:
    with pytest.raises(BadRequestError) as caught:
        parse(data)
    assert caught.value.status == status


@given(st.binary(max_size=300))
def test_noise_is_refused_or_awaits_more(data: bytes) -> None:
    try:
        found = parse(data)
    except BadRequestError:
        return
    assert found == []


def test_a_known_head_keeps_to_the_limits_of_its_server() -> None:
    request = b"POST /big HTTP/1.1\r\nHost: h\r\nContent-Length: 1500\r\n\r\n" + b"x" * 1500
    assert parse(request)
    with pytest.raises(BadRequestError):
        parse(request, limits=HttpLimits(max_body_bytes=100))
