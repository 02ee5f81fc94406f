"""Wrong arguments raise before anything is sent, and say which one it was."""

import pytest

from pykvd.client import Client, create_revision, get, nested, put, value, version
from pykvd.client.requests import prefix_end, span


@pytest.fixture
def client() -> Client:
    """Of a server that does not exist: whatever were sent would take its time to fail."""
    return Client("127.0.0.1:1", timeout=60)


@pytest.mark.parametrize("key", [1, None, 1.5, ["k"], object(), bytearray(b"k")])
def test_keys_are_text_or_bytes(client: Client, key: object) -> None:
    with pytest.raises(TypeError, match=r"^key: expected str or bytes"):
        client.get(key)  # type: ignore[arg-type]


def test_values_are_text_or_bytes(client: Client) -> None:
    with pytest.raises(TypeError, match=r"^value: expected str or bytes, got int"):
        client.put("k", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["", b""])
def test_a_single_key_is_not_empty(client: Client, key: str | bytes) -> None:
    for call in (lambda: client.get(key), lambda: client.put(key, "v"), lambda: client.delete(key)):
        with pytest.raises(ValueError, match=r"^key: must not be empty"):
            call()


def test_large_requests_name_the_large_field() -> None:
    client = Client("127.0.0.1:1", max_request_bytes=1000)
    with pytest.raises(ValueError, match=r"^value: a request of \d+ bytes is above the limit"):
        client.put("k", b"v" * 1000)
    with pytest.raises(ValueError, match=r"^key: a request"):
        client.get(b"k" * 1000)
    with pytest.raises(ValueError, match=r"^success: a request"):
        client.txn().then(put("k", b"v" * 1000)).commit()


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda c: c.get("k", revision=-1), "revision"),
        (lambda c: c.get("k", revision=2**63), "revision"),
        (lambda c: c.range("k", prefix=True, limit=-1), "limit"),
        (lambda c: c.range("k", "l", prefix=True), "end"),
        (lambda c: c.range("k", sort_by="size"), "sort_by"),
        (lambda c: c.scan("k", prefix=True, page_size=0), "page_size"),
        (lambda c: c.put("k", "v", ignore_value=True), "value"),
        (lambda c: c.put("k", "v", lease=5, ignore_lease=True), "lease"),
        (lambda c: c.watch("k", skip=["move"]), "skip"),
        (lambda c: c.watch("k", patience=0), "patience"),
        (lambda c: c.lease(0), "ttl"),
        (lambda c: c.lease(9_000_000_001), "ttl"),
        (lambda c: c.lock("k", ttl=0), "ttl"),
        (lambda c: c.double_barrier("k", 0), "count"),
        (lambda c: c.priority_queue("k").put("v", 65_536), "priority"),
        (lambda c: c.get("k", timeout=0), "timeout"),
        (lambda c: c.compact(-5), "revision"),
        (lambda c: c.maintenance.arm(1, "FIRE"), "kind"),
        (lambda c: c.auth.grant_permission("r", "own", "k"), "kind"),
        (lambda c: c.txn().when(version("k") == -1), "version"),
    ],
)
def test_impossible_values_name_the_field(client: Client, call: object, field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        call(client)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda c: c.get("k", revision="1"), "revision"),
        (lambda c: c.get("k", revision=True), "revision"),
        (lambda c: c.get("k", timeout="1"), "timeout"),
        (lambda c: c.put("k", "v", lease="7"), "lease"),
        (lambda c: c.put("k", "v", prev_kv="yes"), "prev_kv"),
        (lambda c: c.get("k", serializable=1), "serializable"),
        (lambda c: c.delete("k", prefix=None), "prefix"),
        (lambda c: c.watch("k", progress=2), "progress"),
        (lambda c: c.maintenance.status(2379), "endpoint"),
        (lambda c: c.lease("10"), "ttl"),
        (lambda c: c.auth.add_user(b"name", "password"), "name"),
        (lambda c: c.cluster.add("http://127.0.0.1:2380"), "peer_urls"),
        (lambda c: c.txn().when(True), "when"),
        (lambda c: c.txn().then("put"), "then"),
        (lambda c: c.txn().otherwise(version("k") == 0), "otherwise"),
        (lambda c: c.txn().when(value("k") == 5), "value"),
        (lambda c: c.txn().when(create_revision("k") == "5"), "create_revision"),
    ],
)
def test_wrong_types_name_the_field(client: Client, call: object, field: str) -> None:
    with pytest.raises(TypeError, match=f"^{field}: "):
        call(client)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"endpoints": ""}, "endpoint"),
        ({"endpoints": []}, "endpoints"),
        ({"endpoints": "ftp://host:1"}, "scheme"),
        ({"endpoints": "host:port"}, "port"),
        ({"endpoints": "http://host:1/path"}, "host"),
        ({"user": "root"}, "user"),
        ({"timeout": -1}, "timeout"),
        ({"sync_interval": 0}, "sync_interval"),
    ],
)
def test_clients_check_what_they_are_made_with(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Client(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        (b"a", b"b"),
        (b"a\xff", b"b"),
        (b"a\xff\xff", b"b"),
        (b"\xff", b"\0"),
        (b"a\x00", b"a\x01"),
        (b"", b"\0"),
    ],
)
def test_prefixes_end_before_the_next_one(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end


def test_spans() -> None:
    assert span("a", None, prefix=False) == (b"a", b"")
    assert span("a", "c", prefix=False) == (b"a", b"c")
    assert span("a", "", prefix=False) == (b"a", b"\0")
    assert span("", "", prefix=False) == (b"\0", b"\0")
    assert span("", None, prefix=True) == (b"\0", b"\0")


def test_transactions_nest() -> None:
    client = Client("127.0.0.1:1")
    inner = client.txn().when(version("a") > 1).then(get("a"))
    outer = client.txn().then(nested(inner), put("b", "c"))
    first, second = outer.request.success
    assert first.request_txn == inner.request
    assert second.request_put.value == b"c"
