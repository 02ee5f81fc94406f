"""HTTP on HTTP/2 by a client that interleaves, resets and reads slowly."""

import base64
import json
import socket
import ssl
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from tests.harness import wait_until
from tests.harness.certificates import Authority
from tests.integration.tls.processes import SecureServer, key_flags, secure

CANCEL = 8


class Client:
    """One TLS connection, driven by the `h2` library; answers are gathered by stream."""

    def __init__(self, server: SecureServer, ca: Authority) -> None:
        context = ssl.create_default_context(cafile=str(ca.file))
        context.set_alpn_protocols(["h2", "http/1.1"])
        plain = socket.create_connection(("127.0.0.1", server.client_port), 15)
        self._socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.protocol = self._socket.selected_alpn_protocol()
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._flush()
        self.headers: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = defaultdict(bytes)
        self.ended: set[int] = set()

    def open(
        self, path: str, method: str = "POST", content_type: str = "", *, end: bool = False
    ) -> int:
        stream: int = self._h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "https"), (":path", path), (":authority", "h")]
        if content_type:
            fields.append(("content-type", content_type))
        self._h2.send_headers(stream, fields, end_stream=end)
        self._flush()
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        while self._h2.local_flow_control_window(stream) < len(data):
            self.read()
        self._h2.send_data(stream, data, end_stream=end)
        self._flush()

    def reset(self, stream: int) -> None:
        self._h2.reset_stream(stream, CANCEL)
        self._flush()

    def get(self, path: str) -> int:
        stream = self.open(path, "GET", end=True)
        self.until(stream)
        return int(self.headers[stream][":status"])

    def until(self, *streams: int) -> None:
        """Read until these streams have ended."""
        while not self.ended.issuperset(streams):
            self.read()

    def read(self) -> None:
        data = self._socket.recv(65536)
        assert data, "the connection was closed"
        for event in self._h2.receive_data(data):
            self._take(event)
        self._flush()

    def json(self, stream: int) -> Any:
        return json.loads(self.bodies[stream])

    def close(self) -> None:
        self._socket.close()

    def _take(self, event: Any) -> None:
        match event:
            case h2.events.ResponseReceived():
                self.headers[event.stream_id] = {str(n): str(v) for n, v in event.headers}
            case h2.events.DataReceived():
                self.bodies[event.stream_id] += event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)
            case h2.events.StreamReset():
                raise AssertionError(event)

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def server(ca: Authority) -> Iterator[SecureServer]:
    with secure(*key_flags(ca.issue("server"))) as server:
        yield server


@pytest.fixture
def client(server: SecureServer, ca: Authority) -> Iterator[Client]:
    client = Client(server, ca)
    assert client.protocol == "h2"
    yield client
    client.close()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_requests_side_by_side(client: Client) -> None:
    streams = [client.open("/v3/kv/put") for _ in range(50)]
    bodies = [json.dumps({"key": b64(b"k%d" % n), "value": b64(b"v")}).encode() for n in range(50)]
    for stream, body in zip(streams, bodies, strict=True):
        client.send(stream, body[:10])
    for stream, body in reversed(list(zip(streams, bodies, strict=True))):
        client.send(stream, body[10:], end=True)
    client.until(*streams)
    assert {client.headers[stream][":status"] for stream in streams} == {"200"}
    assert len({client.json(stream)["header"]["revision"] for stream in streams}) == 50


def test_a_request_given_up_half_way(client: Client) -> None:
    for _ in range(20):
        stream = client.open("/v3/kv/put")
        client.send(stream, b'{"key":')
        client.reset(stream)
    assert client.get("/health") == 200


def test_an_answer_larger_than_all_windows(client: Client) -> None:
    size = 300_000
    put = client.open("/v3/kv/put")
    body = json.dumps({"key": b64(b"big"), "value": b64(bytes(size))}).encode()
    for start in range(0, len(body), 16_000):
        client.send(put, body[start : start + 16_000], end=start + 16_000 >= len(body))
    ranged = client.open("/v3/kv/range")
    client.until(put)
    client.send(ranged, json.dumps({"key": b64(b"big")}).encode(), end=True)
    client.until(ranged)
    assert base64.b64decode(client.json(ranged)["kvs"][0]["value"]) == bytes(size)


def test_a_watch_ends_with_its_stream(client: Client) -> None:
    def watchers() -> float:
        stream = client.open("/metrics", "GET", end=True)
        client.until(stream)
        lines = client.bodies[stream].decode().splitlines()
        (line,) = [line for line in lines if line.startswith("etcd_debugging_mvcc_watcher_total ")]
        return float(line.split()[1])

    watch = client.open("/v3/watch")
    client.send(watch, json.dumps({"create_request": {"key": b64(b"w")}}).encode(), end=True)
    while not client.bodies[watch]:
        client.read()
    assert client.json(watch)["result"]["created"] is True
    assert watchers() == 1
    client.reset(watch)
    wait_until(lambda: watchers() == 0, "the watcher to go")


def test_bad_requests(client: Client) -> None:
    assert client.get("/nope") == 404
    assert client.get("//health") == 301
    stream = client.open("/v3/kv/put")
    client.send(stream, b"not json", end=True)
    client.until(stream)
    assert client.headers[stream][":status"] == "400"
    assert "syntax error" in client.json(stream)["message"]
    head = client.open("/v3/kv/put", "HEAD", end=True)
    client.until(head)
    assert (client.headers[head][":status"], client.bodies[head]) == ("405", b"")


def test_grpc_beside_it(client: Client) -> None:
    stream = client.open("/etcdserverpb.KV/Put", content_type="application/grpc")
    client.send(stream, b"\x00\x00\x00\x00\x03\x0a\x01k", end=True)
    client.until(stream)
    assert client.headers[stream]["content-type"] == "application/grpc"
    assert client.bodies[stream][:1] == b"\x00"
    assert client.get("/health") == 200
