"""Reflection as grpcurl uses it, and health of each service."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # type: ignore[import-untyped]
    ProtoReflectionDescriptorDatabase,
)

from pykvd.pb import health_pb2, reflection_pb2
from tests.harness import Server

SERVICES = {
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "v3lockpb.Lock",
    "v3electionpb.Election",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}
VERSIONS = ("v1", "v1alpha")


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.endpoint) as channel:
        yield channel


@pytest.fixture
def database(channel: grpc.Channel) -> ProtoReflectionDescriptorDatabase:
    return ProtoReflectionDescriptorDatabase(channel)


def ask(
    channel: grpc.Channel, version: str, *requests: reflection_pb2.ServerReflectionRequest
) -> list[reflection_pb2.ServerReflectionResponse]:
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return list(call(iter(requests), timeout=20))


def test_services_are_listed(database: ProtoReflectionDescriptorDatabase) -> None:
    assert set(database.get_services()) >= SERVICES


def test_a_call_can_be_made_from_what_is_told(
    channel: grpc.Channel, database: ProtoReflectionDescriptorDatabase
) -> None:
    """As grpcurl does: find the method, then make its messages."""
    pool = DescriptorPool(database)
    method = pool.FindServiceByName("etcdserverpb.KV").FindMethodByName("Put")
    request = GetMessageClass(method.input_type)(key=b"reflected", prev_kv=True)
    call: Any = channel.unary_unary("/etcdserverpb.KV/Put")
    answer: Any = GetMessageClass(method.output_type).FromString(
        call(request.SerializeToString(), timeout=20)
    )
    assert answer.header.revision > 1


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_service_is_described(
    database: ProtoReflectionDescriptorDatabase, service: str
) -> None:
    descriptor = DescriptorPool(database).FindServiceByName(service)
    assert descriptor.methods


@pytest.mark.parametrize("version", VERSIONS)
def test_both_versions_answer(channel: grpc.Channel, version: str) -> None:
    request = reflection_pb2.ServerReflectionRequest(
        host="h", file_containing_symbol=".etcdserverpb.TxnRequest"
    )
    (answer,) = ask(channel, version, request)
    assert (answer.valid_host, answer.original_request) == ("h", request)
    assert len(answer.file_descriptor_response.file_descriptor_proto) == 3


@pytest.mark.parametrize(
    "question",
    [
        {"file_by_filename": "nope.proto"},
        {"file_containing_symbol": "nope.Nope"},
        {"all_extension_numbers_of_type": "nope.Nope"},
        {"file_containing_extension": {"containing_type": "x", "extension_number": 1}},
    ],
)
def test_what_is_not_there(channel: grpc.Channel, question: dict[str, object]) -> None:
    missing = reflection_pb2.ServerReflectionRequest(**question)  # type: ignore[arg-type]
    known = reflection_pb2.ServerReflectionRequest(file_by_filename="kv.proto")
    first, second = ask(channel, "v1", missing, known)
    assert first.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert len(second.file_descriptor_response.file_descriptor_proto) == 1


def test_no_extensions(channel: grpc.Channel) -> None:
    request = reflection_pb2.ServerReflectionRequest(
        all_extension_numbers_of_type="mvccpb.KeyValue"
    )
    (answer,) = ask(channel, "v1", request)
    assert answer.all_extension_numbers_response.base_type_name == "mvccpb.KeyValue"


def test_no_question(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, "v1", reflection_pb2.ServerReflectionRequest())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def check(channel: grpc.Channel, service: str) -> int:
    call = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    status: int = call(health_pb2.HealthCheckRequest(service=service), timeout=20).status
    return status


def test_health_of_each_service(channel: grpc.Channel) -> None:
    for service in ("", *SERVICES - {f"grpc.reflection.{v}.ServerReflection" for v in VERSIONS}):
        assert check(channel, service) == health_pb2.HealthCheckResponse.SERVING, service
    with pytest.raises(grpc.RpcError) as caught:
        check(channel, "nope.Nope")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("service", "status"),
    [
        ("", health_pb2.HealthCheckResponse.SERVING),
        ("etcdserverpb.KV", health_pb2.HealthCheckResponse.SERVING),
        ("nope.Nope", health_pb2.HealthCheckResponse.SERVICE_UNKNOWN),
    ],
)
def test_health_is_watched(channel: grpc.Channel, service: str, status: int) -> None:
    call = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )(health_pb2.HealthCheckRequest(service=service), timeout=20)
    assert next(call).status == status
    call.cancel()
