"""The JSON gateway of a running server: families of calls, streams, headers, timeouts."""

import base64
import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from pykvd.pb import rpc_pb2 as rpc
from tests.harness import PYKVD, Client, Server, running
from tests.harness.methods import LEASES, PUT, RANGE
from tests.harness.wait import wait_until
from tests.integration.http.serving import Answer, Connection, call

MAX_REQUEST = 1_572_864


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def put(server: Server, key: bytes, value: bytes = b"v") -> int:
    answer = call(server.endpoint, "/v3/kv/put", {"key": b64(key), "value": b64(value)})
    return int(answer.json["header"]["revision"])


def metric(server: Server, name: str) -> float:
    """The value of a metric without labels."""
    with Connection(server.endpoint) as connection:
        page = connection.request("GET", "/metrics").body.decode()
    (line,) = [line for line in page.splitlines() if line.startswith(name + " ")]
    return float(line.split()[1])


class Watching:
    """A stream of the gateway, read a line at a time."""

    def __init__(self, server: Server, path: str, *requests: object) -> None:
        self._connection = Connection(server.endpoint)
        body = "\n".join(map(json.dumps, requests)).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
        self._connection.send(head.encode() + body)
        self.head = b""

    def next(self) -> Any:
        """The next message; the head of the answer comes with the first."""
        if not self.head:
            while not self.head.endswith(b"\r\n\r\n"):
                self.head += self._connection.line()
        size = int(self._connection.line(), 16)
        if not size:
            return None
        line = self._connection.line()
        assert len(line) == size
        assert line.endswith(b"\n")
        assert self._connection.line() == b"\r\n"
        return json.loads(line)

    def close(self) -> None:
        self._connection.close()


def test_put_range_delete(server: Server) -> None:
    first = call(server.endpoint, "/v3/kv/put", {"key": b64(b"f\xff"), "value": b64(b"one")})
    assert first.status == 200
    assert first.headers["content-type"] == "application/json"
    assert first.headers["grpc-metadata-content-type"] == "application/grpc"
    assert list(first.json) == ["header"]
    header = first.json["header"]
    assert list(header) == ["cluster_id", "member_id", "revision", "raft_term"]
    assert all(isinstance(value, str) for value in header.values())
    revision = int(header["revision"])
    kv = {
        "key": b64(b"f\xff"),
        "create_revision": str(revision),
        "mod_revision": str(revision),
        "version": "1",
        "value": b64(b"one"),
    }
    answer = call(server.endpoint, "/v3/kv/range", {"key": b64(b"f\xff")})
    assert (
        answer.body
        == json.dumps({"header": header, "kvs": [kv], "count": "1"}, separators=(",", ":")).encode()
    )
    deleted = call(server.endpoint, "/v3/kv/deleterange", {"key": b64(b"f\xff"), "prevKv": True})
    assert deleted.json["deleted"] == "1"
    assert deleted.json["prev_kvs"] == [kv]
    missing = call(server.endpoint, "/v3/kv/range", {"key": b64(b"f\xff")})
    assert list(missing.json) == ["header"]


def test_txn(server: Server) -> None:
    key = b64(b"txn")
    request = {
        "compare": [
            {"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": 0},
        ],
        "success": [{"requestPut": {"key": key, "value": b64(b"1")}}],
        "failure": [{"request_range": {"key": key}}],
    }
    first = call(server.endpoint, "/v3/kv/txn", request).json
    assert first["succeeded"] is True
    revision = first["header"]["revision"]
    assert first["responses"] == [{"response_put": {"header": {"revision": revision}}}]
    second = call(server.endpoint, "/v3/kv/txn", request).json
    assert "succeeded" not in second
    (response,) = second["responses"]
    assert response["response_range"]["count"] == "1"


@pytest.mark.parametrize(
    ("path", "body", "keys"),
    [
        ("maintenance/status", {}, {"header", "version", "dbSize", "leader", "raftIndex"}),
        ("maintenance/hash", {}, {"header", "hash"}),
        ("maintenance/hashkv", {}, {"header", "hash", "compact_revision", "hash_revision"}),
        ("maintenance/defragment", {}, set()),
        ("maintenance/alarm", {}, {"header"}),
        ("cluster/member/list", {}, {"header", "members"}),
        ("lease/leases", {}, {"header"}),
        ("lease/timetolive", {"ID": "424242"}, {"header", "ID", "TTL"}),
        ("kv/lease/timetolive", {"ID": 424242}, {"header", "ID", "TTL"}),
    ],
)
def test_other_families(server: Server, path: str, body: object, keys: set[str]) -> None:
    answer = call(server.endpoint, f"/v3/{path}", body)
    assert answer.status == 200
    assert answer.json.keys() >= keys
    if path == "maintenance/hash":
        assert isinstance(answer.json["hash"], int)


