"""A member that has lost its majority while somebody watches its health."""

from collections.abc import Iterator

import grpc
import pytest

from pykvd.pb import health_pb2
from tests.harness import wait_until
from tests.integration.cluster.cluster import QUICK, Member, clustered
from tests.integration.http.serving import call, get

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def alone() -> Iterator[tuple[Member, list[int]]]:
    """The one member left of two, and what the health of its KV service was meanwhile."""
    with clustered(("n1", "n2"), QUICK) as cluster:
        cluster.start()
        left, lost = cluster
        seen: list[int] = []
        with grpc.insecure_channel(left.endpoint) as channel:
            watch = channel.unary_stream(
                "/grpc.health.v1.Health/Watch",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )(health_pb2.HealthCheckRequest(service="etcdserverpb.KV"), timeout=60)
            seen.append(next(watch).status)
            lost.kill()
            seen.append(next(watch).status)
            watch.cancel()
        wait_until(lambda: get(left.endpoint, "/health").status == 503, "the leader to be lost")
        yield left, seen


def test_health_says_so(alone: tuple[Member, list[int]]) -> None:
    endpoint = alone[0].endpoint
    answer = get(endpoint, "/health")
    assert answer.body == b'{"health":"false","reason":"RAFT NO LEADER"}\n'
    assert get(endpoint, "/health?serializable=true").status == 200
    assert get(endpoint, "/livez").status == 200


def test_readiness_waits_and_says_why(alone: tuple[Member, list[int]]) -> None:
    answer = get(alone[0].endpoint, "/readyz?exclude=data_corruption")
    assert answer.status == 503
    assert answer.body.decode().splitlines() == [
        "[+]serializable_read ok",
        "[-]linearizable_read failed: etcdserver: request timed out",
        "[+]non_learner ok",
        "",
    ]


def test_calls_that_demand_a_leader_are_refused(alone: tuple[Member, list[int]]) -> None:
    endpoint = alone[0].endpoint
    refused = call(endpoint, "/v3/kv/range", {"key": "YQ=="}, Grpc_Metadata_hasleader="true")
    assert (refused.status, refused.json["code"]) == (503, 14)
    assert refused.json["message"] == "etcdserver: no leader"
    watch = call(endpoint, "/v3/watch", {"create_request": {}}, Grpc_Metadata_hasleader="true")
    assert (watch.status, watch.json["error"]["code"]) == (503, 14)
    local = call(endpoint, "/v3/kv/range", {"key": "YQ==", "serializable": True})
    assert local.status == 200


def test_grpc_health_follows(alone: tuple[Member, list[int]]) -> None:
    assert alone[1] == [SERVING, NOT_SERVING]
