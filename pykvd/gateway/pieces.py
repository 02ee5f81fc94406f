"""The JSON text of a large message, a piece at a time.

A run of whole fields of a serialized message is itself a message of that type (protobuf's encoding
document, "Last One Wins"): it is cut between top-level fields, and each part converted on its own.
Lists that go on in the next part are joined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pykvd.gateway.codec import Codec


class Pieces:
    """Iterates over parts of the text that belongs to `serialized`.

    A part comes of about `size` bytes of the message, or of one field if that is larger. The
    fields must stand together, as all serializers and this server's own encoders write them.
    """

    def __init__(self, codec: Codec, serialized: bytes, size: int) -> None:
        self._codec = codec
        self._serialized = serialized
        self._size = size
        self._list = ""

    def __iter__(self) -> Iterator[bytes]:
        kind = self._codec.message_type
        separator = "{"
        for start, stop in _runs(self._serialized, self._size):
            message = kind.FromString(self._serialized[start:stop])
            parts = []
            for member in self._codec.members(message):
                parts.append(self._piece(member, separator))
                separator = ","
            yield "".join(parts).encode()
        yield (self._close() + ("}" if separator == "," else "{}")).encode()

    def _piece(self, member: str, separator: str) -> str:
        """One member, its list left open for what may follow."""
        name, _, text = member.partition(":")
        if not text.startswith("["):
            return f"{self._close()}{separator}{member}"
        items = text[1:-1]
        if name == self._list:
            return f",{items}"
        opening = f"{self._close()}{separator}{name}:["
        self._list = name
        return opening + items

    def _close(self) -> str:
        if self._list:
            self._list = ""
            return "]"
        return ""


def _runs(data: bytes, size: int) -> Iterator[tuple[int, int]]:
    """Cut between fields, as soon as `size` bytes are together."""
    start = at = 0
    while at < len(data):
        at = _skip_field(data, at)
        if at - start >= size:
            yield start, at
            start = at
    if start < at:
        yield start, at


def _skip_field(data: bytes, at: int) -> int:
    """Where the field that begins at `at` ends."""
    tag, at = _read_varint(data, at)
    match tag & 7:
        case 0:
            return _read_varint(data, at)[1]
        case 1:
            return at + 8
        case 2:
            length, at = _read_varint(data, at)
            return at + length
        case 5:
            return at + 4
    raise ValueError(f"wire type {tag & 7}")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
