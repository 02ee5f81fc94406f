"""Calls from any thread to a server in another, held against the contract of the client's seam."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

import pykvd
from pykvd.client.transport import CallError
from pykvd.embedded.door import Door, ForkedError
from pykvd.embedded.thread_transport import ThreadTransport
from pykvd.pb import rpc_pb2 as rpc
from pykvd.pb import v3lock_pb2 as lock_pb
from pykvd.status import Code
from tests.harness import wait_until
from tests.integration.embedding.requests import PUT, RANGE, WATCH, put, revision, soon, watch


@pytest.fixture
def server() -> Iterator[pykvd.BackgroundServer]:
    with pykvd.serve() as server:
        yield server


@pytest.fixture
def transport(server: pykvd.BackgroundServer) -> Iterator[ThreadTransport]:
    transport = server.transport()
    yield transport
    transport.close()


def test_a_call_is_answered(transport: ThreadTransport) -> None:
    assert revision(transport.unary(PUT, put(), soon(), ())) == 2
    assert revision(transport.unary(PUT, put(), soon(), ())) == 3


def over_the_wire(endpoint: str, path: str, request: bytes) -> tuple[int, str | None]:
    with grpc.insecure_channel(endpoint) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(path, request_serializer=bytes)(request, timeout=20)
    return caught.value.code().value[0], caught.value.details()


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        (PUT, put(key=b"")),
        (PUT, put(value=bytes(2_000_000))),
        (PUT, put(value=bytes(3_000_000))),
        (RANGE, rpc.RangeRequest(key=b"k", revision=99).SerializeToString()),
        (PUT, b"\xff\xff\xff"),
        ("/etcdserverpb.KV/Nothing", b""),
    ],
    ids=["no key", "too large", "larger than a message", "future", "no protobuf", "no method"],
)
def test_failures_are_those_of_the_network(
    server: pykvd.BackgroundServer, transport: ThreadTransport, path: str, request_: bytes
) -> None:
    with pytest.raises(CallError) as caught:
        transport.unary(path, request_, soon(), ())
    assert (caught.value.code, caught.value.message) == over_the_wire(
        server.endpoint, path, request_
    )


def test_calls_of_many_threads(transport: ThreadTransport) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = pool.map(lambda _: transport.unary(PUT, put(), soon(), ()), range(200))
        assert sorted(map(revision, replies)) == list(range(2, 202))


def test_a_deadline_ends_a_call_that_hangs() -> None:
    with pykvd.serve_cluster(1) as cluster:
        member = cluster[0]
        transport = member.transport()
        member.pause()
        with pytest.raises(CallError) as caught:
            transport.unary(PUT, put(), time.monotonic() + 0.05, ())
        member.resume()
        assert (caught.value.code, caught.value.sent) == (Code.DEADLINE_EXCEEDED, True)
        # What was given up before the server looked at it is not carried out.
        assert revision(transport.unary(PUT, put(), soon(), ())) == 2


def test_a_deadline_that_has_passed(transport: ThreadTransport) -> None:
    with pytest.raises(CallError) as caught:
        transport.unary(PUT, put(), time.monotonic(), ())
    assert (caught.value.code, caught.value.sent) == (Code.DEADLINE_EXCEEDED, False)
    assert revision(transport.unary(PUT, put(), soon(), ())) == 2


def test_a_watch(transport: ThreadTransport) -> None:
    stream = transport.stream(WATCH, soon(), ())
    stream.send(watch())
    created = stream.receive(soon())
    assert created is not None
    assert rpc.WatchResponse.FromString(created).created
    with pytest.raises(TimeoutError):
        stream.receive(time.monotonic() + 0.01)
    transport.unary(PUT, put(value=b"new"), soon(), ())
    told = stream.receive(soon())
    assert told is not None
    assert [event.kv.value for event in rpc.WatchResponse.FromString(told).events] == [b"new"]
    stream.close()
    for _ in range(2):
        with pytest.raises(CallError) as caught:
            stream.receive(soon())
        assert caught.value.code == Code.CANCELLED


def test_closing_a_stream_wakes_who_receives(transport: ThreadTransport) -> None:
    stream = transport.stream(WATCH, soon(), ())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(stream.receive)
        stream.close()
        with pytest.raises(CallError, match="CANCELLED"):
            waiting.result(20)


def test_a_stream_of_an_unknown_method(transport: ThreadTransport) -> None:
    stream = transport.stream("/etcdserverpb.Watch/Nothing", soon(), ())
    with pytest.raises(CallError, match="UNIMPLEMENTED: unknown method Nothing"):
        stream.receive(soon())


def test_a_message_that_cannot_be_read_ends_the_stream(transport: ThreadTransport) -> None:
    stream = transport.stream(WATCH, soon(), ())
    stream.send(watch())
    stream.receive(soon())
    stream.send(b"\xff\xff\xff")
    with pytest.raises(CallError):
        stream.receive(soon())
    # A write finds nobody to tell, and the end stays the end.
    transport.unary(PUT, put(), soon(), ())
    with pytest.raises(CallError):
        stream.receive(soon())


def test_a_reader_that_stops_is_bounded(transport: ThreadTransport) -> None:
    """The server holds back a slow watcher's events and gives all of them in the end."""
    stream = transport.stream(WATCH, soon(), ())
    stream.send(watch())
    stream.receive(soon())
    size, count = 1 << 20, 12
    for _ in range(count):
        transport.unary(PUT, put(value=bytes(size)), soon(), ())
    waiting = stream.heard.qsize()
    assert waiting < count
    seen = 0
    while seen < count:
        message = stream.receive(soon())
        assert message is not None
        seen += len(rpc.WatchResponse.FromString(message).events)


