"""JSON and back, with protobuf's own json_format as the oracle."""

import json
import re
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from pykvd.gateway.codec import JsonError, codec, load
from pykvd.pb import rpc_pb2 as rpc
from tests.unit.gateway.messages import DESCRIPTORS, REQUESTS, json_near, messages


def read_or_reason(name: str, text: str) -> Message | str:
    try:
        return read(name, text)
    except JsonError as error:
        return str(error)


ANY_MESSAGE = st.sampled_from(sorted(DESCRIPTORS)).flatmap(lambda name: messages(DESCRIPTORS[name]))
ANY_JSON = st.sampled_from(REQUESTS).flatmap(
    lambda name: st.tuples(st.just(name), json_near(DESCRIPTORS[name]))
)

#: What Python's json_format lets through: lists and texts for messages (it iterates over them),
#: noise in base64, a field under both of its names, a truth value for an enum.
LAXER = re.compile(
    r'message field \w+: [\["]|bytes field|duplicate field|enum field \w+: (true|false)$'
)


def read(name: str, text: str) -> Message:
    (value,) = load(text.encode())
    return codec(DESCRIPTORS[name]).parse(value)


@settings(max_examples=100)
@given(ANY_MESSAGE)
def test_what_is_written_is_what_json_format_writes(message: Message) -> None:
    text = codec(message.DESCRIPTOR).text(message)
    oracle = json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert json.loads(text) == oracle
    assert list(json.loads(text)) == list(oracle)


@settings(max_examples=100)
@given(ANY_MESSAGE)
def test_what_is_written_can_be_read(message: Message) -> None:
    own = codec(message.DESCRIPTOR)
    (value,) = load(own.text(message).encode())
    assert own.parse(value) == message


@settings(max_examples=100)
@given(ANY_MESSAGE)
def test_lower_camel_names_are_read_too(message: Message) -> None:
    (value,) = load(json_format.MessageToJson(message).encode())
    assert codec(message.DESCRIPTOR).parse(value) == message


@settings(max_examples=300)
@given(ANY_JSON)
def test_what_is_read_is_what_json_format_reads(case: tuple[str, Any]) -> None:
    """What it accepts we accept, and alike, but for what Go refuses too."""
    name, value = case
    kind = codec(DESCRIPTORS[name]).message_type
    try:
        oracle = json_format.ParseDict(value, kind(), ignore_unknown_fields=True)
    except (json_format.ParseError, TypeError, AttributeError):
        return
    found = read_or_reason(name, json.dumps(value))
    assert LAXER.search(found) if isinstance(found, str) else found == oracle


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('"Zm9v"', b"foo"),
        ('"Zm8="', b"fo"),
        ('"Zm8"', b"fo"),
        ('"-_8="', b"\xfb\xff"),
        ('"-_8"', b"\xfb\xff"),
        ('"+/8="', b"\xfb\xff"),
        ('"Zm9v\\r\\nZm9v"', b"foofoo"),
        ('""', b""),
        ("null", b""),
    ],
)
def test_bytes(text: str, key: bytes) -> None:
    message = read("etcdserverpb.PutRequest", f'{{"key":{text}}}')
    assert message == rpc.PutRequest(key=key)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", 5),
        ('"5"', 5),
        ("1.0", 1),
        ("1e2", 100),
        ('"1e2"', 100),
        ("-1", -1),
        ("9223372036854775807", (1 << 63) - 1),
        ('"9223372036854775807"', (1 << 63) - 1),
        ("9007199254740993.0", 9007199254740993),
        ("null", 0),
    ],
)
def test_integers(text: str, number: int) -> None:
    message = read("etcdserverpb.RangeRequest", f'{{"limit":{text}}}')
    assert message == rpc.RangeRequest(limit=number)


@pytest.mark.parametrize(
    ("text", "order"),
    [('"DESCEND"', 2), ("2", 2), ("77", 77), ('"descend"', 0), ('"2"', 0), ('"NOPE"', 0)],
)
def test_enums(text: str, order: int) -> None:
    message = read("etcdserverpb.RangeRequest", f'{{"sort_order":{text}}}')
    assert message == rpc.RangeRequest(sort_order=order)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        '{"key":5}',
        '{"key":"not base64!"}',
        '{"key":"Zm9v+_"}',
        '{"key":"Zm9v="}',
        '{"key":"Z"}',
        '{"key":["Zm9v"]}',
        '{"limit":1.5}',
        '{"limit":"1.5"}',
        '{"limit":"abc"}',
        '{"limit":" 1"}',
        '{"limit":true}',
        '{"limit":9223372036854775808}',
        '{"limit":1e999999999}',
        '{"limit":' + "1" * 10_000 + "}",
        '{"limit":{}}',
        '{"serializable":"true"}',
        '{"serializable":1}',
        '{"sort_order":1.5}',
        '{"sort_order":true}',
        '{"sort_order":4294967296}',
        '{"key":"YQ==","key":"Yg=="}',
        '{"range_end":"YQ==","rangeEnd":"Yg=="}',
        "null",
        "[]",
        "5",
        '"text"',
    ],
)
def test_wrong_values_are_refused(text: str) -> None:
    with pytest.raises(JsonError):
        read("etcdserverpb.RangeRequest", text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TxnRequest", '{"success":{}}'),
        ("TxnRequest", '{"success":[null]}'),
        ("TxnRequest", '{"success":[5]}'),
        ("TxnRequest", '{"success":[{"request_put":{},"request_range":{}}]}'),
        ("MemberAddRequest", '{"peerURLs":["\\ud800"]}'),
        ("MemberAddRequest", '{"peerURLs":[5]}'),
    ],
)
def test_wrong_messages_are_refused(name: str, text: str) -> None:
    with pytest.raises(JsonError):
        read(f"etcdserverpb.{name}", text)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{}}"[2:],
        b"{'key':1}",
        b'{"key":NaN}',
        b'{"key":Infinity}',
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"a":"\x01"}',
        b"[" * 100_000,
        b"[" + b"{}," * 100_000 + b"{}]",
        b'{"a":' * 100_000,
        b"{,}",
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(JsonError):
        list(load(body))


@given(st.binary(max_size=40))
def test_noise_is_json_or_refused(body: bytes) -> None:
    try:
        values = list(load(body))
    except JsonError:
        return
    assert all(json.loads(json.dumps(value, default=float)) is not ... for value in values)


def test_unknown_fields_are_ignored() -> None:
    message = read("etcdserverpb.PutRequest", '{"key":"YQ==","nope":{"a":[1,null]},"Key":5}')
    assert message == rpc.PutRequest(key=b"a")


def test_bodies_of_several_values() -> None:
    assert list(load(b' {"a":1}\n{"b":2} ')) == [{"a": 1}, {"b": 2}]
    assert list(load(b" \n")) == []
