"""Header blocks (RFC 7541): requests encoded as grpc-go does, responses decoded once and cached.

`HeaderEncoder` keeps a dynamic table. A field that is not in it goes out as a literal with
incremental indexing, Huffman-coded; one that is, as an index. A call without a deadline therefore
settles on one short constant block, while a `grpc-timeout` that differs on every call shifts every
index and now and then evicts the constant fields: the traffic that defeats a server's block cache.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import cycle

from hpack import Decoder, HeaderTuple
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable

Field = tuple[bytes, bytes]
Fields = tuple[Field, ...]

DEFAULT_TABLE_SIZE = 4096
_ENTRY_OVERHEAD = 32  # RFC 7541, section 4.1

_STATIC_FIELDS: dict[Field, int] = {}
_STATIC_NAMES: dict[bytes, int] = {}
for _index, (_name, _value) in enumerate(HeaderTable.STATIC_TABLE, 1):
    _STATIC_FIELDS.setdefault((_name, _value), _index)
    _STATIC_NAMES.setdefault(_name, _index)
_FIRST_DYNAMIC = len(HeaderTable.STATIC_TABLE) + 1

# Go writes the whole microseconds left of a 5 s deadline. The cycle is far longer than the 79
# entries of 52 bytes that a table of 4096 bytes holds, so no value is ever found in it again.
_TIMEOUTS: tuple[Field, ...] = tuple(
    (b"grpc-timeout", b"%du" % (4_999_999 - n)) for n in range(1000)
)

_huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


class Method:
    """A gRPC method of one server, as request header fields in the order grpc-go sends them.

    With `deadline`, every call carries a `grpc-timeout` of just under five seconds that the
    dynamic table does not hold any more or never held. `token` is that of a user, with auth on.
    """

    __slots__ = ("fields", "timeouts")

    def __init__(
        self, path: str, authority: str, *, deadline: bool = False, token: str = ""
    ) -> None:
        self.fields: Fields = (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", authority.encode()),
            (b"content-type", b"application/grpc"),
            (b"user-agent", b"pykvd-benchmark"),
            (b"te", b"trailers"),
            *([(b"token", token.encode())] if token else ()),
        )
        self.timeouts: Iterator[Field] | None = cycle(_TIMEOUTS) if deadline else None


@cache
def _integer(value: int, prefix_bits: int, pattern: int) -> bytes:
    """`value` with an N-bit prefix under the bits of `pattern` (section 5.1)."""
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes((pattern | value,))
    octets = [pattern | limit]
    value -= limit
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


@cache
def _string(text: bytes) -> bytes:
    """A string literal, Huffman-coded where that is shorter (section 5.2)."""
    coded = bytes(_huffman.encode(text))
    if len(coded) < len(text):
        return _integer(len(coded), 7, 0x80) + coded
    return _integer(len(text), 7, 0) + text


class HeaderEncoder:
    """One connection's encoder with its dynamic table."""

    def __init__(self, table_size: int = DEFAULT_TABLE_SIZE) -> None:
        self._limit = table_size
        self._size = 0
        self._inserted = 0
        self._entries: deque[tuple[int, Field]] = deque()
        self._fields: dict[Field, int] = {}
        self._names: dict[bytes, int] = {}
        self._pending_update = b""
        # Blocks that are all indices, by method; they hold until the next insertion.
        self._settled: dict[Method, bytes] = {}

    def encode(self, method: Method) -> bytes:
        """The block of a call of `method`, which must be sent before that of any later call."""
        settled = self._settled.get(method)
        if settled is not None:
            return settled
        before = self._inserted
        fields = method.fields
        if method.timeouts is not None:
            fields += (next(method.timeouts),)
        block = b"".join(map(self._field, fields))
        if self._pending_update:
            block, self._pending_update = self._pending_update + block, b""
        elif self._inserted == before:
            self._settled[method] = block
        return block

    def resize(self, table_size: int) -> None:
        """Obey the peer's SETTINGS_HEADER_TABLE_SIZE; never grows above the default."""
        table_size = min(table_size, DEFAULT_TABLE_SIZE)
        if table_size == self._limit:
            return
        self._limit = table_size
        self._evict()
        self._settled.clear()
        self._pending_update = _integer(table_size, 5, 0x20)

    def _field(self, field: Field) -> bytes:
        index = _STATIC_FIELDS.get(field)
        if index is not None:
            return _integer(index, 7, 0x80)
        number = self._fields.get(field)
        if number is not None:
            return _integer(_FIRST_DYNAMIC + self._inserted - number, 7, 0x80)
        name, value = field
        literal = self._name(name) + _string(value)
        self._insert(field)
        return literal

    def _name(self, name: bytes) -> bytes:
        index = _STATIC_NAMES.get(name)
        if index is None and (number := self._names.get(name)) is not None:
            index = _FIRST_DYNAMIC + self._inserted - number
        if index is not None:
            return _integer(index, 6, 0x40)
        return _integer(0, 6, 0x40) + _string(name)

    def _insert(self, field: Field) -> None:
        self._settled.clear()
        self._inserted += 1
        self._entries.append((self._inserted, field))
        self._fields[field] = self._names[field[0]] = self._inserted
        self._size += len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            number, field = self._entries.popleft()
            self._size -= len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD
            if self._fields.get(field) == number:
                del self._fields[field]
            if self._names.get(field[0]) == number:
                del self._names[field[0]]


class ResponseHeaders:
    """One connection's decoder of response header blocks.

    Blocks that leave the dynamic table alone mean the same until it changes, so their meaning is
    looked up by their bytes; only the first few of a connection are decoded.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._known: dict[bytes, dict[str, str]] = {}

    def decode(self, block: bytes) -> dict[str, str]:
        """The fields of `block`, by name."""
        fields = self._known.get(block)
        return self._decode(block) if fields is None else fields

    def _decode(self, block: bytes) -> dict[str, str]:
        table = self._decoder.header_table
        before = tuple(table.dynamic_entries)
        fields = _by_name(self._decoder.decode(block))
        if tuple(table.dynamic_entries) == before:
            self._known[block] = fields
        else:
            self._known.clear()
        return fields


def _by_name(fields: Iterable[HeaderTuple]) -> dict[str, str]:
    return {str(name): str(value) for name, value in fields}
