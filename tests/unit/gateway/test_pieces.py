"""Large messages are converted in pieces; the text is that of the whole."""

import json

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from pykvd.gateway.codec import codec
from pykvd.gateway.pieces import Pieces
from pykvd.pb import kv_pb2
from pykvd.pb import rpc_pb2 as rpc
from tests.unit.gateway.messages import DESCRIPTORS, messages

ANY_MESSAGE = st.sampled_from(sorted(DESCRIPTORS)).flatmap(lambda name: messages(DESCRIPTORS[name]))


@given(ANY_MESSAGE, st.integers(1, 200))
def test_the_pieces_join_to_the_text_of_the_whole(message: Message, size: int) -> None:
    own = codec(message.DESCRIPTOR)
    pieces = list(Pieces(own, message.SerializeToString(), size))
    assert b"".join(pieces).decode() == own.text(message)


def test_a_large_range_comes_in_many_small_pieces() -> None:
    kvs = [kv_pb2.KeyValue(key=b"k%d" % number, value=b"v" * 100) for number in range(1000)]
    message = rpc.RangeResponse(kvs=kvs, count=1000)
    own = codec(message.DESCRIPTOR)
    pieces = list(Pieces(own, message.SerializeToString(), 4096))
    assert len(pieces) > 20
    assert max(map(len, pieces)) < 4 * 4096
    assert len(json.loads(b"".join(pieces))["kvs"]) == 1000


def test_what_is_no_message_is_noticed() -> None:
    with pytest.raises(ValueError, match="wire type"):
        list(Pieces(codec(rpc.RangeResponse.DESCRIPTOR), b"\x0f", 10))
