"""The record codec: everything written reads back, and nothing else does."""

from __future__ import annotations

import struct

import pytest
from google_crc32c import extend
from hypothesis import given
from hypothesis import strategies as st

from pykvd.wal import Entry, HardState, Record
from pykvd.wal.record import (
    HEADER_BYTES,
    FrameEncoder,
    FrameError,
    Kind,
    SegmentHead,
    Synced,
    decode_frame,
    decode_head,
    decode_record,
)
from tests.unit.wal.support import records


def encode(items: list[Record | Synced], synced: int = 0) -> tuple[bytes, int]:
    """The bytes of a segment with these records, and its seed."""
    buffers: list[bytes] = []
    encoder = FrameEncoder.start(SegmentHead(0, 1, 99), 7, buffers)
    for item in items:
        encoder.encode(item, synced, buffers)
    return b"".join(buffers), encoder.seed


@given(st.lists(st.one_of(records, st.just(Synced())), max_size=6), st.integers(0, 2**32 - 1))
def test_records_round_trip_in_order(items: list[Record | Synced], synced: int) -> None:
    data, seed = encode(items, synced)
    head = decode_frame(data, 0, 0)
    assert decode_head(data[head.start : head.end]) == SegmentHead(0, 1, 99)
    assert head.prev == 7
    offset, chain = head.end, head.crc
    for item in items:
        frame = decode_frame(data, offset, seed)
        assert (frame.prev, frame.synced) == (chain, synced)
        assert decode_record(frame.kind, data[frame.start : frame.end]) == item
        offset, chain = frame.end, frame.crc
    assert offset == len(data)


def test_the_layout_is_the_documented_one() -> None:
    buffers: list[bytes] = []
    size = FrameEncoder(seed=5, chain=0x01020304).encode(Entry(2, 3, 4, b"value"), 16, buffers)
    payload = struct.pack("<QQB", 2, 3, 4) + b"value"
    header = struct.pack("<IB3sII", len(payload), Kind.ENTRY, b"\xd7WL", 16, 0x01020304)
    frame = header + struct.pack("<I", extend(5, header + payload)) + payload
    assert b"".join(buffers) == frame
    assert size == len(frame) == HEADER_BYTES + len(payload)


def test_entry_data_is_not_copied() -> None:
    data = bytes(1000)
    buffers: list[bytes] = []
    FrameEncoder(0, 0).encode(Entry(1, 1, 0, data), 0, buffers)
    assert any(buffer is data for buffer in buffers)


@given(records, st.data())
def test_any_changed_byte_of_a_frame_is_noticed(record: Record, data: st.DataObject) -> None:
    buffers: list[bytes] = []
    size = FrameEncoder(3, 4).encode(record, 0, buffers)
    whole = bytearray(b"".join(buffers))
    position = data.draw(st.integers(0, size - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FrameError):
        decode_frame(bytes(whole), 0, 3)


def test_a_frame_of_another_segment_is_not_one_of_this() -> None:
    data, seed = encode([HardState(1, 2, 3)])
    offset = decode_frame(data, 0, 0).end
    with pytest.raises(FrameError, match="checksum"):
        decode_frame(data, offset, seed ^ 1)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (0, b""),
        (7, b""),
        (Kind.HARD_STATE, bytes(23)),
        (Kind.ENTRY, bytes(16)),
        (Kind.SYNCED, b"x"),
    ],
)
def test_unknown_records_are_refused(kind: int, payload: bytes) -> None:
    with pytest.raises(FrameError, match="not known to this program"):
        decode_record(kind, payload)


def test_a_head_of_another_version_is_refused() -> None:
    with pytest.raises(FrameError, match="format version 2"):
        decode_head(struct.pack("<8sIIQQ", b"pykvdwal", 2, 0, 0, 1))
    with pytest.raises(FrameError, match="no head"):
        decode_head(b"")


def test_numbers_out_of_range_add_nothing() -> None:
    buffers: list[bytes] = []
    encoder = FrameEncoder(0, 0)
    with pytest.raises(struct.error):
        encoder.encode(Entry(1, 2**64, 0, b""), 0, buffers)
    assert (buffers, encoder.chain) == ([], 0)
