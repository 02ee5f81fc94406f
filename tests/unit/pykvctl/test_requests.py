"""Requests made from words: ranges, transactions, watches."""

import pytest

from pykvctl.commands.watch import RangeConflictError, read_order
from pykvctl.endpoints import parse_endpoint
from pykvctl.errors import BadArgumentsError, CommandError
from pykvctl.ranges import key_range, prefix_end
from pykvctl.txntext import parse_compare, parse_operation
from pykvctl.words import split_words
from pykvd.pb import rpc_pb2 as rpc


@pytest.mark.parametrize(
    ("prefix", "end"),
    [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0"), (b"a\x00", b"a\x01")],
)
def test_a_prefix_ends_before_the_next_one(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end


def test_empty_keys_mean_everything() -> None:
    assert key_range(b"", prefix=True) == (b"\0", b"\0")
    assert key_range(b"", from_key=True) == (b"\0", b"\0")
    assert key_range(b"a", b"b") == (b"a", b"b")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("put k v", ["put", "k", "v"]),
        ("  put\tk  ", ["put", "k"]),
        (r'put "quoted key" "a \"b\" \x01"', ["put", "quoted key", 'a "b" \x01']),
        (r"put 'it \n is' ''", ["put", r"it \n is", ""]),
        ("put a\"b c'd", ["put", 'a"b', "c'd"]),
        ("", []),
    ],
)
def test_lines_are_split(line: str, words: list[str]) -> None:
    assert split_words(line) == words


def test_compares() -> None:
    assert parse_compare('mod("key1") > "7"') == rpc.Compare(
        target=rpc.Compare.MOD, result=rpc.Compare.GREATER, key=b"key1", mod_revision=7
    )
    assert parse_compare(r'val("k\x00")!="v"'.replace("!=", " != ")) == rpc.Compare(
        target=rpc.Compare.VALUE, result=rpc.Compare.NOT_EQUAL, key=b"k\0", value=b"v"
    )
    assert parse_compare('lease("k") = "a0"').lease == 0xA0


@pytest.mark.parametrize(
    ("line", "text", "status"),
    [
        ("bogus", "malformed comparison: bogus", 3),
        ('mod("a") > 0', 'malformed comparison: mod("a") > 0; got mod("a") > ""', 3),
        ('mod(a) > "0"', 'malformed comparison: mod(a) > "0"; got mod("")  ""', 3),
        ('size("a") > "0"', 'malformed comparison: size("a") > "0" (unknown target size)', 3),
        ('mod("a") > "x"', 'invalid txn compare request: mod("a") > "x"', 3),
        ('mod("a") >> "0"', 'malformed comparison: mod("a") >> "0" (unknown operator >>)', 2),
    ],
)
def test_bad_compares_are_named(line: str, text: str, status: int) -> None:
    with pytest.raises(CommandError) as caught:
        parse_compare(line)
    assert (str(caught.value), caught.value.exit_code) == (text, status)


def test_operations_take_the_flags_of_their_commands() -> None:
    put = parse_operation("put k v --prev-kv").request_put
    assert (put.key, put.value, put.prev_kv) == (b"k", b"v", True)
    get = parse_operation("get --prefix k --keys-only").request_range
    assert (get.key, get.range_end, get.keys_only) == (b"k", b"l", True)
    delete = parse_operation("del a b").request_delete_range
    assert (delete.key, delete.range_end) == (b"a", b"b")


@pytest.mark.parametrize(
    ("line", "text", "status"),
    [
        ("put", "invalid txn compare request: put", 3),
        ("foo bar", "invalid txn request: foo bar", 3),
        ("get a --bogus", "invalid txn request: get a --bogus", 3),
        ("put k", "put command needs 1 argument and input from stdin or 2 arguments", 128),
    ],
)
def test_bad_operations_are_named(line: str, text: str, status: int) -> None:
    with pytest.raises(CommandError) as caught:
        parse_operation(line)
    assert (str(caught.value), caught.value.exit_code) == (text, status)


def test_watch_arguments() -> None:
    order = read_order(["a", "b", "echo", "x"], 2, {})
    assert (order.keys, order.command) == (["a", "b"], ["echo", "x"])
    order = read_order(["echo"], 0, {"ETCDCTL_WATCH_KEY": "a"})
    assert (order.keys, order.command) == (["a"], ["echo"])
    with pytest.raises(RangeConflictError):
        read_order(["a", "b"], None, {}).request(prefix=True, rev=0, prev_kv=False, progress=False)


@pytest.mark.parametrize(
    ("args", "dash", "environ", "text"),
    [
        ([], None, {}, "bad number of arguments"),
        (["a"], 1, {}, "bad number of arguments (found separator --, but no commands)"),
        (
            ["a"],
            None,
            {"ETCDCTL_WATCH_KEY": "b"},
            "bad number of arguments (found conflicting environment key)",
        ),
        (
            [],
            None,
            {"ETCDCTL_WATCH_RANGE_END": "w3"},
            'ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END="w3"',
        ),
    ],
)
def test_bad_watch_arguments_are_named(
    args: list[str], dash: int | None, environ: dict[str, str], text: str
) -> None:
    with pytest.raises(BadArgumentsError) as caught:
        read_order(args, dash, environ)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("text", "target", "tls"),
    [
        ("127.0.0.1:2379", "127.0.0.1:2379", None),
        (":2379", "localhost:2379", None),
        ("http://h:1", "h:1", False),
        ("https://[::1]:1/", "[::1]:1", True),
        ("unix:///run/s", "unix:/run/s", None),
        ("unixs://localhost:1", "unix:localhost:1", True),
    ],
)
def test_endpoints(text: str, target: str, tls: bool | None) -> None:
    endpoint = parse_endpoint(text)
    assert (endpoint.text, endpoint.target, endpoint.tls) == (text, target, tls)
