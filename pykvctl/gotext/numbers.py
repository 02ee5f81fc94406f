"""Numbers and booleans as package strconv reads them, and sizes for people."""

import re

from pykvctl.gotext.quoting import quote

_PREFIXED = {"0x": 16, "0o": 8, "0b": 2}
_DIGITS = re.compile(r"[0-9a-z]+", re.ASCII)
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def _error(function: str, text: str, reason: str) -> ValueError:

    return ValueError(f"strconv.{function}: parsing {quote(text)}: {reason}")


def _magnitude(function: str, text: str, digits: str, base: int) -> int:
    """Value of unsigned `digits`; base 0 takes the base from the prefix and allows `_`."""
    digits = digits.lower()
    if base == 0:
        base = _PREFIXED.get(digits[:2], 10)
        if base != 10:
            digits = digits[2:]
        elif len(digits) > 1 and digits[0] == "0":
            base = 8
        digits = digits.replace("_", "")
    if not _DIGITS.fullmatch(digits):
        raise _error(function, text, "invalid syntax")
    try:
        return int(digits, base)
    except ValueError:
        raise _error(function, text, "invalid syntax") from None


def parse_int(text: str, base: int = 10) -> int:
    """A signed 64-bit number; ValueError has strconv's text."""
    digits = text[1:] if text[:1] in {"+", "-"} else text
    value = _magnitude("ParseInt", text, digits, base)
    if text.startswith("-"):
        value = -value
    if not -(1 << 63) <= value < 1 << 63:
        raise _error("ParseInt", text, "value out of range")
    return value


def parse_uint(text: str, base: int = 10) -> int:
    """An unsigned 64-bit number; ValueError has strconv's text."""
    value = _magnitude("ParseUint", text, text, base)
    if value >= 1 << 64:
        raise _error("ParseUint", text, "value out of range")
    return value


def parse_bool(text: str) -> bool:
    """One of the twelve spellings strconv knows; ValueError has its text."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise _error("ParseBool", text, "invalid syntax")


def human_bytes(size: int) -> str:
    """A size in decimal units: one decimal below ten units, none above (`2.1 MB`, `25 kB`)."""
    if size < 10:
        return f"{size} B"
    units = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
    power = 0
    while power + 1 < len(units) and size >= 1000 ** (power + 1):
        power += 1
    tenths = int(size / 1000**power * 10 + 0.5)
    if power and tenths < 100:
        return f"{tenths / 10:.1f} {units[power]}"
    return f"{tenths / 10:.0f} {units[power]}"
