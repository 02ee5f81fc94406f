"""Go's text forms of values."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykvd.config.values import format_duration, parse_bool, parse_duration, parse_integer


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("300ms", 0.3),
        ("1h30m", 5400.0),
        ("1h30m5.5s", 5405.5),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("5us", 5e-6),
        ("5µs", 5e-6),
        ("7ns", 7e-9),
        ("-2m", -120.0),
        ("+2m", 120.0),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", 'time: invalid duration ""'),
        ("xyz", 'time: invalid duration "xyz"'),
        ("-", 'time: invalid duration "-"'),
        (".s", 'time: invalid duration ".s"'),
        ("5", 'time: missing unit in duration "5"'),
        ("-1", 'time: missing unit in duration "-1"'),
        ("5x", 'time: unknown unit "x" in duration "5x"'),
        ("1h5x", 'time: unknown unit "x" in duration "1h5x"'),
        ("1 s", 'time: unknown unit " s" in duration "1 s"'),
        ("9" * 10_000, f'time: invalid duration "{"9" * 10_000}"'),
        ("9999999h", 'time: invalid duration "9999999h"'),
    ],
)
def test_wrong_duration(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (7200.0, "2h0m0s"),
        (5430.5, "1h30m30.5s"),
        (60.0, "1m0s"),
        (1.5, "1.5s"),
        (0.3, "300ms"),
        (0.0015, "1.5ms"),
        (2e-6, "2µs"),
        (7e-9, "7ns"),
        (-90.0, "-1m30s"),
    ],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(-(10**15), 10**15))
def test_durations_come_back(nanoseconds: int) -> None:
    seconds = nanoseconds / 1_000_000_000
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("12", 12),
        ("+12", 12),
        ("-12", -12),
        ("0x1F", 31),
        ("0b101", 5),
        ("0o17", 15),
        ("017", 15),
        ("1_000", 1000),
        ("0x_ff", 255),
    ],
)
def test_integer(text: str, value: int) -> None:
    assert parse_integer(text, -100, 1000) == value


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "2GB", "1.0", "1e3", "0x", "089", "_1", "1_", "1__0", "--1", "\u0661"]
)
def test_wrong_integer(text: str) -> None:
    with pytest.raises(ValueError, match=r"^parse error$"):
        parse_integer(text, -100, 100)


@pytest.mark.parametrize("text", ["-1", "+1"])
def test_unsigned_takes_no_sign(text: str) -> None:
    with pytest.raises(ValueError, match=r"^parse error$"):
        parse_integer(text, 0, 100)


def test_integer_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"^value out of range$"):
        parse_integer("101", 0, 100)
    with pytest.raises(ValueError, match=r"^value out of range$"):
        parse_integer("9" * 10_000, 0, 100)


def test_bool() -> None:
    assert all(map(parse_bool, ["1", "t", "T", "true", "TRUE", "True"]))
    assert not any(map(parse_bool, ["0", "f", "F", "false", "FALSE", "False"]))
    for text in ["", "yes", "tRUE", "2"]:
        with pytest.raises(ValueError, match=r"^parse error$"):
            parse_bool(text)
