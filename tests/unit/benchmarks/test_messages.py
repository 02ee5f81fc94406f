import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.messages import Template, framed, split
from pykvd.pb import rpc_pb2


@given(st.lists(st.binary(max_size=50)), st.data())
def test_messages_survive_any_fragmentation(values: list[bytes], data: st.DataObject) -> None:
    requests = [rpc_pb2.PutRequest(key=b"k", value=value) for value in values]
    stream = b"".join(map(framed, requests))
    found, rest, position = [], b"", 0
    while position < len(stream):
        size = data.draw(st.integers(1, len(stream) - position))
        messages, rest = split(rest + stream[position : position + size])
        found += messages
        position += size

    assert rest == b""
    assert [rpc_pb2.PutRequest.FromString(message).value for message in found] == values


def test_compressed_message_is_refused() -> None:
    with pytest.raises(ValueError, match="compressed"):
        split(b"\1\0\0\0\0")


def test_template_replaces_every_placeholder() -> None:
    key = b"txn/0000"
    put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=b"v"))
    template = Template(rpc_pb2.TxnRequest(compare=[{"key": key}], success=[put]), key)
    [message], rest = split(template.fill(b"txn/1234"))
    request = rpc_pb2.TxnRequest.FromString(message)

    assert rest == b""
    assert request.compare[0].key == request.success[0].request_put.key == b"txn/1234"


def test_template_without_its_placeholder() -> None:
    with pytest.raises(ValueError, match="does not occur"):
        Template(rpc_pb2.PutRequest(key=b"k"), b"other")
