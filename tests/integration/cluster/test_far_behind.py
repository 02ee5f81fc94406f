"""A member that was away for very many writes comes back. Long."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pykvd.pb import rpc_pb2
from tests.harness import Client, wait_until
from tests.harness.methods import STATUS, TXN
from tests.integration.cluster.cluster import clustered
from tests.integration.cluster.load import Load
from tests.integration.cluster.requests import get, put

if TYPE_CHECKING:
    from tests.integration.cluster.cluster import Member

WRITES = int(os.environ.get("WRITES", "1000000"))
KEYS = 100_000
#: Puts in one transaction, the most that a server takes unless told otherwise.
BATCH = 128
#: Transactions under way.
WINDOW = 16

pytestmark = [pytest.mark.long, pytest.mark.timeout(0)]


def write_many(through: Member, count: int) -> None:
    """That many puts over `KEYS` keys, in full transactions."""
    with Client(through.endpoint) as client:
        call = client.channel.unary_unary(
            TXN.path,
            request_serializer=TXN.request.SerializeToString,
            response_deserializer=TXN.reply.FromString,
        )
        under_way = []
        for first in range(0, count, BATCH):
            puts = [
                rpc_pb2.RequestOp(
                    request_put=rpc_pb2.PutRequest(key=b"m/%d" % (n % KEYS), value=b"%d" % n)
                )
                for n in range(first, min(first + BATCH, count))
            ]
            under_way.append(call.future(rpc_pb2.TxnRequest(success=puts), timeout=60))
            if len(under_way) == WINDOW:
                under_way.pop(0).result()
        for answer in under_way:
            answer.result()


def test_a_member_that_was_down_for_a_million_writes_catches_up() -> None:
    with clustered(flags=()) as cluster:
        cluster.start()
        away = cluster.followers()[0]
        put(away, b"before", b"v")
        away.kill()
        write_many(cluster.leader(), WRITES)
        target = cluster.leader().call(STATUS).raftAppliedIndex
        away.start()
        with Load(cluster, watch=False) as load:
            wait_until(
                lambda: away.call(STATUS).raftAppliedIndex >= target, "the member to catch up", 120
            )
            load.wait_progress(100)
        load.check()
        # However much there is to apply, it answers its peers meanwhile.
        assert not any("peer does not answer" in member.messages() for member in cluster)
        assert get(away, b"m/%d" % ((WRITES - 1) % KEYS)) == b"%d" % (WRITES - 1)
        assert get(away, b"before") == b"v"
