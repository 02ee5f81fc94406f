"""Numbers, durations and quoting as Go has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykvctl.gotext.durations import format_duration, parse_duration
from pykvctl.gotext.numbers import human_bytes, parse_bool, parse_int, parse_uint
from pykvctl.gotext.quoting import quote, unquote


@pytest.mark.parametrize(
    ("text", "base", "value"),
    [
        ("7", 10, 7),
        ("-5", 10, -5),
        ("+5", 10, 5),
        ("007", 10, 7),
        ("0x10", 0, 16),
        ("010", 0, 8),
        ("0o10", 0, 8),
        ("0b11", 0, 3),
        ("1_000", 0, 1000),
        ("6ceca1f9865fee38", 16, 0x6CECA1F9865FEE38),
        ("9223372036854775807", 10, (1 << 63) - 1),
    ],
)
def test_numbers_are_read(text: str, base: int, value: int) -> None:
    assert parse_int(text, base) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "invalid syntax"),
        ("x", "invalid syntax"),
        ("1.5", "invalid syntax"),
        (" 1", "invalid syntax"),
        ("--1", "invalid syntax"),
        ("1_0", "invalid syntax"),
        ("٣", "invalid syntax"),
        ("9223372036854775808", "value out of range"),
    ],
)
def test_bad_numbers_are_named(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"strconv\.ParseInt: parsing") as caught:
        parse_int(text)
    assert str(caught.value) == f'strconv.ParseInt: parsing "{text}": {reason}'


def test_unsigned_numbers_have_no_sign() -> None:
    assert parse_uint("ffffffffffffffff", 16) == (1 << 64) - 1
    with pytest.raises(ValueError, match=r'strconv\.ParseUint: parsing "-1": invalid syntax'):
        parse_uint("-1", 16)


def test_booleans_have_twelve_spellings() -> None:
    assert all(map(parse_bool, ["1", "t", "T", "TRUE", "true", "True"]))
    assert not any(map(parse_bool, ["0", "f", "F", "FALSE", "false", "False"]))
    with pytest.raises(ValueError, match=r'strconv\.ParseBool: parsing "x": invalid syntax'):
        parse_bool("x")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (9, "9 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (20480, "20 kB"),
        (24576, "25 kB"),
        (2097152, "2.1 MB"),
        (18923520, "19 MB"),
        (9949, "9.9 kB"),
        (9950, "10 kB"),
        (1_000_000_000, "1.0 GB"),
    ],
)
def test_sizes_have_one_decimal_below_ten(size: int, text: str) -> None:
    assert human_bytes(size) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5s", 5_000_000_000),
        ("1m30s", 90_000_000_000),
        ("1.5h", 5_400_000_000_000),
        ("100ms", 100_000_000),
        ("1ns", 1),
        ("2us", 2_000),
        ("2µs", 2_000),
        (".5s", 500_000_000),
        ("-1s", -1_000_000_000),
        ("0", 0),
    ],
)
def test_durations_are_read(text: str, value: int) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("5", 'time: missing unit in duration "5"'),
        ("abc", 'time: invalid duration "abc"'),
        ("", 'time: invalid duration ""'),
        ("5x", 'time: unknown unit "x" in duration "5x"'),
        ("1s5", 'time: missing unit in duration "1s5"'),
    ],
)
def test_bad_durations_are_named(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="time: ") as caught:
        parse_duration(text)
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (512_300, "512.3µs"),
        (2_888_280, "2.88828ms"),
        (1_000_650_747, "1.000650747s"),
        (120_000_000_000, "2m0s"),
        (3_600_500_000_000, "1h0m0.5s"),
    ],
)
def test_durations_are_written(value: int, text: str) -> None:
    assert format_duration(value) == text


@given(st.integers(-(10**18), 10**18))
def test_a_written_duration_reads_back(value: int) -> None:
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", '"plain"'),
        (b'a "quoted" value', r'"a \"quoted\" value"'),
        (b"tab\tline\n\\", r'"tab\tline\n\\"'),
        (b"\x00\x7f", r'"\x00\x7f"'),
        (b"\xff\x01x", r'"\xff\x01x"'),
        ("é“".encode(), '"é“"'),
        ("\u200b\u00a0".encode(), r'"\u200b\u00a0"'),
        ("\U000e0001".encode(), r'"\U000e0001"'),
    ],
)
def test_strings_are_quoted(value: bytes, text: str) -> None:
    assert quote(value) == text


@given(st.binary())
def test_a_quoted_string_reads_back(value: bytes) -> None:
    assert unquote(quote(value)[1:-1].encode()) == value


@pytest.mark.parametrize("body", [rb"\q", rb"\400", rb"\ud800"])
def test_bad_escapes_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="invalid syntax"):
        unquote(body)
