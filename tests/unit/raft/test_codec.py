"""Binary forms: round trips, and damage that is always an error or another valid value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykvd.raft import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfState,
    Entry,
    EntryKind,
    Message,
    MessageDecodeError,
    MessageKind,
    Snapshot,
    decode_message,
    encode_message,
)

numbers = st.integers(0, (1 << 64) - 1)
nodes = st.lists(numbers, max_size=4).map(tuple)
conf_states = st.builds(ConfState, nodes, nodes, nodes, nodes, st.booleans())
conf_changes = st.builds(
    ConfChange,
    st.lists(st.builds(ConfChangeSingle, st.sampled_from(ConfChangeKind), numbers)).map(tuple),
    st.sampled_from(ConfChangeTransition),
    st.binary(max_size=20),
)
entries = st.builds(Entry, numbers, numbers, st.sampled_from(EntryKind), st.binary(max_size=20))
snapshots = st.builds(Snapshot, numbers, numbers, conf_states, st.binary(max_size=20))
messages = st.builds(
    Message,
    st.sampled_from(MessageKind),
    numbers,
    numbers,
    term=numbers,
    index=numbers,
    log_term=numbers,
    commit=numbers,
    entries=st.lists(entries, max_size=4).map(tuple),
    snapshot=st.none() | snapshots,
    reject=st.booleans(),
    hint=numbers,
    context=st.binary(max_size=20),
)


@given(messages)
def test_messages_round_trip(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(conf_states)
def test_configurations_round_trip(conf: ConfState) -> None:
    assert ConfState.decode(conf.encode()) == conf


@given(conf_changes)
def test_changes_round_trip(change: ConfChange) -> None:
    assert ConfChange.decode(change.encode()) == change


@given(messages, st.data())
def test_a_cut_or_longer_message_is_refused(message: Message, data: st.DataObject) -> None:
    encoded = encode_message(message)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(MessageDecodeError):
        decode_message(encoded[:cut])
    with pytest.raises(MessageDecodeError):
        decode_message(encoded + b"\0")


@given(st.binary(max_size=200))
def test_noise_is_refused_or_decoded_but_never_crashes(data: bytes) -> None:
    for decode in (decode_message, ConfState.decode, ConfChange.decode):
        try:
            decode(data)
        except MessageDecodeError:
            continue


@given(messages, st.data())
def test_a_flipped_byte_is_refused_or_decoded(message: Message, data: st.DataObject) -> None:
    encoded = bytearray(encode_message(message))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decode_message(bytes(encoded))
    except MessageDecodeError:
        return


@given(conf_states, conf_changes)
def test_a_cut_configuration_or_change_is_refused(conf: ConfState, change: ConfChange) -> None:
    with pytest.raises(MessageDecodeError):
        ConfState.decode(conf.encode()[:-1])
    with pytest.raises(MessageDecodeError):
        ConfChange.decode(change.encode()[:4])