@pytest.mark.parametrize("prefix", ["/v3/", "/v3beta/", "/v3alpha/"])
def test_prefixes(server: Server, prefix: str) -> None:
    answer = call(server.endpoint, f"{prefix}lease/grant", {"TTL": "100", "ID": "0"})
    assert answer.json["TTL"] == "100"
    revoke = "kv/lease/revoke" if prefix == "/v3/" else "lease/revoke"
    answer = call(server.endpoint, prefix + revoke, {"ID": answer.json["ID"]})
    assert list(answer.json) == ["header"]


def test_an_empty_body_is_an_empty_message(server: Server) -> None:
    assert call(server.endpoint, "/v3/maintenance/status").status == 200
    answer = call(server.endpoint, "/v3/kv/put")
    assert answer.json["message"] == "etcdserver: key is not provided"


def test_watch(server: Server) -> None:
    revision = put(server, b"w", b"before")
    request = {"create_request": {"key": b64(b"w"), "start_revision": str(revision)}}
    watching = Watching(server, "/v3/watch", request)
    try:
        created = watching.next()["result"]
        assert created["created"] is True
        assert "watch_id" not in created
        assert b"Transfer-Encoding: chunked\r\n" in watching.head
        assert b"HTTP/1.1 200 OK\r\n" in watching.head
        (event,) = watching.next()["result"]["events"]
        assert "type" not in event
        assert event["kv"]["value"] == b64(b"before")
        put(server, b"w", b"after")
        (event,) = watching.next()["result"]["events"]
        assert event["kv"]["value"] == b64(b"after")
        call(server.endpoint, "/v3/kv/deleterange", {"key": b64(b"w")})
        (event,) = watching.next()["result"]["events"]
        assert event["type"] == "DELETE"
    finally:
        watching.close()


def test_watch_with_several_requests_in_the_body(server: Server) -> None:
    watching = Watching(
        server,
        "/v3/watch",
        {"create_request": {"key": b64(b"m1"), "watch_id": 7}},
        {"createRequest": {"key": b64(b"m2"), "watchId": "8"}},
        {"cancel_request": {"watch_id": 7}},
    )
    try:
        results = [watching.next()["result"] for _ in range(3)]
        assert [result["watch_id"] for result in results] == ["7", "8", "7"]
        assert [result.get("canceled") for result in results] == [None, None, True]
        put(server, b"m1")
        put(server, b"m2")
        assert watching.next()["result"]["watch_id"] == "8"
    finally:
        watching.close()


def test_watchers_of_clients_that_leave_are_forgotten(server: Server) -> None:
    def watchers() -> float:
        return metric(server, "etcd_debugging_mvcc_watcher_total")

    wait_until(lambda: watchers() == 0, "no watchers")
    watching = Watching(server, "/v3/watch", {"create_request": {"key": b64(b"gone")}})
    watching.next()
    assert watchers() == 1
    watching.close()
    wait_until(lambda: watchers() == 0, "the watcher to go")


def test_keepalive_ends_after_its_requests(server: Server) -> None:
    lease = call(server.endpoint, "/v3/lease/grant", {"TTL": 100}).json["ID"]
    stream = Watching(server, "/v3/lease/keepalive", {"ID": lease}, {"ID": lease}, {"ID": "99"})
    try:
        assert stream.next()["result"]["TTL"] == "100"
        assert stream.next()["result"]["ID"] == lease
        unknown = stream.next()["result"]
        assert unknown["ID"] == "99"
        assert "TTL" not in unknown
        assert stream.next() is None
    finally:
        stream.close()


