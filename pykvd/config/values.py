"""The text forms of values as Go's `flag`, `strconv` and `time` packages read and print them.

Operators bring their etcd flags, unit files and manifests along, so a value is accepted here
exactly when etcd accepts it. Every parser raises ValueError whose text is the reason.
"""

from __future__ import annotations

import json
import re

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})

_INTEGER = re.compile(
    r"(?P<sign>[+-]?)(?P<digits>0[xX]_?[0-9a-fA-F]+(_[0-9a-fA-F]+)*|0[bB]_?[01]+(_[01]+)*"
    r"|0[oO]?_?[0-7]+(_[0-7]+)*|[1-9][0-9]*(_[0-9]+)*|0)",
    re.ASCII,
)

_UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_NUMBER = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)
_UNIT = re.compile(r"[^\d.]+", re.ASCII)
_MAX_NS = 2**63 - 1
#: More than a 64-bit integer has in any base; Python refuses to read texts of thousands.
_MAX_DIGITS = 70
_MAX_DURATION_CHARS = 1000


def quote(text: str) -> str:
    """`text` in double quotes with escapes, as Go's %q prints it."""
    return json.dumps(text, ensure_ascii=False)


def parse_bool(text: str) -> bool:
    """One of the twelve spellings of `strconv.ParseBool`."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("parse error")


def parse_integer(text: str, low: int, high: int) -> int:
    """An integer literal of Go (`10`, `0x0a`, `0o12`, `012`, `1_000`) within [low, high]."""
    match = _INTEGER.fullmatch(text)
    if match is None or (match["sign"] and low == 0):
        raise ValueError("parse error")
    digits = match["digits"].replace("_", "")
    if len(digits) > _MAX_DIGITS:
        raise ValueError("value out of range")
    if digits.isdigit():
        value = int(digits, 8 if digits.startswith("0") else 10)
    else:
        value = int(digits, 0)
    value = -value if match["sign"] == "-" else value
    if not low <= value <= high:
        raise ValueError("value out of range")
    return value


def parse_duration(text: str) -> float:
    """Seconds in a duration such as `300ms` or `1h30m`; a bare number other than 0 is refused."""
    rest = text[1:] if text[:1] in {"+", "-"} else text
    if rest == "0":
        return 0.0
    if not rest or len(rest) > _MAX_DURATION_CHARS:
        raise ValueError(f"time: invalid duration {quote(text)}")
    from fractions import Fraction  # noqa: PLC0415 - brings decimal along; not every start needs it

    total = Fraction(0)
    while rest:
        number = _NUMBER.match(rest)
        if number is None:
            raise ValueError(f"time: invalid duration {quote(text)}")
        rest = rest[number.end() :]
        unit = _UNIT.match(rest)
        if unit is None:
            raise ValueError(f"time: missing unit in duration {quote(text)}")
        if unit[0] not in _UNIT_NS:
            raise ValueError(f"time: unknown unit {quote(unit[0])} in duration {quote(text)}")
        rest = rest[unit.end() :]
        total += Fraction(number[0].rstrip(".")) * _UNIT_NS[unit[0]]
    if total > _MAX_NS:
        raise ValueError(f"time: invalid duration {quote(text)}")
    return float((-total if text.startswith("-") else total) / 1_000_000_000)


def format_duration(seconds: float) -> str:
    """`seconds` as Go prints a duration: `1h30m0s`, `2m0s`, `1.5s`, `300ms`, `0s`."""
    nanoseconds = round(abs(seconds) * 1_000_000_000)
    sign = "-" if seconds < 0 else ""
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < _UNIT_NS["s"]:
        unit = next(u for u in ("ms", "µs", "ns") if nanoseconds >= _UNIT_NS[u])
        return f"{sign}{_decimal(nanoseconds, _UNIT_NS[unit])}{unit}"
    minutes, rest = divmod(nanoseconds, _UNIT_NS["m"])
    hours, minutes = divmod(minutes, 60)
    prefix = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{prefix}{_decimal(rest, _UNIT_NS['s'])}s"


def _decimal(amount: int, unit: int) -> str:
    """`amount / unit` exactly, without trailing zeros; `unit` is a power of ten."""
    whole, rest = divmod(amount, unit)
    fraction = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)
