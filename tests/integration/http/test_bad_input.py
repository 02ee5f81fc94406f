"""Bad input of every kind: the right status, a JSON error, and the gRPC side never notices."""

import json
from collections.abc import Iterator

import pytest

from pykvd.pb import rpc_pb2 as rpc
from tests.harness import Client, Server, WatchStream
from tests.harness.methods import PUT
from tests.integration.http.serving import Connection, call, get

WAITS_FOR_100 = (
    b"PUT /v3 HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n"
)


@pytest.fixture(scope="module")
def bystander(server: Server) -> Iterator[Client]:
    """A gRPC client whose connection and watch are there all the time."""
    with Client(server.endpoint) as client, WatchStream(client) as stream:
        watch = stream.create(rpc.WatchCreateRequest(key=b"bystander"))
        yield client
        client.call(PUT, rpc.PutRequest(key=b"bystander"))
        stream.wait(lambda: bool(stream.events(watch.watch_id)), "the watch to go on")
        assert stream.failure is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "syntax error (line 1:2)"),
        (b"not json", "syntax error (line 1:1)"),
        (b"null", "invalid value for message field request: null"),
        (b"[]", "invalid value for message field request: []"),
        (b'"text"', "invalid value for message"),
        (b"\xff\xfe", "invalid UTF-8"),
        (b'{"key":5}', "invalid value for bytes field key: 5"),
        (b'{"key":"not base64!"}', 'invalid value for bytes field key: "not base64!"'),
        (b'{"key":"YQ==","lease":"abc"}', 'invalid value for int64 field lease: "abc"'),
        (b'{"key":"YQ==","lease":1.5}', "invalid value for int64 field lease"),
        (b'{"key":"YQ==","prev_kv":"yes"}', 'invalid value for bool field prev_kv: "yes"'),
        (b'{"key":"YQ==","key":"YQ=="}', 'duplicate field "key"'),
        (b"[" * 60_000, "proto: "),
        (b'{"a":' * 60_000, "proto: "),
        (b"", "etcdserver: key is not provided"),
        (b"{}", "etcdserver: key is not provided"),
    ],
)
@pytest.mark.usefixtures("bystander")
def test_bodies(server: Server, body: bytes, text: str) -> None:
    with Connection(server.endpoint) as connection:
        answer = connection.request("POST", "/v3/kv/put", body)
        assert (answer.status, answer.json["code"]) == (400, 3)
        assert answer.headers["content-type"] == "application/json"
        assert text in answer.json["message"]
        assert answer.json["error"] == answer.json["message"]
        assert connection.request("GET", "/health").status == 200


@pytest.mark.parametrize(
    "body", [b"{", b"not json", b'{"create_request":{}}\n{', b'{"create_request":5}']
)
@pytest.mark.usefixtures("bystander")
def test_bodies_of_streams(server: Server, body: bytes) -> None:
    with Connection(server.endpoint) as connection:
        answer = connection.request("POST", "/v3/watch", body)
        assert (answer.status, answer.json["code"]) == (400, 3)


@pytest.mark.usefixtures("bystander")
def test_unknown_fields_are_ignored(server: Server) -> None:
    body = {"key": "YQ==", "nope": [1, {"deep": None}]}
    assert call(server.endpoint, "/v3/kv/put", body).status == 200


@pytest.mark.usefixtures("bystander")
def test_text_after_the_first_value_is_ignored(server: Server) -> None:
    with Connection(server.endpoint) as connection:
        assert connection.request("POST", "/v3/kv/put", b'{"key":"YQ=="} rest').status == 200


