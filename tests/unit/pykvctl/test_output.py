"""The five formats, byte for byte."""

import io
from collections.abc import Callable
from typing import Any

import pytest

from pykvctl.errors import CommandError
from pykvctl.output import Printer, make_printer
from pykvctl.output.json import dumps, to_json
from pykvctl.output.printer import EndpointHash, EndpointHealth, EndpointStatus
from pykvctl.output.table import draw_table
from pykvctl.streams import Streams
from pykvctl.watcher import WatchUpdate
from pykvd.pb import kv_pb2 as kvpb
from pykvd.pb import rpc_pb2 as rpc

HEADER = rpc.ResponseHeader(cluster_id=1, member_id=0xF96B36EF9C15ECEC, revision=3, raft_term=2)
PAIR = kvpb.KeyValue(key=b"foo", create_revision=2, mod_revision=3, version=2, value=b"a\xff")


def printed(name: str, act: Callable[[Printer], None], *, hex_bytes: bool = False) -> bytes:
    out = io.BytesIO()
    streams = Streams(io.BytesIO(), out, io.BytesIO())
    act(make_printer(name, streams, hex_bytes=hex_bytes))
    return out.getvalue()


def test_unknown_format_is_refused() -> None:
    with pytest.raises(CommandError, match="unsupported output format"):
        printed("yaml", lambda _: None)


def test_simple_pairs_are_raw_or_hexadecimal() -> None:
    answer = rpc.RangeResponse(header=HEADER, kvs=[PAIR])
    assert printed("simple", lambda p: p.get(answer)) == b"foo\na\xff\n"
    assert printed("simple", lambda p: p.get(answer, value_only=True)) == b"a\xff\n"
    expected = b"\\x66\\x6f\\x6f\n\\x61\\xff\n"
    assert printed("simple", lambda p: p.get(answer), hex_bytes=True) == expected


def test_json_leaves_zero_values_out_and_keeps_the_order_of_the_definition() -> None:
    answer = rpc.RangeResponse(header=HEADER, kvs=[PAIR], count=1)
    assert dumps(to_json(answer)) == (
        '{"header":{"cluster_id":1,"member_id":17972519140695862508,"revision":3,"raft_term":2},'
        '"kvs":[{"key":"Zm9v","create_revision":2,"mod_revision":3,"version":2,"value":"Yf8="}],'
        '"count":1}'
    )


def test_json_wraps_the_members_of_unions() -> None:
    answer = rpc.TxnResponse(
        succeeded=True, responses=[rpc.ResponseOp(response_put=rpc.PutResponse())]
    )
    assert dumps(to_json(answer)) == (
        '{"succeeded":true,"responses":[{"Response":{"response_put":{}}}]}'
    )


def test_json_escapes_what_go_escapes() -> None:
    assert dumps({"a": "<&>\u2028é"}) == '{"a":"\\u003c\\u0026\\u003e\\u2028é"}'


def test_watch_json_keeps_zero_values_at_the_top() -> None:
    event = kvpb.Event(type=kvpb.Event.DELETE, kv=kvpb.KeyValue(key=b"k", mod_revision=5))
    update = WatchUpdate(rpc.WatchResponse(header=HEADER, events=[event]))
    assert printed("json", lambda p: p.watch(update)) == (
        b'{"Header":{"cluster_id":1,"member_id":17972519140695862508,"revision":3,"raft_term":2},'
        b'"Events":[{"type":1,"kv":{"key":"aw==","mod_revision":5}}],'
        b'"CompactRevision":0,"Canceled":false,"Created":false}\n'
    )


def test_lease_json_is_flat() -> None:
    answer = rpc.LeaseTimeToLiveResponse(header=HEADER, ID=7, TTL=-1)
    assert printed("json", lambda p: p.lease_time_to_live(answer, keys=False)) == (
        b'{"cluster_id":1,"member_id":17972519140695862508,"revision":3,"raft_term":2,'
        b'"id":7,"ttl":-1,"granted-ttl":0,"keys":null}\n'
    )


