"""Servers that answer nonsense, or nothing: an error line and a status, never a traceback."""

import os
import random
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from pykvctl.catalog import CATALOG
from pykvd.pb import kv_pb2 as kvpb
from pykvd.pb import rpc_pb2 as rpc
from tests.harness import PYKVD, kind_from_environment, running
from tests.integration.pykvctl.conftest import environment
from tests.integration.pykvctl.runner import run_cli

SHORT = "--command-timeout=300ms"
# Commands that call no server, and those that go on until they are ended or take a minute.
LEFT_OUT = {
    *("completion", "help", "version", "verify", "migrate", "hashkv"),
    *("snapshot status", "snapshot restore", "watch", "exec-watch", "make-mirror"),
    *("lock", "elect", "lease keep-alive", "top", "check perf", "check datascale"),
}
Answer = Callable[[grpc.ServicerContext], Iterator[bytes]]


def random_bytes(_context: grpc.ServicerContext) -> Iterator[bytes]:
    yield random.Random(1).randbytes(40)


def an_empty_message(_context: grpc.ServicerContext) -> Iterator[bytes]:
    yield b""


def no_message(_context: grpc.ServicerContext) -> Iterator[bytes]:
    yield from ()


def watches_nobody_asked_for(_context: grpc.ServicerContext) -> Iterator[bytes]:
    # One is created; of a unary answer it is a field that nobody knows.
    yield rpc.WatchResponse(created=True).SerializeToString()


def an_odd_status(context: grpc.ServicerContext) -> Iterator[bytes]:
    context.abort(grpc.StatusCode.DATA_LOSS, "odd \x01 text\nof lines \xfc")


def a_stale_token(context: grpc.ServicerContext) -> Iterator[bytes]:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")


class Handler(grpc.GenericRpcHandler):
    """Answers every call alike."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """A stream fits all kinds of calls; those of watches are answered twice."""
        times = 2 if details.method.endswith("/Watch") else 1

        def answer(_requests: object, context: grpc.ServicerContext) -> Iterator[bytes]:
            for _ in range(times):
                yield from self._answer(context)

        return grpc.stream_stream_rpc_method_handler(answer)


@pytest.fixture(
    params=[
        random_bytes,
        an_empty_message,
        no_message,
        watches_nobody_asked_for,
        an_odd_status,
        a_stale_token,
    ],
    ids=lambda answer: answer.__name__,
)
def endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(8), handlers=[Handler(request.param)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_nonsense(
    endpoint: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    for name, entry in CATALOG.items():
        if name in LEFT_OUT:
            continue
        words = shlex.split(entry.example)
        words = words[words.index("pykvctl") + 1 :]
        stdin = b"\n\nput k v\n\n" if name == "txn" else b"password\npassword\n"
        out, err, status = run_cli([SHORT, *words], {"ETCDCTL_ENDPOINTS": endpoint}, stdin)
        assert status in {*range(6), 128}, name
        assert status == 0 or out or err, name


def test_servers_that_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is stopped takes connections and says nothing."""
    monkeypatch.chdir(tmp_path)
    with running(kind_from_environment("PYKVCTL_TEST_SERVER", PYKVD)) as server:
        environ = environment(server)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            for words in (
                ["get", "k"],
                ["tree"],
                ["ls"],
                ["cluster-health"],
                ["endpoint", "health"],
            ):
                assert run_cli([SHORT, "--dial-timeout=300ms", *words], environ)[2] != 0
        finally:
            os.kill(server.pid, signal.SIGCONT)


def test_watches_that_say_nothing() -> None:
    """The key is told, its history is not: there is a limit to waiting for that, too."""
    ended = threading.Event()
    pair = kvpb.KeyValue(key=b"k", mod_revision=5, create_revision=2, version=2)
    found = rpc.RangeResponse(header=rpc.ResponseHeader(revision=5), kvs=[pair], count=1)

    class Silent(grpc.GenericRpcHandler):
        """Answers a Range and no Watch."""

        def service(
            self, details: grpc.HandlerCallDetails
        ) -> "grpc.RpcMethodHandler[bytes, bytes]":
            def answer(_requests: object, _context: object) -> Iterator[bytes]:
                if details.method.endswith("/Watch"):
                    ended.wait()
                yield found.SerializeToString()

            return grpc.stream_stream_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(8), handlers=[Silent()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        environ = {"ETCDCTL_ENDPOINTS": f"127.0.0.1:{port}"}
        out, err, status = run_cli([SHORT, "history", "k"], environ)
    finally:
        ended.set()
        server.stop(None)
    assert (out, err, status) == (b"", b"Error: context deadline exceeded\n", 1)