@pytest.mark.parametrize("path", ["/v3/", "/v3/nope", "/v3/kv", "/v3/kv/put/", "/v3beta/kv/x"])
@pytest.mark.usefixtures("bystander")
def test_unknown_paths(server: Server, path: str) -> None:
    answer = call(server.endpoint, path, {})
    assert (answer.status, answer.json["code"], answer.json["message"]) == (404, 5, "Not Found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "BREW"])
@pytest.mark.usefixtures("bystander")
def test_wrong_methods(server: Server, method: str) -> None:
    with Connection(server.endpoint) as connection:
        answer = connection.request(method, "/v3/kv/put", b'{"key":"YQ=="}')
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        if method != "HEAD":
            assert answer.json["message"] == "Method Not Allowed"
        assert connection.request("GET", "/health").status == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/3.7\r\nHost: h\r\n\r\n", 505),
        (b"GET /health\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: h\r\nX: " + bytes(8) + b"\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 70_000, 431),
        (b"POST /v3/kv/put HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /v3/kv/put HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n", 429),
        (b"POST /health HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n", 413),
        (WAITS_FOR_100, 429),
        (b"POST /v3/kv/put HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", 400),
        (b"POST /v3/kv/put HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: rot13\r\n\r\n", 501),
    ],
)
@pytest.mark.usefixtures("bystander")
def test_what_is_no_request(server: Server, request_: bytes, status: int) -> None:
    with Connection(server.endpoint) as connection:
        connection.send(request_)
        answer = connection.answer()
        assert answer.status == status
        assert answer.headers["connection"] == "close"
        assert isinstance(answer.json["message"], str)
        assert connection.rest() == b""


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        bytes(1000),
        b"\r\n\r\n\r\n\r\n\x00",
    ],
)
@pytest.mark.usefixtures("bystander")
def test_other_protocols_are_closed_without_a_word(server: Server, noise: bytes) -> None:
    with Connection(server.endpoint) as connection:
        connection.send(noise)
        connection.finish_sending()
        assert connection.rest() == b""


@pytest.mark.usefixtures("bystander")
def test_half_closed_sockets_are_answered(server: Server) -> None:
    body = b'{"key":"YQ==","value":"YQ=="}'
    with Connection(server.endpoint) as connection:
        head = f"POST /v3/kv/put HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.send(head.encode() + body)
        connection.finish_sending()
        answer = connection.answer()
        assert answer.status == 200
        assert "header" in answer.json
        assert connection.rest() == b""


@pytest.mark.usefixtures("bystander")
def test_pipelining(server: Server) -> None:
    puts = [json.dumps({"key": "cGlwZQ==", "value": "YQ=="}).encode()] * 50
    sent = b"".join(
        b"POST /v3/kv/put HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(put), put)
        for put in puts
    )
    with Connection(server.endpoint) as connection:
        connection.send(sent + b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        revisions = [int(connection.answer().json["header"]["revision"]) for _ in puts]
        assert revisions == list(range(revisions[0], revisions[0] + len(puts)))
        assert connection.answer().json["health"] == "true"
        assert connection.rest() == b""


@pytest.mark.usefixtures("bystander")
def test_http_1_0(server: Server) -> None:
    body = b'{"create_request":{"key":"YQ=="}}'
    with Connection(server.endpoint) as connection:
        head = f"POST /v3/watch HTTP/1.0\r\nGrpc-Timeout: 200m\r\nContent-Length: {len(body)}\r\n"
        connection.send(head.encode() + b"\r\n" + body)
        answer = connection.answer()
        assert answer.status == 200
        assert "transfer-encoding" not in answer.headers
        assert len(answer.body.splitlines()) == 2
        assert connection.rest() == b""


@pytest.mark.usefixtures("bystander")
def test_wrong_headers(server: Server) -> None:
    answer = call(
        server.endpoint,
        "/v3/kv/range",
        {"key": "YQ=="},
        Grpc_Metadata_thing_bin="!",
        Authorization="x",
    )
    assert answer.status in {200, 400}
    assert get(server.endpoint, "/health", Accept="application/grpc").status == 200


@pytest.mark.usefixtures("bystander")
def test_a_grpc_path_over_http_1_is_not_found(server: Server) -> None:
    assert call(server.endpoint, "/etcdserverpb.KV/Range").status == 404