def test_fields_quote_strings_and_show_ids_in_hexadecimal_on_demand() -> None:
    answer = rpc.PutResponse(header=HEADER, prev_kv=PAIR)
    assert printed("fields", lambda p: p.put(answer), hex_bytes=True).decode().splitlines() == [
        '"ClusterID" : 1',
        '"MemberID" : f96b36ef9c15ecec',
        '"Revision" : 3',
        '"RaftTerm" : 2',
        '"PrevKey" : "foo"',
        '"PrevCreateRevision" : 2',
        '"PrevModRevision" : 3',
        '"PrevVersion" : 2',
        '"PrevValue" : "a\\xff"',
        '"PrevLease" : 0',
    ]


def test_fields_leave_out_a_revision_that_is_not_there() -> None:
    answer = rpc.MemberListResponse(header=rpc.ResponseHeader(cluster_id=1, raft_term=2))
    assert b"Revision" not in printed("fields", lambda p: p.member_list(answer))


def test_protobuf_is_the_message_and_of_leases_the_header() -> None:
    put = rpc.PutResponse(header=HEADER)
    grant = rpc.LeaseGrantResponse(header=HEADER, ID=1)
    assert printed("protobuf", lambda p: p.put(put)) == put.SerializeToString()
    assert printed("protobuf", lambda p: p.lease_grant(grant)) == HEADER.SerializeToString()


MEMBERS = rpc.MemberListResponse(
    members=[
        rpc.Member(ID=0x15627EFBEFAA52FA, peerURLs=["http://127.0.0.1:32480"], isLearner=True),
        rpc.Member(
            ID=0xF96B36EF9C15ECEC,
            name="n1",
            peerURLs=["http://127.0.0.1:32380"],
            clientURLs=["http://127.0.0.1:32379"],
        ),
    ]
)
MEMBER_TABLE = """\
+------------------+-----------+------+------------------------+------------------------+------------+
|        ID        |  STATUS   | NAME |       PEER ADDRS       |      CLIENT ADDRS      | IS LEARNER |
+------------------+-----------+------+------------------------+------------------------+------------+
| 15627efbefaa52fa | unstarted |      | http://127.0.0.1:32480 |                        |       true |
| f96b36ef9c15ecec |   started |   n1 | http://127.0.0.1:32380 | http://127.0.0.1:32379 |      false |
+------------------+-----------+------+------------------------+------------------------+------------+
"""  # noqa: E501


def test_table_of_members_is_that_of_etcdctl() -> None:
    assert printed("table", lambda p: p.member_list(MEMBERS)).decode() == MEMBER_TABLE


def test_member_lines() -> None:
    assert printed("simple", lambda p: p.member_list(MEMBERS)).decode().splitlines() == [
        "15627efbefaa52fa, unstarted, , http://127.0.0.1:32480, , true",
        "f96b36ef9c15ecec, started, n1, http://127.0.0.1:32380, http://127.0.0.1:32379, false",
    ]


def test_long_cells_are_broken_at_blanks() -> None:
    table = draw_table(["a", "errors"], [["x", "memberID:17972519140695862508 alarm:NOSPACE "]])
    assert table.splitlines() == [
        "+---+--------------------------------+",
        "| A |             ERRORS             |",
        "+---+--------------------------------+",
        "| x |  memberID:17972519140695862508 |",
        "|   |                 alarm:NOSPACE  |",
        "+---+--------------------------------+",
    ]


def test_an_empty_table_has_three_rules() -> None:
    assert draw_table(["a"], []).splitlines() == ["+---+", "| A |", "+---+", "+---+"]


LISTS: list[tuple[str, Any]] = [
    ("endpoint_health", [EndpointHealth("e", True, 1, "")]),
    ("endpoint_status", [EndpointStatus("e", rpc.StatusResponse(header=HEADER, dbSize=10))]),
    ("endpoint_hash", [EndpointHash("e", rpc.HashKVResponse(header=HEADER))]),
]


@pytest.mark.parametrize(("method", "items"), LISTS)
def test_lists_of_endpoints_have_no_protobuf_form(method: str, items: object) -> None:
    for name in ("simple", "json", "fields", "table"):
        assert printed(name, lambda p: getattr(p, method)(items))
    with pytest.raises(CommandError, match="protobuf not supported as output format"):
        printed("protobuf", lambda p: getattr(p, method)(items))


def test_pairs_have_no_table() -> None:
    with pytest.raises(CommandError, match="table not supported as output format"):
        printed("table", lambda p: p.get(rpc.RangeResponse()))
