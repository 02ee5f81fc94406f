"""The bytes between members: round trips, and nothing wrong is taken for right."""

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykvd.errors import Code, RpcError
from pykvd.peer import wire
from pykvd.raft import ConfState, Entry, EntryKind, Message, MessageKind, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

numbers = st.integers(0, 2**64 - 1)
entries = st.builds(
    Entry, term=numbers, index=numbers, kind=st.sampled_from(EntryKind), data=st.binary(max_size=40)
)
messages = st.builds(
    Message,
    kind=st.sampled_from(MessageKind),
    to=numbers,
    sender=numbers,
    term=numbers,
    entries=st.lists(entries, max_size=3).map(tuple),
    context=st.binary(max_size=10),
)
SNAPSHOT = Message(MessageKind.SNAPSHOT, 2, 1, snapshot=Snapshot(7, 2, ConfState((1, 2))))


@given(st.lists(messages, max_size=5))
def test_batches(batch: list[Message]) -> None:
    assert wire.decode_batch(wire.encode_batch(batch)) == batch


@given(st.lists(messages, min_size=1, max_size=3), st.data())
def test_truncated_batches_are_refused_or_shorter(
    batch: list[Message], data: st.DataObject
) -> None:
    """A cut between two messages cannot be seen here; gRPC's own length sees it."""
    encoded = wire.encode_batch(batch)
    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    with contextlib.suppress(wire.WireError):
        assert wire.decode_batch(cut) == batch[: len(wire.decode_batch(cut))]


@given(st.binary(max_size=200))
def test_junk_raises_nothing_else(junk: bytes) -> None:
    decoders: tuple[Callable[[bytes], object], ...] = (
        *(wire.decode_batch, wire.decode_call, wire.decode_members, wire.decode_offset),
        wire.decode_transfer,
    )
    for decode in decoders:
        with contextlib.suppress(wire.WireError, RpcError):
            decode(junk)


@given(st.data())
def test_damaged_messages_raise_nothing_else(data: st.DataObject) -> None:
    offer = wire.encode_offer(wire.Offer(bytes(16), 1, SNAPSHOT))
    for encoded, decode in (
        (wire.encode_batch([SNAPSHOT]), wire.decode_batch),
        (offer, wire.decode_transfer),
    ):
        damaged = bytearray(encoded)
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(wire.WireError):
            decode(bytes(damaged))


@given(st.text(st.characters(max_codepoint=127), max_size=255), st.binary(max_size=50))
def test_calls(kind: str, payload: bytes) -> None:
    assert wire.decode_call(wire.encode_call(kind, payload)) == (kind, payload)


@given(numbers, st.lists(st.binary(max_size=30), max_size=5))
def test_members(cluster_id: int, members: list[bytes]) -> None:
    encoded = wire.encode_members(cluster_id, members)
    assert wire.decode_members(encoded) == (cluster_id, members)


@given(numbers, numbers, numbers)
def test_greetings(cluster_id: int, sender: int, to: int) -> None:
    for urls in ((), ("http://10.0.0.1:2380", "unix:///run/a")):
        greeting = wire.Greeting(cluster_id, sender, to, urls)
        assert wire.Greeting.parse(dict(greeting.metadata())) == greeting


@pytest.mark.parametrize("missing", ["pykvd-cluster", "pykvd-from", "pykvd-to"])
@pytest.mark.parametrize("value", [None, "", "xyz"])
def test_malformed_greetings(missing: str, value: str | None) -> None:
    metadata: dict[str, str | bytes] = dict(wire.Greeting(1, 2, 3).metadata())
    del metadata[missing]
    if value is not None:
        metadata[missing] = value
    with pytest.raises(RpcError) as refusal:
        wire.Greeting.parse(metadata)
    assert refusal.value.code == Code.INVALID_ARGUMENT


def test_parts_of_a_snapshot() -> None:
    offer = wire.Offer(bytes(range(16)), 2**40, SNAPSHOT)
    assert wire.decode_transfer(wire.encode_offer(offer)) == offer
    assert wire.decode_transfer(wire.encode_digest(bytes(32))) == wire.Digest(bytes(32))
    assert wire.decode_offset(wire.encode_resume(2**40)) == 2**40
    assert wire.decode_offset(wire.encode_progress(3)) == 3


@given(numbers, st.binary(min_size=1, max_size=100), st.data())
def test_a_damaged_chunk_is_never_taken(offset: int, data: bytes, draw: st.DataObject) -> None:
    encoded = bytearray(wire.encode_chunk(offset, data))
    assert wire.decode_transfer(bytes(encoded)) == wire.Chunk(offset, data)
    position = draw.draw(st.integers(9, len(encoded) - 1))  # behind tag and offset
    encoded[position] ^= 1 << draw.draw(st.integers(0, 7))
    with pytest.raises(RpcError) as refusal:
        wire.decode_transfer(bytes(encoded))
    assert refusal.value.code == Code.DATA_LOSS
