"""A node answers nothing before the log has synced it."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pykvd.cluster.membership import Member
from pykvd.node.commands import Command
from pykvd.node.config import NodeConfig
from pykvd.node.node import Node
from pykvd.node.proposals import ENTRY_BYTES_MAX
from pykvd.node.responder import FutureResponder
from pykvd.node.storage import Founding, Identity, open_storage
from pykvd.pb import rpc_pb2 as rpc
from pykvd.wal import Entry, Record, Wal

CONFIG = NodeConfig(
    name="n1",
    client_urls=("http://127.0.0.1:2379",),
    heartbeat_interval=0.1,
    election_timeout=1.0,
    pre_vote=True,
    max_request_bytes=1 << 20,
    snapshot_count=10_000,
    batch_interval=0.01,
    batch_limit=1000,
    snapshot_catchup=5000,
    max_learners=1,
    strict_reconfig=True,
    compaction_batch=1000,
    compaction_pause=0.01,
)


class HeldLog:
    """Writes nothing; syncs are done when the test says so."""

    def __init__(self, wal: Wal, _on_failure: Callable[[BaseException], None]) -> None:
        self.wal = wal
        self.last: Sequence[Record] = ()
        self.held: list[Callable[[], None]] | None = None

    def submit(self, records: Sequence[Record], done: Callable[[], None]) -> None:
        self.last = records
        if self.held is None:
            done()
        else:
            self.held.append(done)

    def commit_now(self, _records: Sequence[Record]) -> bool:
        return False

    def release(self, index: int) -> None:
        pass

    def stop(self) -> None:
        self.wal.close()


@pytest.fixture
async def node(tmp_path: Path) -> Node:
    loop = asyncio.get_running_loop()
    member = Member(1, "", ("http://127.0.0.1:2380",))
    storage = open_storage(
        tmp_path,
        None,
        founding=Founding(Identity(1, 2), [member], joining=False),
        sync=False,
        post=loop.call_soon_threadsafe,
        on_failure=lambda error: None,
    )
    node = Node(CONFIG, storage, on_failure=lambda error: None, log_writer=HeldLog)
    await node.start()
    return node


def put(node: Node, key: bytes) -> asyncio.Future[bytes]:
    responder = FutureResponder()
    request = rpc.PutRequest(key=key)
    node.propose(Command.PUT, request.SerializeToString(), request, responder)
    return responder.future


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_entry_waits_for_its_own_sync_while_an_older_one_commits(node: Node) -> None:
    log = node._log  # the only way to hold the disk back
    assert isinstance(log, HeldLog)
    log.held = []
    first = put(node, b"a")
    await turn()
    second = put(node, b"b")
    await turn()
    assert len(log.held) == 2, "two entries are being synced"
    log.held[0]()
    await turn()
    assert first.done()
    assert not second.done(), "answered before its sync"
    assert node.store.get(b"b") is None
    log.held[1]()
    await turn()
    assert second.done()
    node.close()


async def test_an_entry_is_bounded_however_much_is_proposed_at_once(node: Node) -> None:
    log = node._log
    assert isinstance(log, HeldLog)
    log.held = []
    value = bytes(1 << 19)
    for number in range(40):
        request = rpc.PutRequest(key=b"%d" % number, value=value)
        node.propose(Command.PUT, request.SerializeToString(), request, FutureResponder())
    await turn()
    assert log.held
    [entry] = [record for record in log.last if isinstance(record, Entry)]
    assert len(entry.data) < ENTRY_BYTES_MAX + (1 << 20)
    while log.held:
        log.held.pop(0)()
        await turn()
    assert node.store.index.count(b"0", b"\x00") == 40
    node.close()
