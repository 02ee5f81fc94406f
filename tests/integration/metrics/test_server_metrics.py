"""What a server tells: calls by code, versions of clients, health, timing; through /metrics too."""

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pykvd.embed import Server
from pykvd.logs import open_log
from pykvd.metrics import Metrics
from pykvd.pb import rpc_pb2 as rpc
from tests.integration.store.serving import config, connected, eventually, serving

Labels = frozenset[tuple[str, str]]


def read(metrics: Metrics | None) -> dict[tuple[str, Labels], float]:
    """All samples by name and labels."""
    assert metrics
    return parse(metrics.render().decode())


def parse(text: str) -> dict[tuple[str, Labels], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


KINDS = {
    "Watch": "bidi_stream",
    "LeaseKeepAlive": "bidi_stream",
    "Snapshot": "server_stream",
    "Observe": "server_stream",
}


def about(service: str, method: str, **more: str) -> Labels:
    kind = KINDS.get(method, "unary")
    names = {"grpc_service": service, "grpc_method": method, "grpc_type": kind}
    return frozenset({**names, **more}.items())


async def test_calls_are_counted_by_method_and_code(tmp_path: Path) -> None:
    server = Server(config(tmp_path))
    async with server, connected(server) as client:
        before = read(server.metrics)
        put = about("etcdserverpb.KV", "Put")
        assert before["grpc_server_started_total", put] == 0
        refused = about("etcdserverpb.KV", "Put", grpc_code="InvalidArgument")
        for number in range(3):
            await client.put(b"%d" % number)
        with pytest.raises(grpc.aio.AioRpcError):
            await client.put(b"")
        after = read(server.metrics)
        assert after["grpc_server_started_total", put] == 4
        assert after["grpc_server_msg_received_total", put] == 4
        assert after["grpc_server_msg_sent_total", put] == 3
        ok = about("etcdserverpb.KV", "Put", grpc_code="OK")
        assert after["grpc_server_handled_total", ok] == 3
        assert before["grpc_server_handled_total", refused] == 0
        assert after["grpc_server_handled_total", refused] == 1
        assert after["etcd_mvcc_put_total", frozenset()] == 3
        assert after["etcd_server_apply_duration_seconds_count", applied("Put")] == 3
        assert not any(name.startswith("grpc_server_handling") for name, _ in after)


def applied(operation: str, success: str = "true") -> Labels:
    return frozenset({("version", "v3"), ("op", operation), ("success", success)})


async def test_streams_count_their_messages(tmp_path: Path) -> None:
    server = Server(config(tmp_path))
    async with server, connected(server) as client:
        watch = client.channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=rpc.WatchRequest.SerializeToString,
            response_deserializer=rpc.WatchResponse.FromString,
        )()
        create = rpc.WatchCreateRequest(key=b"k")
        await watch.write(rpc.WatchRequest(create_request=create))
        await watch.read()
        for _ in range(2):
            await client.put(b"k")
            await watch.read()
        during = read(server.metrics)
        name = about("etcdserverpb.Watch", "Watch")
        assert during["grpc_server_msg_received_total", name] == 1
        assert during["grpc_server_msg_sent_total", name] == 3
        assert during["etcd_debugging_mvcc_watch_stream_total", frozenset()] == 1
        assert during["etcd_debugging_mvcc_watcher_total", frozenset()] == 1
        assert during["etcd_debugging_mvcc_events_total", frozenset()] == 2
        watch.cancel()
        cancelled = ("grpc_server_handled_total", name | {("grpc_code", "Canceled")})
        deadline = asyncio.get_running_loop().time() + 10
        while not read(server.metrics)[cancelled]:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
        assert read(server.metrics)["etcd_debugging_mvcc_watch_stream_total", frozenset()] == 0


async def test_versions_of_clients_are_bounded(tmp_path: Path) -> None:
    server = Server(config(tmp_path))
    async with server, connected(server) as client:
        status: Any = client.channel.unary_unary("/etcdserverpb.Maintenance/Status")
        for number in range(40):
            await status(b"", metadata=(("client-api-version", f"3.{number}"),))
        found = {
            dict(labels)["client_api_version"]: value
            for (name, labels), value in read(server.metrics).items()
            if name == "etcd_server_client_requests_total" and ("type", "unary") in labels
        }
        assert found["3.0"] == 1
        assert sum(found.values()) == 40
        assert len(found) < 20
        assert found["unknown"] > 20


async def test_extensive_metrics_time_the_calls(tmp_path: Path) -> None:
    server = Server(config(tmp_path, metrics="extensive"))
    async with server, connected(server) as client:
        await client.put(b"k")
        await client.all()
        found = read(server.metrics)
        for method in ("Put", "Range"):
            name = about("etcdserverpb.KV", method)
            assert found["grpc_server_handling_seconds_count", name] == 1
            assert 0 < found["grpc_server_handling_seconds_sum", name] < 10


async def test_http_serves_them_and_counts_health(tmp_path: Path) -> None:
    server = Server(config(tmp_path))
    async with server, connected(server) as client:
        await client.put(b"k")
        base = f"http://{server.endpoint}"
        await asyncio.to_thread(fetch, f"{base}/health")
        text, kind = await asyncio.to_thread(fetch, f"{base}/metrics")
        assert kind == "text/plain; version=0.0.4; charset=utf-8"
        found = parse(text)
        assert found["etcd_mvcc_put_total", frozenset()] == 1
        assert "\netcd_server_health_success 1\n" in text
        # The parser gives every counter the suffix that this one of etcd's lacks.
        assert found["etcd_server_health_success_total", frozenset()] == 1


