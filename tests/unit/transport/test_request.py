"""Requests from header blocks: the caches never change the answer."""

from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from pykvd.transport.request import RequestDecoder, RequestHead
from tests.unit.transport.harness import request_headers

paths = st.sampled_from(["/kv/put", "/kv/range", "/lease/grant"])
timeouts = st.none() | st.integers(0, 10**6).map(lambda number: f"{number}u")
tokens = st.none() | st.integers(0, 30).map(lambda number: f"token-{number}" * 20)


def new_decoder(routed: list[RequestHead] | None = None) -> RequestDecoder:
    heads = [] if routed is None else routed
    return RequestDecoder(heads.append, 1 << 16)


@settings(deadline=None)
@given(st.lists(st.tuples(paths, timeouts, tokens), max_size=120))
def test_caches_are_transparent(requests: list[tuple[str, str | None, str | None]]) -> None:
    """Repeated blocks, tables that change under them, evictions: as if decoded afresh."""
    encoder, oracle, decoder = Encoder(), Decoder(), new_decoder()
    for path, timeout, token in requests:
        extra = [("grpc-timeout", timeout)] if timeout else []
        extra += [("token", token)] if token else []
        block = encoder.encode(request_headers(path, extra))
        expected = [(str(name), str(value)) for name, value in oracle.decode(block)]
        head, text = decoder.decode(block)
        fields = [(name, value) for name, value, _ in head.fields]
        assert fields == [field for field in expected if field[0] != "grpc-timeout"]
        assert (head.path, text) == (path, timeout)


def test_same_bytes_mean_another_request_after_the_table_has_changed() -> None:
    """The newest entry has index 62: the block that names it by index changes its meaning."""
    encoder, decoder = Encoder(), new_decoder()
    head = encoder.encode([field for field in request_headers() if field[0] != ":path"][:2])
    newest_path = head + b"\xbe"
    for path in ("/first", "/second"):
        decoder.decode_fields(encoder.encode([(":path", path)]))
        assert decoder.decode(newest_path)[0].path == path
        assert decoder.decode(newest_path)[0].path == path


def test_heads_are_routed_once_and_shared() -> None:
    routed: list[RequestHead] = []
    encoder, decoder = Encoder(), new_decoder(routed)
    heads = []
    for number in range(300):
        extra = [("grpc-timeout", f"{4_000_000 + number}u")]
        heads.append(decoder.decode(encoder.encode(request_headers("/kv/put", extra)))[0])
    assert len(routed) == 1
    assert all(head is heads[0] for head in heads)