def test_a_body_of_many_requests_waits_for_a_client_that_does_not_read(server: Server) -> None:
    """Others have their turn meanwhile, and the answers do not fill memory."""
    call(server.endpoint, "/v3/lease/grant", {"TTL": 1000, "ID": 4242})
    # Some 160 bytes of answer each: more than the kernel takes off the server's hands.
    buffers = Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()
    many = (int(buffers[-1]) + (2 << 20)) // 140
    before = metric(server, "etcd_debugging_lease_renewed_total")
    with Connection(server.endpoint, receive_buffer=1 << 16) as slow:
        body = b'{"ID":4242}' * many
        slow.send(
            b"POST /v3/lease/keepalive HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        assert slow.line() == b"HTTP/1.1 200 OK\r\n"
        put(server, b"meanwhile")
        assert metric(server, "etcd_debugging_lease_renewed_total") - before < many
        assert slow.rest().count(b'"TTL":"1000"') == many


def test_snapshot(server: Server) -> None:
    answer = call(server.endpoint, "/v3/maintenance/snapshot")
    lines = [json.loads(line)["result"] for line in answer.body.splitlines()]
    assert len(base64.b64decode(lines[-1]["blob"])) == 32
    assert "remaining_bytes" not in lines[-2]


def test_a_stream_that_fails_at_once_has_a_status(server: Server) -> None:
    answer = call(server.endpoint, "/v3/watch", {"create_request": {}}, Grpc_Timeout="soon")
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["error"]["code"] == answer.json["error"]["grpc_code"] == 3
    assert answer.json["error"]["http_code"] == 400
    assert answer.json["error"]["http_status"] == "Bad Request"


def test_deadlines(server: Server) -> None:
    answer = call(server.endpoint, "/v3/kv/put", {"key": b64(b"late")}, Grpc_Timeout="1n")
    assert answer.status in {200, 504}  # a put may be as fast
    if answer.status == 504:
        assert answer.json["message"] == "context deadline exceeded"
    bad = call(server.endpoint, "/v3/kv/put", {"key": b64(b"late")}, Grpc_Timeout="soon")
    assert (bad.status, bad.json["code"]) == (400, 3)
    assert call(server.endpoint, "/v3/kv/put", {"key": b64(b"l")}, Grpc_Timeout="5S").status == 200


def test_a_watch_ends_at_its_deadline(server: Server) -> None:
    answer = call(
        server.endpoint, "/v3/watch", {"create_request": {"key": b64(b"x")}}, Grpc_Timeout="200m"
    )
    assert answer.status == 200
    created, failed = (json.loads(line) for line in answer.body.splitlines())
    assert created["result"]["created"] is True
    assert failed["error"]["message"] == "context deadline exceeded"


def test_metadata(server: Server) -> None:
    fine = call(server.endpoint, "/v3/kv/range", {"key": b64(b"x")}, Grpc_Metadata_hasleader="true")
    assert fine.status == 200


def test_a_large_range_is_the_same_as_over_grpc(server: Server) -> None:
    with Client(server.endpoint) as client:
        for number in range(1000):
            client.call(PUT, rpc.PutRequest(key=b"big/%04d" % number, value=bytes(500)))
    answer = call(server.endpoint, "/v3/kv/range", {"key": b64(b"big/"), "range_end": b64(b"big0")})
    assert "transfer-encoding" in answer.headers
    assert answer.json["count"] == "1000"
    keys = [base64.b64decode(kv["key"]) for kv in answer.json["kvs"]]
    assert keys == [b"big/%04d" % number for number in range(1000)]
    assert all(base64.b64decode(kv["value"]) == bytes(500) for kv in answer.json["kvs"])


@pytest.mark.parametrize(
    ("size", "status", "code", "text"),
    [
        (MAX_REQUEST - 100, 200, None, None),
        (MAX_REQUEST, 400, 3, "etcdserver: request is too large"),
        (MAX_REQUEST + (512 << 10), 429, 8, "grpc: received message larger than max"),
        (4 * MAX_REQUEST, 429, 8, "request body is too large"),
    ],
)
def test_sizes(server: Server, size: int, status: int, code: int | None, text: str | None) -> None:
    answer = call(server.endpoint, "/v3/kv/put", {"key": b64(b"size"), "value": b64(bytes(size))})
    assert (answer.status, answer.json.get("code")) == (status, code)
    assert (text or "") in answer.json.get("message", "")


def test_many_clients_at_once(server: Server) -> None:
    """Answers do not get mixed up."""
    wrong: list[Answer] = []

    def work(number: int) -> None:
        with Connection(server.endpoint) as connection:
            for turn in range(20):
                value = f"{number}/{turn}".encode()
                body = {"key": b64(b"c%d" % number), "value": b64(value)}
                connection.request("POST", "/v3/kv/put", json.dumps(body).encode())
                request = json.dumps({"key": b64(b"c%d" % number)}).encode()
                answer = connection.request("POST", "/v3/kv/range", request)
                if answer.json["kvs"][0]["value"] != b64(value):
                    wrong.append(answer)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_expect_100_continue_as_curl_sends_it(server: Server) -> None:
    body = json.dumps({"key": b64(b"curl"), "value": b64(bytes(100_000))})
    command = ["curl", "-sS", "-m", "20", "-H", "Expect: 100-continue", "-d", "@-", "-v"]
    run = subprocess.run(
        [*command, f"{server.url}/v3/kv/put"],
        input=body.encode(),
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert b"HTTP/1.1 100 Continue" in run.stderr
    assert json.loads(run.stdout)["header"]


def test_stopping_ends_watches_with_an_error_line() -> None:
    with running(PYKVD) as server:
        watching = Watching(server, "/v3/watch", {"create_request": {"key": b64(b"w")}})
        watching.next()
        server.terminate()
        assert watching.next()["error"]["message"] == "etcdserver: server stopped"
        assert watching.next() is None
        watching.close()
        assert server.stop() == 0


def test_grpc_sees_what_the_gateway_wrote(server: Server) -> None:
    put(server, b"both", b"json")
    lease = call(server.endpoint, "/v3/lease/grant", {"TTL": 100}).json["ID"]
    with Client(server.endpoint) as client:
        found = client.call(RANGE, rpc.RangeRequest(key=b"both"))
        assert isinstance(found, rpc.RangeResponse)
        assert found.kvs[0].value == b"json"
        leases = client.call(LEASES, rpc.LeaseLeasesRequest())
        assert isinstance(leases, rpc.LeaseLeasesResponse)
        assert int(lease) in {found.ID for found in leases.leases}