async def test_calls_through_the_gateway_count_too(tmp_path: Path) -> None:
    server = Server(config(tmp_path))
    async with server:
        base = f"http://{server.endpoint}/v3/kv"
        await asyncio.to_thread(fetch, f"{base}/put", b'{"key": "aw==", "value": "dg=="}')
        with pytest.raises(urllib.error.HTTPError):
            await asyncio.to_thread(fetch, f"{base}/put", b'{"value": "dg=="}')
        found = read(server.metrics)
        assert found["grpc_server_started_total", about("etcdserverpb.KV", "Put")] == 2
        for code in ("OK", "InvalidArgument"):
            name = about("etcdserverpb.KV", "Put", grpc_code=code)
            assert found["grpc_server_handled_total", name] == 1


async def test_streams_through_the_gateway_count_too(tmp_path: Path) -> None:
    server = Server(config(tmp_path, metrics="extensive"))
    async with server, connected(server) as client:
        await client.put(b"k", bytes(200_000))
        await client.grant(7, 60)
        base = f"http://{server.endpoint}/v3"
        alive = b'{"ID": 7}{"ID": 7}{"ID": 8}'
        await asyncio.to_thread(fetch, f"{base}/lease/keepalive", alive)
        await asyncio.to_thread(fetch, f"{base}/maintenance/snapshot", b"{}")
        await asyncio.to_thread(watch_once, f"{base}/watch", b'{"create_request": {"key": "aw=="}}')
        with pytest.raises(urllib.error.HTTPError):
            await asyncio.to_thread(fetch, f"{base}/election/observe", b'{"name": "bg=="}', "10m")
        keep = about("etcdserverpb.Lease", "LeaseKeepAlive")
        watch = about("etcdserverpb.Watch", "Watch")
        left = about("etcdserverpb.Watch", "Watch", grpc_code="Canceled")

        async def told() -> bool:
            return read(server.metrics)["grpc_server_handled_total", left] == 1

        await eventually(told, "the end of the watch")
        found = read(server.metrics)
        assert found["grpc_server_started_total", keep] == 1
        assert found["grpc_server_msg_received_total", keep] == 3
        assert found["grpc_server_msg_sent_total", keep] == 3
        assert found["grpc_server_handled_total", keep | {("grpc_code", "OK")}] == 1
        assert found["grpc_server_handling_seconds_count", keep] == 1
        assert found["grpc_server_msg_received_total", watch] == 1
        assert found["grpc_server_msg_sent_total", watch] == 1
        snapshot = about("etcdserverpb.Maintenance", "Snapshot")
        assert found["grpc_server_msg_sent_total", snapshot] > 200_000 / (32 << 10)
        late = about("v3electionpb.Election", "Observe", grpc_code="DeadlineExceeded")
        assert found["grpc_server_handled_total", late] == 1


def watch_once(url: str, body: bytes) -> None:
    """Leave after the first message."""
    with urllib.request.urlopen(url, body, timeout=10) as reply:
        reply.readline()


def fetch(url: str, body: bytes | None = None, timeout: str = "") -> tuple[str, str]:
    headers = {"Grpc-Timeout": timeout} if timeout else {}
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return reply.read().decode(), reply.headers["content-type"]


async def test_two_servers_of_a_process_keep_their_own(tmp_path: Path) -> None:
    one, two = Server(config(tmp_path / "1")), Server(config(tmp_path / "2"))
    async with one, two, connected(one) as client:
        await client.put(b"k")
        assert read(one.metrics)["etcd_mvcc_put_total", frozenset()] == 1
        assert read(two.metrics)["etcd_mvcc_put_total", frozenset()] == 0


SECRET = b"a value that must not be told"


async def test_slow_requests_are_logged_without_values(tmp_path: Path) -> None:
    path = tmp_path / "log"
    options = {"warning_apply_duration": 1e-9, "warning_unary_request_duration": 1e-9}
    with open_log(outputs=[str(path)]):
        async with serving(tmp_path / "data", **options) as client:
            await client.put(b"k", SECRET)
            await client.delete(b"k")
            await client.all()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    slow = [line for line in lines if line["msg"] == "apply request took too long"]
    assert {line["prefix"] for line in slow} >= {"", "read-only range "}
    (deletion,) = [line for line in slow if line["request"] == 'key:"k"']
    assert deletion["level"] == "warn"
    assert deletion["expected-duration"] == "1e-09s"
    assert float(deletion["took"].removesuffix("s")) > 0
    late = [line for line in lines if line["msg"] == "request stats"]
    put = next(line for line in late if line["response type"] == "Put")
    assert put["request content"] == f'key:"k" value_size:{len(SECRET)}'
    assert put["remote"].startswith("127.0.0.1:")
    assert set(put["steps"]) == {
        "waiting to be proposed",
        "replicating and syncing",
        "applying",
    }
    assert SECRET.decode() not in path.read_text()


async def test_lines_about_slow_requests_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open_log(outputs=[str(path)]):
        async with serving(tmp_path / "data", warning_apply_duration=1e-9) as client:
            for _ in range(200):
                await client.all()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    slow = [line for line in lines if line["msg"] == "apply request took too long"]
    assert 1 <= len(slow) < 150
