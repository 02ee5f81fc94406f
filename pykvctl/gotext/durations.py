"""Durations as package time writes and reads them; values are integer nanoseconds."""

import re

from pykvctl.gotext.quoting import quote

NANOSECOND = 1
MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

_UNITS = {
    "ns": NANOSECOND,
    "us": MICROSECOND,
    "µs": MICROSECOND,  # the micro sign
    "μs": MICROSECOND,  # the Greek letter
    "ms": MILLISECOND,
    "s": SECOND,
    "m": MINUTE,
    "h": HOUR,
}
_ITEM = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")


def parse_duration(text: str) -> int:
    """Nanoseconds of a text such as `1m30s`; ValueError has the text of time.ParseDuration."""
    quoted = quote(text)
    rest = text[1:] if text[:1] in {"+", "-"} else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f"time: invalid duration {quoted}")
    total = 0
    while rest:
        item = _ITEM.match(rest)
        if item is None or not (item[1] or item[2]):
            raise ValueError(f"time: invalid duration {quoted}")
        unit = item[3]
        if not unit:
            raise ValueError(f"time: missing unit in duration {quoted}")
        if unit not in _UNITS:
            raise ValueError(f"time: unknown unit {quote(unit)} in duration {quoted}")
        scale = _UNITS[unit]
        fraction = item[2] or ""
        total += int(item[1] or "0") * scale + int(fraction or "0") * scale // 10 ** len(fraction)
        rest = rest[item.end() :]
    if total >= 1 << 63:
        raise ValueError(f"time: invalid duration {quoted}")
    return -total if text.startswith("-") else total


def format_duration(nanoseconds: int) -> str:
    """The shortest exact form: `0s`, `1.5ms`, `2m0s`, `1h0m0.5s`."""
    if nanoseconds == 0:
        return "0s"
    sign = "-" if nanoseconds < 0 else ""
    value = abs(nanoseconds)
    if value < SECOND:
        for unit, scale in (("ms", MILLISECOND), ("µs", MICROSECOND), ("ns", NANOSECOND)):
            if value >= scale:
                return f"{sign}{_decimal(value, scale)}{unit}"
    text = f"{_decimal(value % MINUTE, SECOND)}s"
    minutes = value // MINUTE
    if minutes:
        text = f"{minutes % 60}m{text}"
    if minutes >= 60:
        text = f"{minutes // 60}h{text}"
    return sign + text


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    if not rest:
        return str(whole)
    digits = len(str(scale)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")
