"""Forks, exits, hung loops and servers that talk nonsense: what a client does not do even then."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from concurrent import futures
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from pykvd.client import AsyncClient, Client, EtcdError, LeaseNotFound, Unavailable
from tests.harness import Server, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.client.blocked import Making

PROMPT = 3.0
"""Seconds within which what has half a second of time has ended, even on a busy machine."""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program with the warnings that users see: Python hides those about what is not closed."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """The process does nothing meanwhile, and closes nothing."""
    threads = Path(f"/proc/{server.pid}/task")

    def still() -> bool:
        stats = [(thread / "stat").read_text() for thread in threads.iterdir()]
        return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

    os.kill(server.pid, signal.SIGSTOP)
    try:
        wait_until(still, "all threads to stop")
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


FORK = """
import os, sys
from pykvd.client import Client
client = Client(sys.argv[1])
watch, lease = client.watch("fork"), client.lease(30)
client.put("fork", "1")
if os.fork() == 0:
    # The child unwinds what its parent has opened.
    {child}
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
assert watch.get(timeout=10).value == b"1"
client.put("fork", "2")
assert watch.get(timeout=10).value == b"2"
connection = client._runner._transports[sys.argv[1]]._connection
assert connection.usable, "the parent's connection was ended"
lease.revoke()
client.close()
"""


@pytest.mark.parametrize("child", ["client.close()", "watch.close()", "client.__exit__()"])
def test_a_forked_child_does_not_touch_its_parents_connection(server: Server, child: str) -> None:
    done = run(FORK.format(child=child), server.endpoint)
    assert (done.returncode, done.stderr) == (0, "")


EXITS = {
    "open": "",
    "lease": "client.lease(30).keep_alive()",
    "waiting": """
threading.Thread(target=lambda: list(client.watch("exit")), daemon=True).start()
time.sleep(0.1)
""",
    "lock": "client.lock('exit').acquire()",
}


@pytest.mark.parametrize("doing", EXITS)
def test_the_interpreter_exits_quietly(server: Server, doing: str) -> None:
    program = "import sys, threading, time\nfrom pykvd.client import Client\n"
    program += f"client = Client(sys.argv[1])\nclient.get('k')\n{EXITS[doing]}"
    done = run(program, server.endpoint)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


ASYNC_EXIT = """
import asyncio, sys
from pykvd.client import AsyncClient
async def main():
    client = AsyncClient(sys.argv[1])
    await client.put("exit", "")
    watch = await client.watch("exit")
    waiting = asyncio.create_task(watch.get())
    lock = client.lock("async-exit")
    await lock.acquire()
    await asyncio.sleep(0.05)
asyncio.run(main())
"""


def test_a_loop_that_ends_under_a_client(server: Server) -> None:
    done = run(ASYNC_EXIT, server.endpoint)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """A gRPC server that answers everything with the same bytes."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
            if details.method.endswith(("/Watch", "/LeaseKeepAlive")):
                return grpc.stream_stream_rpc_method_handler(
                    lambda requests, _: (reply for _ in requests)
                )
            if details.method.endswith("/Snapshot"):
                return grpc.unary_stream_rpc_method_handler(lambda *_: iter([reply, reply]))
            return grpc.unary_unary_rpc_method_handler(lambda *_: reply)

    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