def test_a_closed_transport(transport: ThreadTransport) -> None:
    stream = transport.stream(WATCH, soon(), ())
    transport.close()
    transport.close()
    with pytest.raises(CallError, match="CANCELLED") as caught:
        transport.unary(PUT, put(), soon(), ())
    assert not caught.value.sent
    with pytest.raises(CallError, match="CANCELLED"):
        transport.stream(WATCH, soon(), ())
    with pytest.raises(CallError, match="CANCELLED"):
        stream.receive(soon())


def test_a_server_that_stops_and_comes_back(
    server: pykvd.BackgroundServer, transport: ThreadTransport
) -> None:
    stream = transport.stream(WATCH, soon(), ())
    stream.send(watch())
    stream.receive(soon())
    server.stop()
    with pytest.raises(CallError, match="UNAVAILABLE: etcdserver: server stopped"):
        stream.receive(soon())
    with pytest.raises(CallError, match="UNAVAILABLE") as caught:
        transport.unary(PUT, put(), soon(), ())
    assert not caught.value.sent
    server.start()
    assert revision(transport.unary(PUT, put(), soon(), ())) == 2


def test_calls_while_the_server_stops_all_end(server: pykvd.BackgroundServer) -> None:
    """Nobody is left waiting, whenever the stop comes."""
    transport = server.transport()
    stopping = threading.Event()

    def call_on() -> tuple[int, int]:
        done = 0
        while True:
            try:
                transport.unary(PUT, put(), soon(), ())
            except CallError as error:
                return done, error.code
            done += 1
            if done == 5:
                stopping.set()

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(call_on) for _ in range(4)]
        assert stopping.wait(20)
        server.stop()
        started = time.monotonic()
        ends = [caller.result(20) for caller in callers]
    assert max(done for done, _ in ends) >= 5
    assert {code for _, code in ends} == {Code.UNAVAILABLE}
    assert time.monotonic() - started < 10, "somebody waited for the deadline"


def test_a_call_that_waits_for_others_ends_with_the_server(server: pykvd.BackgroundServer) -> None:
    """A second owner of a lock waits without end; nobody but the door can tell it."""
    transport = server.transport()
    path, request = "/v3lockpb.Lock/Lock", lock_pb.LockRequest(name=b"l").SerializeToString()
    transport.unary(path, request, soon(), ())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(transport.unary, path, request, soon(), ())
        keys = rpc.RangeRequest(key=b"l/", range_end=b"l0", count_only=True).SerializeToString()
        wait_until(
            lambda: (
                rpc.RangeResponse.FromString(transport.unary(RANGE, keys, soon(), ())).count == 2
            ),
            "the second to wait",
        )
        server.stop()
        with pytest.raises(CallError, match="UNAVAILABLE"):
            waiting.result(5)


def test_the_servers_own_thread_is_told(server: pykvd.BackgroundServer) -> None:
    transport = server.transport()
    door = server.door
    assert isinstance(door, Door)
    told: list[BaseException] = []

    def call() -> None:
        try:
            transport.unary(PUT, put(), soon(), ())
        except RuntimeError as error:
            told.append(error)

    assert door.post(call)
    wait_until(lambda: bool(told), "the refusal")
    assert "own thread" in str(told[0])


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_is_told(server: pykvd.BackgroundServer, transport: ThreadTransport) -> None:
    transport.unary(PUT, put(), soon(), ())
    child = os.fork()
    if child == 0:
        status = 1
        try:
            transport.unary(PUT, put(), soon(), ())
        except ForkedError as error:
            status = 0 if f"runs in process {os.getppid()}" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert revision(transport.unary(PUT, put(), soon(), ())) == 3
