"""gRPC's small encodings: timeouts, status texts, binary metadata, compression."""

import base64
import gzip
import zlib
from urllib.parse import unquote_to_bytes

import pytest
from hpack import Decoder
from hypothesis import given, settings
from hypothesis import strategies as st

from pykvd.status import Code, RpcError
from pykvd.transport import grpc


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1H", 3600), ("2M", 120), ("3S", 3), ("4m", 0.004), ("5u", 5e-6), ("6n", 6e-9), ("0n", 0)],
)
def test_timeout_units(value: str, seconds: float) -> None:
    assert grpc.parse_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", ["", "S", "1", "-1S", "+1S", "1_0S", "1 S", "1s", "123456789S", "²S"]
)
def test_malformed_timeout_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        grpc.parse_timeout(value)


@settings(deadline=None)
@given(st.text(max_size=300))
def test_status_text_survives_percent_encoding(text: str) -> None:
    encoded = grpc.encode_status_text(text)
    assert all(0x20 <= octet <= 0x7E for octet in encoded)
    assert unquote_to_bytes(encoded.decode("ascii")) == text.encode("utf-8", "replace")


def test_long_status_text_is_cut_between_characters() -> None:
    encoded = grpc.encode_status_text("é" * 10_000)
    assert len(encoded) <= grpc.MAX_STATUS_TEXT_BYTES
    assert set(unquote_to_bytes(encoded).decode()) == {"é"}


@settings(deadline=None)
@given(st.binary(max_size=40), st.booleans())
def test_binary_metadata_padded_or_not_and_in_lists(value: bytes, padded: bool) -> None:
    text = base64.b64encode(value).decode()
    if not padded:
        text = text.rstrip("=")
    assert grpc.decode_binary(text) == value
    assert grpc.decode_binary(text + ", AAAA") == value


def test_metadata_keeps_the_first_value_and_leaves_grpc_headers_out() -> None:
    fields = [
        (":path", "/x", 0),
        ("grpc-timeout", "1S", 0),
        ("te", "trailers", 0),
        ("token", "first", 0),
        ("token", "second", 0),
        ("raw-bin", "AQI", 0),
    ]
    assert grpc.decode_metadata(fields) == {"token": "first", "raw-bin": b"\x01\x02"}


@settings(deadline=None)
@given(st.integers(0, 16), st.text(max_size=50), st.sampled_from([200, 405, 415, 431]))
def test_response_blocks_decode_as_meant(code: int, text: str, http_status: int) -> None:
    block = grpc.trailers_only_block(code, text, http_status=http_status)
    fields = {str(name): str(value) for name, value in Decoder().decode(block)}
    assert fields[":status"] == str(http_status)
    assert fields["content-type"] == "application/grpc"
    assert fields["grpc-status"] == str(code)
    assert unquote_to_bytes(fields.get("grpc-message", "")) == text.encode("utf-8", "replace")


@settings(deadline=None)
@given(st.binary(max_size=5000))
def test_gzip_round_trip(data: bytes) -> None:
    assert grpc.decompress(gzip.compress(data), "gzip", 5000) == data


def test_gzip_bomb_produces_no_more_than_the_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with pytest.raises(RpcError, match="after decompression larger than max 1000"):
        grpc.decompress(bomb, "gzip", 1000)


@pytest.mark.parametrize(
    "data", [b"", b"junk", gzip.compress(b"x" * 100, mtime=0)[:-4], zlib.compress(b"x")]
)
def test_corrupt_gzip_is_an_internal_error(data: bytes) -> None:
    with pytest.raises(RpcError) as caught:
        grpc.decompress(data, "gzip", 1000)
    assert caught.value.code == Code.INTERNAL
