"""The record codec against protobuf."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykvd.mvcc import record
from pykvd.pb.kv_pb2 import Event, KeyValue
from pykvd.pb.rpc_pb2 import RangeResponse

int64 = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.sampled_from((0, 1, 127, 128, (1 << 14) - 1, 1 << 14, 1 << 21, 1 << 28, 1 << 35, -1)),
)
positive = st.one_of(st.integers(1, (1 << 63) - 1), st.integers(1, 1 << 22))
keys = st.one_of(st.binary(min_size=1, max_size=40), st.just(bytes(127)), st.just(bytes(2_000)))
paddings = st.sampled_from((0, 0, 0, 100, 127, 128, 16_384, 2_100_000))


@given(
    key=keys,
    create=positive,
    mod=positive,
    version=positive,
    value=st.binary(max_size=40),
    padding=paddings,
    lease=int64,
)
def test_a_key_value_is_what_protobuf_writes(
    key: bytes, create: int, mod: int, version: int, value: bytes, padding: int, lease: int
) -> None:
    value += bytes(padding)
    kv = KeyValue(
        key=key,
        create_revision=create,
        mod_revision=mod,
        version=version,
        value=value,
        lease=lease,
    )
    framed = record.encode_key_value(key, create, mod, version, value, lease)
    assert record.body_of(framed) == kv.SerializeToString(deterministic=True)
    assert framed == RangeResponse(kvs=[kv]).SerializeToString(deterministic=True)
    assert record.key_of(framed) == key
    assert record.parse(framed) == kv
    kv.ClearField("value")
    assert record.parse(record.without_value(framed)) == kv


@given(key=keys, mod=positive)
def test_a_deletion_is_what_protobuf_writes(key: bytes, mod: int) -> None:
    tombstone = record.encode_tombstones([key])[0]
    assert record.parse(tombstone) == KeyValue(key=key)
    assert record.key_of(tombstone) == key
    event = Event(type=Event.DELETE, kv=KeyValue(key=key, mod_revision=mod))
    assert record.encode_delete_event(key, mod) == event.SerializeToString(deterministic=True)


@given(number=int64, before=st.binary(max_size=3), behind=st.binary(max_size=3))
def test_varints_come_back(number: int, before: bytes, behind: bytes) -> None:
    data = before + record.varint(number) + behind
    value, offset = record.read_varint(data, len(before))
    assert value == number & (1 << 64) - 1
    assert offset == len(data) - len(behind)


@pytest.mark.parametrize("bits", [7, 14, 21, 28, 35, 63])
def test_varints_change_length_at_powers_of_128(bits: int) -> None:
    short = bits // 7
    assert len(record.varint((1 << bits) - 1)) == short
    assert len(record.varint(1 << bits)) == short + 1
    assert len(record.varint(-1)) == 10
