"""HPACK decoding against the `hpack` library, RFC 7541's examples and recorded client blocks."""

import json
from pathlib import Path

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from pykvd.transport.hpack import HeaderListTooLargeError, HpackDecoder, HpackError

RECORDED = Path(__file__).with_name("testdata") / "etcdctl_3_4_blocks.json"

names = st.sampled_from(
    [":path", "content-type", "grpc-timeout", "x", "token", "very-long-name" * 9]
)
values = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=200)
header_lists = st.lists(st.tuples(names, values, st.booleans()), max_size=20)


def plain(decoder: HpackDecoder, block: bytes) -> list[tuple[str, str]]:
    return [(name, value) for name, value, _ in decoder.decode(block)]


@settings(deadline=None)
@given(st.lists(st.tuples(header_lists, st.booleans(), st.none() | st.integers(0, 4096))))
def test_decodes_what_the_hpack_library_encodes(
    blocks: list[tuple[list[tuple[str, str, bool]], bool, int | None]],
) -> None:
    encoder = Encoder()
    decoder = HpackDecoder(1 << 20)
    for fields, huffman, table_size in blocks:
        if table_size is not None:
            encoder.header_table_size = table_size
        raw = [(n.encode("latin-1"), v.encode("latin-1"), secret) for n, v, secret in fields]
        block = encoder.encode(raw, huffman=huffman)
        assert plain(decoder, block) == [(name, value) for name, value, _ in fields]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_agrees_with_the_hpack_library_on_garbage(blocks: list[bytes]) -> None:
    """Either both decode to the same fields or ours refuses.

    Ours raises nothing but its own error.
    """
    ours = HpackDecoder(1 << 20)
    theirs = Decoder(1 << 20)
    for block in blocks:
        try:
            fields = plain(ours, block)
        except HpackError:
            return
        expected = [
            (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
            for name, value in theirs.decode(block, raw=True)
        ]
        assert fields == expected


def test_rfc7541_c4_requests_with_huffman_coding() -> None:
    decoder = HpackDecoder(4096)
    blocks = [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ]
    decoded = [plain(decoder, bytes.fromhex(block)) for block in blocks]
    assert decoded[0][-1] == (":authority", "www.example.com")
    assert decoded[1][-1] == ("cache-control", "no-cache")
    assert decoded[2][-1] == ("custom-key", "custom-value")


def test_blocks_recorded_from_etcdctl_decode_like_the_hpack_library() -> None:
    connections: list[list[str]] = json.loads(RECORDED.read_text())
    assert any(len(blocks) > 1 for blocks in connections)
    for blocks in connections:
        ours, theirs = HpackDecoder(1 << 16), Decoder()
        for block in blocks:
            data = bytes.fromhex(block)
            assert plain(ours, data) == [(str(n), str(v)) for n, v in theirs.decode(data)]


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"\x80", "index 0"),
        (b"\xbe", "index into an empty dynamic table"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", "integer without end"),
        (b"\xff\x80\x80\x80\x80\x80\x80\x01", "integer of too many bytes"),
        (b"\x40\x05abc", "string past the block"),
        (b"\x40\x7f\xff\xff\xff\xff\x07abc", "string length overflow"),
        (b"\x00\x81\xff\x00", "eight bits of padding"),
        (b"\x00\x81\x00\x00", "padding of zeros"),
        (b"\x00\x84\xff\xff\xff\xff\x00", "EOS in a string"),
        (b"\x3f\xe2\x1f", "table size above the setting"),
        (b"\x88\x20", "table size update after a field"),
        (b"\x40", "truncated"),
        (b"\x41", "no value"),
        (b"\x7f\x20\x00", "name index outside the table"),
    ],
)
def test_malformed_block_is_refused(block: bytes, reason: str) -> None:
    with pytest.raises(HpackError):
        HpackDecoder(1 << 16).decode(block)


def test_list_above_the_limit_is_refused_but_keeps_the_table_in_step() -> None:
    """An HPACK bomb: one large entry, referenced again and again."""
    encoder = Encoder()
    decoder = HpackDecoder(8192)
    decoder.decode(encoder.encode([("x", "y" * 3000)]))
    bomb = encoder.encode([("x", "y" * 3000)]) * 10_000 + encoder.encode([("late", "entry")])
    with pytest.raises(HeaderListTooLargeError):
        decoder.decode(bomb)
    assert plain(decoder, encoder.encode([("late", "entry")])) == [("late", "entry")]


def test_changes_counts_only_blocks_that_touch_the_table() -> None:
    encoder = Encoder()
    decoder = HpackDecoder(8192)
    decoder.decode(encoder.encode([("a", "b")]))
    before = decoder.changes
    decoder.decode(encoder.encode([("a", "b")]))
    assert decoder.changes == before
    decoder.decode(encoder.encode([("a", "c")]))
    assert decoder.changes > before
