"""Double-quoted strings with Go's escapes."""

import re

_SHORT = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}
_ESCAPES = {short[1]: char.encode() for char, short in _SHORT.items()}
_ESCAPE = re.compile(
    rb"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))",
    re.DOTALL,
)


def quote(value: bytes | str) -> str:
    r"""`value` between double quotes; bytes that are not UTF-8 become `\xNN`."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    return '"' + "".join(map(_escape, value)) + '"'


def _escape(char: str) -> str:
    short = _SHORT.get(char)
    if short is not None:
        return short
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that surrogateescape could not decode
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unquote(body: bytes) -> bytes:
    """The bytes that the text between two double quotes stands for; ValueError if malformed."""
    return _ESCAPE.sub(_unescape, body)


def _unescape(match: re.Match[bytes]) -> bytes:
    byte, short_rune, long_rune, octal, letter = match.groups()
    if byte:
        return bytes.fromhex(byte.decode())
    if short_rune or long_rune:
        code = int(short_rune or long_rune, 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise ValueError("invalid syntax")
        return chr(code).encode()
    if octal:
        code = int(octal, 8)
        if code > 0xFF:
            raise ValueError("invalid syntax")
        return bytes([code])
    try:
        return _ESCAPES[letter.decode("latin-1")]
    except KeyError:
        raise ValueError("invalid syntax") from None