CALLS: dict[str, Callable[[Client], Any]] = {
    "get": lambda client: client.get("k"),
    "put": lambda client: client.put("k", "v"),
    "txn": lambda client: client.txn().commit(),
    "scan": lambda client: list(client.scan("k", prefix=True)),
    "watch": lambda client: client.watch("k", timeout=0.5, patience=0.5).get(timeout=0.5),
    "lease": lambda client: client.lease(10),
    "refresh": lambda client: client.lease(10).refresh(),
    "lock": lambda client: client.lock("k").acquire(timeout=0.5),
    "election": lambda client: client.election("k").campaign(timeout=0.5),
    "queue": lambda client: client.queue("k").get(timeout=0.5),
    "priority queue": lambda client: client.priority_queue("k").put("v", 1),
    "double barrier": lambda client: client.double_barrier("k", 2).enter(timeout=0.5),
    "members": lambda client: client.cluster.members(),
    "status": lambda client: client.maintenance.status(),
    "snapshot": lambda client: list(client.maintenance.snapshot()),
    "users": lambda client: client.auth.users(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("reply", [b"\xff\xff\xff", b"", b"\x08\x01" * 9], ids=repr)
def test_servers_that_talk_nonsense(make: Making, call: str, reply: bytes) -> None:
    with answering(reply) as endpoint:
        client = make(endpoint, timeout=1.0)
        try:
            CALLS[call](client)
        except (EtcdError, TimeoutError) as failure:
            if isinstance(failure, EtcdError) and call == "put":
                assert failure.maybe_applied  # noqa: PT017 - most calls take some of the replies
        else:
            assert reply != b"\xff\xff\xff"


@pytest.mark.parametrize("call", [*CALLS, "revoke", "stm", "barrier"])
def test_a_server_that_hangs(make: Making, own_server: Server, call: str) -> None:
    """Whatever is asked of it ends in time, as Unavailable."""
    client = make(own_server.endpoint, timeout=0.5)
    lease = client.lease(60)

    def nothing(_: object) -> None:
        raise AssertionError("what is read ahead was not read")

    calls: dict[str, Callable[[Client], Any]] = {
        **CALLS,
        "watch": lambda client: client.watch("k"),
        "revoke": lambda _: lease.revoke(),
        "stm": lambda client: client.stm(nothing, prefetch=["k"]),
        "barrier": lambda client: client.barrier("k").wait(timeout=0.5),
    }
    with stopped(own_server):
        start = time.monotonic()
        with pytest.raises(Unavailable):
            calls[call](client)
        assert time.monotonic() - start < PROMPT
    client.get("k", timeout=20)


@pytest.mark.parametrize("call", ["lock", "election", "queue", "barrier", "double barrier"])
def test_the_time_of_a_recipe_counts_not_that_of_the_client(
    make: Making, own_server: Server, call: str
) -> None:
    client = make(own_server.endpoint, timeout=30)
    client.get("k")
    calls: dict[str, Callable[[Client], Any]] = {
        **CALLS,
        "barrier": lambda client: client.barrier("k").wait(timeout=0.5),
    }
    with stopped(own_server):
        start = time.monotonic()
        with pytest.raises(Unavailable):
            calls[call](client)
        assert time.monotonic() - start < PROMPT


def test_a_lock_that_is_lost_while_it_is_held(
    make: Making, server: Server, client: Client, name: str
) -> None:
    other = make(server.endpoint)
    with client.lock(name, ttl=3) as lock:
        assert lock.locked
        lease = lock.lease
        assert lease is not None
        other.existing_lease(lease.id).revoke()
        with other.lock(name):
            assert not client.txn().when(lock.held()).commit()
            wait_until(lambda: not lease.alive, "the loss to be noticed", 10)
            assert not lock.locked
            with client.lock(name + "else"):
                pass
    assert lock.acquire(timeout=10)  # it can be taken again
    lock.release()


async def test_a_loop_that_is_blocked_longer_than_a_lease_lives(server: Server, name: str) -> None:
    with Client(server.endpoint) as other:
        async with AsyncClient(server.endpoint) as client:
            lease = await client.lease(2)
            lease.keep_alive()
            await client.put(name, "", lease=lease)
            wait_until(lambda: other.get(name) is None, "the lease to expire", 20)  # no await here
            async with asyncio.timeout(10):
                await lease.lost.wait()
            assert not lease.alive
            with pytest.raises(LeaseNotFound):
                await lease.refresh()
            async with client.lease(30) as another:
                assert another.alive


def test_closing_while_others_are_at_it(server: Server, name: str) -> None:
    """Whoever waits in any call of a client that is closed hears of it at once."""
    for attempt in range(5):
        key = f"{name}{attempt}"
        client = Client(server.endpoint)
        with Client(server.endpoint) as holder, holder.lock(key):
            works: list[Callable[[], Any]] = [client.watch(key).get for _ in range(4)]
            works += [client.lock(key).acquire, client.queue(key + "q").get]
            works += [partial(_put_for_ever, client, key + "p")] * 2
            with futures.ThreadPoolExecutor(len(works)) as pool:
                waiting = [pool.submit(work) for work in works]
                wait_until(lambda: bool(holder.get(key + "p")), "work to have begun")  # noqa: B023
                client.close()
                for one in waiting:
                    with pytest.raises(RuntimeError, match="closed"):
                        one.result(PROMPT)


def _put_for_ever(client: Client, name: str) -> None:
    while True:
        client.put(name, "")
