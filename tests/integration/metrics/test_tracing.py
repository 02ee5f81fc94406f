"""Traces: who is sampled, what a span says, and that nothing is loaded where nobody asks."""

import asyncio
import contextlib
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import grpc.aio
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pykvd.config import ConfigError
from pykvd.embed import Server
from pykvd.pb import rpc_pb2 as rpc
from pykvd.tracing import CallTracer
from tests.integration.store.serving import config, connected

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"


@dataclass
class Traces:
    """Spans of the calls that went through."""

    provider: TracerProvider = field(default_factory=lambda: TracerProvider(shutdown_on_exit=False))
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def __post_init__(self) -> None:
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()


async def calls(
    directory: Path, traces: Traces, rate: int, *metadata: Mapping[str, str], key: bytes = b"k"
) -> None:
    """One Put and one Range for each metadata, on a server that traces."""
    server = Server(config(directory))
    async with server:
        assert server._upkeep
        assert server._listener
        tracer = CallTracer(traces.provider, rate, Random(7))
        dispatcher = server._listener._dispatcher
        dispatcher._unary = tracer.unary(dispatcher._unary)
        async with connected(server) as client:
            for each in metadata:
                put: Any = client.channel.unary_unary("/etcdserverpb.KV/Put")
                request = rpc.PutRequest(key=key).SerializeToString()
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await put(request, metadata=tuple(each.items()))
        tracer.close()


async def test_a_sampled_caller_is_the_parent(tmp_path: Path) -> None:
    traces = Traces()
    await calls(tmp_path, traces, 0, {"traceparent": SAMPLED}, {"traceparent": UNSAMPLED}, {})
    (span,) = traces.spans
    assert span.name == "etcdserverpb.KV/Put"
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert dict(span.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": "etcdserverpb.KV",
        "rpc.method": "Put",
        "rpc.grpc.status_code": 0,
    }


async def test_a_share_of_the_others_is_sampled(tmp_path: Path) -> None:
    traces = Traces()
    await calls(tmp_path, traces, 500_000, *[{}] * 40, {"traceparent": UNSAMPLED})
    assert 10 < len(traces.spans) < 30


async def test_a_failed_call_has_its_code(tmp_path: Path) -> None:
    traces = Traces()
    await calls(tmp_path, traces, 1_000_000, {}, key=b"")
    (span,) = traces.spans
    assert (span.attributes or {})["rpc.grpc.status_code"] == 3


def code_of(span: ReadableSpan) -> object:
    return (span.attributes or {})["rpc.grpc.status_code"]


async def test_streams_leave_one_span_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traces = Traces()
    monkeypatch.setattr("pykvd.tracing.make_provider", lambda _: traces.provider)
    server = Server(config(tmp_path, enable_distributed_tracing=True))
    sampled = (("traceparent", SAMPLED),)
    async with server, connected(server) as client:
        alive: Any = client.channel.stream_stream("/etcdserverpb.Lease/LeaseKeepAlive")
        ask = [rpc.LeaseKeepAliveRequest(ID=1).SerializeToString()] * 3
        assert len([each async for each in alive(ask, metadata=sampled)]) == 3
        assert len([each async for each in alive(ask)]) == 3
        watch: Any = client.channel.stream_stream("/etcdserverpb.Watch/Watch")
        stream = watch(metadata=sampled)
        create = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"k"))
        await stream.write(create.SerializeToString())
        await stream.read()
        stream.cancel()
        snapshot: Any = client.channel.unary_stream("/etcdserverpb.Maintenance/Snapshot")
        assert [each async for each in snapshot(b"", metadata=sampled)]

    spans = {span.name: code_of(span) for span in traces.spans}
    assert len(traces.spans) == 3
    assert spans == {
        "etcdserverpb.Lease/LeaseKeepAlive": 0,
        "etcdserverpb.Watch/Watch": grpc.StatusCode.CANCELLED.value[0],
        "etcdserverpb.Maintenance/Snapshot": 0,
    }


async def test_streams_of_the_gateway_are_traced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = Traces()
    monkeypatch.setattr("pykvd.tracing.make_provider", lambda _: traces.provider)
    server = Server(config(tmp_path, enable_distributed_tracing=True))
    async with server:
        headers = {"Grpc-Metadata-Traceparent": SAMPLED, "Grpc-Timeout": "20m"}
        for path, body in (("lease/keepalive", b'{"ID": 1}'), ("election/observe", b"{}")):
            url = f"http://{server.endpoint}/v3/{path}"
            request = urllib.request.Request(url, body, headers)
            with contextlib.suppress(urllib.error.HTTPError):
                await asyncio.to_thread(urllib.request.urlopen, request, timeout=10)
    assert {span.name: code_of(span) for span in traces.spans} == {
        "etcdserverpb.Lease/LeaseKeepAlive": 0,
        "v3electionpb.Election/Observe": grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
    }


async def test_a_server_with_tracing_serves_though_nobody_collects(tmp_path: Path) -> None:
    options = config(
        tmp_path,
        enable_distributed_tracing=True,
        distributed_tracing_address="127.0.0.1:1",
        distributed_tracing_sampling_rate=1_000_000,
    )
    server = Server(options)
    async with server, connected(server) as client:
        await client.put(b"k")
        await asyncio.wait_for(client.status(), 5)
    # One that goes on would take random numbers, which other tests have laid down.
    names = {thread.name for thread in threading.enumerate()}
    assert not {name for name in names if name.startswith(("Otel", "pykvd-last-spans"))}


def test_nothing_is_loaded_where_nobody_asks() -> None:
    program = (
        "import sys, pykvd.embed;"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


async def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    server = Server(config(tmp_path, enable_distributed_tracing=True))
    with pytest.raises(ConfigError, match=r"pip install 'pykvd\[tracing\]'"):
        await server.start()
